"""The JACK door: ports, latency told to the graph, faders by MIDI.

PipeWire speaks JACK as well: `pw-jack edgestem stream --jack`.
"""

from __future__ import annotations

import contextlib
import ctypes.util
from typing import Any

import numpy as np

from edgestem.errors import EdgestemError
from edgestem.faders import midi_db
from edgestem.live import Live

MAX_PERIOD = 8192  # what JACK allows
CONTROL_CHANGE = 0xB0
# JACK-Client has no words for latencies: these are the C library's own.
_LATENCY = """
typedef struct { uint32_t min, max; } jack_latency_range_t;
int jack_set_latency_callback(void *client, void (*callback)(int mode, void *arg),
                              void *arg);
void jack_port_get_latency_range(void *port, int mode, jack_latency_range_t *range);
void jack_port_set_latency_range(void *port, int mode, jack_latency_range_t *range);
"""
_CAPTURE, _PLAYBACK = 0, 1


class JackDoor:
    """A JACK client with a pair of ports in, a pair out, and MIDI.

    Parameters
    ----------
    name : str
        Of the client.
    n_channels : int
        1 or 2.
    controllers : tuple of int
        MIDI controllers of the vocals' and the instrumental's fader.
    is_connecting : bool
        Connect to the sound card's ports.

    Raises
    ------
    EdgestemError
        `live_missing`: JACK-Client or JACK's library is not installed;
        `no_sound_server`: no JACK server answers.
    """

    def __init__(
        self,
        name: str,
        n_channels: int,
        controllers: tuple[int, int],
        is_connecting: bool,
    ) -> None:
        self._client: Any = _open(name)
        self.n_channels, self._is_connecting = n_channels, is_connecting
        self._vocals_cc, self._instrumental_cc = controllers
        self.sample_rate = self._client.samplerate
        self.block = self._client.blocksize
        register = self._client
        numbers = range(1, n_channels + 1)
        self._ins = [register.inports.register(f"in_{i}") for i in numbers]
        self._outs = [register.outports.register(f"out_{i}") for i in numbers]
        self._midi = register.midi_inports.register("faders")
        self._x = np.zeros((MAX_PERIOD, n_channels), np.float32)
        self._live: Live | None = None

    def start(self, live: Live) -> None:
        """Play."""
        self._live = live
        client = self._client
        client.set_process_callback(self._process)
        client.set_xrun_callback(self._xrun)
        client.set_blocksize_callback(self._new_period)
        client.set_freewheel_callback(self._freewheel)
        client.set_shutdown_callback(self._gone)
        self._tell_latency()
        client.activate()
        for mode in (_CAPTURE, _PLAYBACK):
            self._answer(mode, None)  # PipeWire asks only when something connects
        if self._is_connecting:
            self._connect()

    def close(self) -> None:
        """Leave the graph; a second time nothing happens."""
        if self._client is None:
            return
        with contextlib.suppress(Exception):  # the server may be gone already
            self._client.deactivate()
        self._client.close()
        self._client = None

    def _connect(self) -> None:
        """Connect to the first ports of the sound card."""
        find = self._client.get_ports
        sources = find(is_audio=True, is_output=True, is_physical=True)
        sinks = find(is_audio=True, is_input=True, is_physical=True)
        for source, port in zip(sources, self._ins, strict=False):
            self._client.connect(source, port)
        for port, sink in zip(self._outs, sinks, strict=False):
            self._client.connect(port, sink)

    # ---- JACK's threads -------------------------------------------------------

    def _process(self, n_samples: int) -> None:
        assert self._live is not None
        x = self._x[:n_samples]
        for i, port in enumerate(self._ins):
            np.copyto(x[:, i], port.get_array())
        self._read_midi(self._live)
        self._live.rig.process(x, x)
        for i, port in enumerate(self._outs):
            np.copyto(port.get_array(), x[:, i])

    def _read_midi(self, live: Live) -> None:
        for _, event in self._midi.incoming_midi_events():
            if len(event) != 3 or event[0][0] & 0xF0 != CONTROL_CHANGE:
                continue
            number, value = event[1][0], event[2][0]
            if number == self._vocals_cc:
                live.levels.set(midi_db(value), None, live.n_ramp)
            elif number == self._instrumental_cc:
                live.levels.set(None, midi_db(value), live.n_ramp)

    def _xrun(self, _: float) -> None:
        assert self._live is not None
        self._live.n_door_xruns += 1

    def _new_period(self, n_samples: int) -> None:
        if self._live is not None and n_samples > self._live.block:
            self._live.resize(n_samples)  # JACK asks for the new latency itself

    def _freewheel(self, is_starting: bool) -> None:
        assert self._live is not None
        self._live.rig.is_waiting = bool(is_starting)

    def _gone(self, _: Any, reason: str) -> None:
        assert self._live is not None
        self._live.end(f"the JACK server has gone: {reason}")

    # ---- latency --------------------------------------------------------------

    def _tell_latency(self) -> None:
        """Answer the graph's question how late each port is."""
        from cffi import FFI

        ffi = FFI()
        ffi.cdef(_LATENCY)
        lib = ffi.dlopen(ctypes.util.find_library("jack"))
        ins, outs = ([_pointer(ffi, p) for p in ps] for ps in (self._ins, self._outs))
        span = ffi.new("jack_latency_range_t *")

        def answer(mode: int, _: object) -> None:
            # What came so late to one side leaves or was later on the other.
            sources, targets = (ins, outs) if mode == _CAPTURE else (outs, ins)
            low, high = [], []
            for port in sources:
                lib.jack_port_get_latency_range(port, mode, span)
                low.append(span.min)
                high.append(span.max)
            assert self._live is not None
            own = self._live.rig.latency_samples
            span.min, span.max = min(low) + own, max(high) + own
            for port in targets:
                lib.jack_port_set_latency_range(port, mode, span)

        # Kept alive as long as the client.
        self._answer = answer
        self._callback = ffi.callback("void(int, void *)", answer)
        client = _pointer(ffi, self._client)
        lib.jack_set_latency_callback(client, self._callback, ffi.NULL)


def _pointer(ffi: Any, owner: Any) -> Any:
    """Find the C object behind one of JACK-Client's."""
    import jack

    return ffi.cast("void *", int(jack._ffi.cast("uintptr_t", owner._ptr)))


def _open(name: str) -> Any:
    try:
        import jack
    except ImportError as cause:
        raise EdgestemError(
            "JACK-Client is not installed: pip install edgestem[live]",
            code="live_missing",
        ) from cause
    except OSError as cause:
        raise EdgestemError(
            "JACK's library is not installed: apt-get install libjack-jackd2-0",
            code="live_missing",
        ) from cause
    jack.set_error_function(_nothing)
    jack.set_info_function(_nothing)
    try:
        return jack.Client(name, no_start_server=True)
    except jack.JackOpenError as cause:
        raise EdgestemError(
            "no JACK server answers: start jackd, or with PipeWire run "
            "pw-jack edgestem stream --jack",
            code="no_sound_server",
        ) from cause


def _nothing(_: str) -> None:
    pass
