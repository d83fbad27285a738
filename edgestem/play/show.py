"""A show put together: player, output, doors; and its end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgestem.errors import EdgestemError
from edgestem.live.realtime import SWITCH_S, prepare_thread
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY, Compute
from edgestem.play.ahead import Ahead
from edgestem.play.commands import Console
from edgestem.play.conductor import AHEAD_S
from edgestem.play.items import Item
from edgestem.play.player import Player
from edgestem.play.sources import Sources
from edgestem.sound.reading import open_song
from edgestem.store.store import Store


class Sink(Protocol):
    """An output."""

    def run(self, is_over: Callable[[], bool]) -> None:
        """Play until it is over."""


class Door(Protocol):
    """Where commands come from."""

    def start(self) -> None:
        """Begin to listen."""

    def close(self) -> None:
        """End."""


@dataclass(slots=True)
class ShowSettings:
    """What the command line says of a show."""

    model: str = DEFAULT
    compute: Compute = ANY
    store: Store | None = None
    ahead_s: float = AHEAD_S
    engine: str = "kernel"
    loudness: float | None = None
    vocals_db: float | None = None
    guide_db: float = 0.0
    is_locked: bool = False
    is_started: bool = False
    """The first song plays at once."""
    priority: int = 0
    """SCHED_FIFO priority of who renders and who plays; 0: none."""
    ends: bool = False
    """The show is over when the last song is."""


class Show:
    """Songs on a sink, under all doors.

    Parameters
    ----------
    items : sequence of Item
    sample_rate : int
        Of the output, Hz.
    settings : ShowSettings
    say : callable
    """

    def __init__(
        self,
        items: Sequence[Item],
        sample_rate: int,
        settings: ShowSettings,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        ahead = Ahead(
            Sources(settings.model, settings.compute, settings.store, say), say
        )
        self.player = Player(
            items, ahead, sample_rate, ahead_s=settings.ahead_s,
            engine=settings.engine, loudness=settings.loudness, say=say,
        )  # fmt: skip
        self.console = Console(self.player, is_locked=settings.is_locked)
        if settings.vocals_db is not None:
            self.console.set_fader("vocals", settings.vocals_db)
        self.console.set_fader("guide", settings.guide_db)

    def run(self, sink: Sink, doors: Sequence[Door]) -> None:
        """Play until somebody ends it, or the set does."""
        player, priority = self.player, self._settings.priority
        sys.setswitchinterval(SWITCH_S)
        gc.freeze()  # what was loaded so far is not looked through while it plays
        player.prepare_thread = lambda: prepare_thread(priority, None, player.say)
        with ExitStack() as ending:
            player.start()
            ending.callback(player.close)
            for door in doors:
                door.start()
                ending.callback(door.close)
            if self._settings.is_started:
                player.play()
            if priority:
                prepare_thread(priority, None, player.say)
            sink.run(self._is_over)

    def _is_over(self) -> bool:
        is_at_end = self._settings.ends and self.player.state == "ended"
        return self.console.is_over or is_at_end


def first_rate(items: Sequence[Item]) -> int:
    """Tell the sample rate of the first song that can be read.

    Raises
    ------
    AudioError
        None can be; the first one's reason.
    """
    first: EdgestemError | None = None
    for item in items:
        try:
            song = open_song(item.path)
        except EdgestemError as error:
            first = first or error
            continue
        song.close()
        return song.sample_rate
    raise first or EdgestemError("the set is empty", code="no_audio")


def check_paths(paths: Sequence[Path]) -> list[str]:
    """Name songs that are not there, before the show; where none is, it is an error."""
    missing = [f"{path} is not there" for path in paths if not path.exists()]
    return missing if len(missing) < len(paths) else []
