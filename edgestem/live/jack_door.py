"""The JACK door: ports, latency told to the graph, faders by MIDI.

PipeWire speaks JACK as well: `pw-jack edgestem stream --jack`.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import numpy as np

from edgestem.errors import EdgestemError
from edgestem.live.jack_library import CAPTURE, PLAYBACK, JackLibrary, ignore_messages
from edgestem.live.session import Live
from edgestem.missing import way_to_install
from edgestem.pcm.decibels import midi_db

MAX_PERIOD = 8192  # what JACK allows
CONTROL_CHANGE = 0xB0
LEAVING_S = 3.0


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
        self._client: Any = open_client(name)
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
        self._library = JackLibrary(self._client)
        listen = self._library.on
        listen("process", self._process)
        listen("period", self._new_period)
        listen("xrun", self._xrun)
        listen("freewheel", self._freewheel)
        listen("latency", self._tell_latency)
        listen("shutdown", self._gone)
        self._client.activate()
        for mode in (CAPTURE, PLAYBACK):
            self._tell_latency(mode)  # PipeWire asks only when something connects
        if self._is_connecting:
            self._connect()

    def close(self) -> None:
        """Leave the graph; a second time nothing happens.

        JACK 2 may never come back from that, above all when its server is gone: a
        thread that it cancels keeps a lock (its issue 395).  So nobody waits for it
        longer than `LEAVING_S`.
        """
        client, self._client = self._client, None
        if client is None:
            return
        leaving = threading.Thread(target=leave, args=(client,), daemon=True)
        leaving.start()
        leaving.join(LEAVING_S)

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

    def _xrun(self) -> None:
        assert self._live is not None
        self._live.n_door_xruns += 1

    def _new_period(self, n_samples: int) -> None:
        if self._live is not None and n_samples > self._live.block:
            self._live.resize(n_samples)  # JACK asks for the new latency itself

    def _freewheel(self, is_starting: int) -> None:
        assert self._live is not None
        self._live.rig.is_waiting = bool(is_starting)

    def _gone(self, _: int, reason: str) -> None:
        assert self._live is not None
        self._live.end(f"the JACK server has gone: {reason}")

    def _tell_latency(self, mode: int) -> None:
        """Answer the graph's question how late each port is."""
        assert self._live is not None
        # What came so late to one side leaves or was later on the other.
        sources, targets = self._ins, self._outs
        if mode == PLAYBACK:
            sources, targets = targets, sources
        low, high = self._library.latency(sources, mode)
        own = self._live.rig.latency_samples
        self._library.set_latency(targets, mode, low + own, high + own)


def open_client(name: str) -> Any:
    """Make a client that is not active yet; see `JackDoor`."""
    try:
        import jack
    except ImportError as cause:
        raise EdgestemError(
            "JACK-Client is not installed: "
            + way_to_install("JACK-Client", debian="python3-jack-client"),
            code="live_missing",
        ) from cause
    except OSError as cause:
        raise EdgestemError(
            "JACK's library is not installed: apt-get install libjack-jackd2-0",
            code="live_missing",
        ) from cause
    ignore_messages()
    try:
        return jack.Client(name, no_start_server=True)
    except jack.JackOpenError as cause:
        raise EdgestemError(
            "no JACK server answers: start jackd, or with PipeWire put pw-jack before "
            "the command: pw-jack edgestem ...",
            code="no_sound_server",
        ) from cause


def leave(client: Any) -> None:
    """Leave the graph; it may never come back from that."""
    with contextlib.suppress(Exception):  # the server may be gone already
        client.deactivate()
    client.close()
