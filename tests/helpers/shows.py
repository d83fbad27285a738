"""A player on a null sink, for tests of the real thing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from edgestem.files.separate import separate_file
from edgestem.network.compute import ANY
from edgestem.play.ahead import Ahead
from edgestem.play.items import Item
from edgestem.play.player import Player
from edgestem.play.routes import Routes
from edgestem.play.sinks import NullSink
from edgestem.play.sources import Sources
from edgestem.store.store import Store

DATA = Path(__file__).parent.parent / "data"
RATE = 44100


def noise(seconds: float, seed: int = 1, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, (round(seconds * RATE), n_channels)).astype(np.float32)


def stems(song: Path, model: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    separate_file(song, folder, model=model)
    return tuple(  # type: ignore[return-value]
        soundfile.read(folder / song.stem / f"{name}.wav", dtype="float32",
                       always_2d=True)[0]
        for name in ("vocals", "instrumental")
    )  # fmt: skip


class Show:
    """Plays items to nobody and keeps what was heard."""

    def __init__(
        self,
        items: Sequence[Item],
        *,
        rate: int = 44100,
        store: Store | None = None,
        is_timed: bool = False,
        routes: Routes | None = None,
        model: str = str(DATA / "tiny.tflite"),
        block: int = 512,
        ahead_s: float = 0.15,
        loudness: float | None = None,
    ) -> None:
        self.said: list[str] = []
        ahead = Ahead(Sources(model, ANY, store, self.said.append), self.said.append)
        self.player = Player(
            items, ahead, rate, say=self.said.append, ahead_s=ahead_s, loudness=loudness
        )
        self.heard: list[np.ndarray] = []
        self._n_played = 0
        self.is_over = False
        self.sink = NullSink(
            self.player.desk,
            routes or Routes(),
            block=block,
            is_timed=is_timed,
            listen=self._listen,
        )
        self._thread = threading.Thread(
            target=self.sink.run, args=(lambda: self.is_over,)
        )

    def _listen(self, out: np.ndarray) -> None:
        """Keep what came from the ring: not the silence between songs."""
        n = self.player.desk.ring.played - self._n_played
        self._n_played += n
        if n > 0:
            self.heard.append(out[:n].copy())

    def __enter__(self) -> Show:
        self.player.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        self.player.desk.is_open_ended = True
        self._thread.join(10)
        self.player.close()

    def sound(self) -> np.ndarray:
        return np.concatenate(self.heard) if self.heard else np.zeros((0, 2))

    def wait(self, condition: Callable[[], bool], timeout: float = 20) -> None:
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, (self.player.status(), self.said)
            time.sleep(0.002)

    def wait_state(self, *states: str) -> None:
        self.wait(lambda: self.player.state in states)

    def wait_cued(self) -> None:
        """The selected song is in the ring."""
        self.wait(
            lambda: self.player.state == "ready" and self.player.desk.ring.n_waiting > 0
        )
