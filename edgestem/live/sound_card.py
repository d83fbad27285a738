"""The ALSA door: a sound card through PortAudio."""

from __future__ import annotations

import contextlib
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.live.session import Live
from edgestem.missing import way_to_install


class SoundDoor:
    """A full-duplex stream of two devices.

    Parameters
    ----------
    devices : tuple of str
        Input and output, as `python -m sounddevice` lists them: a number, or a
        part of the name.
    sample_rate : int, optional
        Hz; default the input's own.
    n_channels, block : int
        Channels, and samples of one callback.

    Raises
    ------
    EdgestemError
        `live_missing`: sounddevice or PortAudio is not installed;
        `no_sound_device`: a device cannot be opened like this.
    """

    def __init__(
        self,
        devices: tuple[str, str],
        sample_rate: int | None,
        n_channels: int,
        block: int,
    ) -> None:
        self._sound = _library()
        ask_in, ask_out = (int(d) if d.isdigit() else d for d in devices)
        self._devices = (ask_in, ask_out)
        self.n_channels, self.block = n_channels, block
        with self._refusals():
            found = self._sound.query_devices(ask_in, "input")
            self.sample_rate = sample_rate or round(found["default_samplerate"])
        self._live: Live | None = None
        self._stream: Any = None

    @contextlib.contextmanager
    def _refusals(self) -> Any:
        """Turn PortAudio's refusals into ours."""
        try:
            yield
        except (self._sound.PortAudioError, ValueError) as cause:
            text = " ".join(str(cause).split())
            raise EdgestemError(
                f"the sound devices {self._devices} cannot be used ({text}); "
                "python -m sounddevice lists what is there",
                code="no_sound_device",
            ) from cause

    def start(self, live: Live) -> None:
        """Play."""
        self._live = live
        with self._refusals():
            self._stream = self._sound.Stream(
                samplerate=self.sample_rate,
                blocksize=self.block,
                device=self._devices,
                channels=self.n_channels,
                dtype="float32",
                latency="low",
                callback=self._process,
                finished_callback=self._finished,
            )
            self._stream.start()

    def close(self) -> None:
        """Stop playing."""
        if self._stream is not None:
            self._live = None
            with contextlib.suppress(self._sound.PortAudioError):
                self._stream.abort()
            self._stream.close()

    def _process(self, x: Any, out: Any, n_samples: int, _: Any, status: Any) -> None:
        live = self._live
        if live is None:
            out.fill(0)
            return
        if status:
            live.n_door_xruns += 1
        live.rig.process(x, out)

    def _finished(self) -> None:
        if self._live is not None:
            self._live.end("the sound device has gone")


def _library() -> Any:
    try:
        import sounddevice
    except ImportError as cause:
        raise EdgestemError(
            f"sounddevice is not installed: {way_to_install('sounddevice')}",
            code="live_missing",
        ) from cause
    except OSError as cause:
        raise EdgestemError(
            "PortAudio is not installed: apt-get install libportaudio2",
            code="live_missing",
        ) from cause
    return sounddevice
