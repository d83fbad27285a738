"""Tells of a live stream where vocals begin and end, while somebody listens."""

from __future__ import annotations

from collections.abc import Callable

from edgestem.pcm.stream import PcmStream
from edgestem.sound.singing import Change, SingingDetector
from edgestem.stems import Stems


class Singing:
    """The event `activity` of one stream.

    Parameters
    ----------
    pcm : PcmStream
        Whose stems are looked at.
    """

    def __init__(self, pcm: PcmStream) -> None:
        self._pcm = pcm
        self._is_wanted: Callable[[], bool] = lambda: False
        self._tell: Callable[..., None] = lambda **_: None
        self._detector: SingingDetector | None = None
        self._position = 0

    def report_to(
        self, is_wanted: Callable[[], bool], tell: Callable[..., None]
    ) -> None:
        """Begin to work.

        Parameters
        ----------
        is_wanted : callable
            Says whether anybody listens; asked before every block.
        tell : callable
            Takes `state` and `position`.
        """
        self._is_wanted, self._tell = is_wanted, tell

    def begin_block(self, position: int) -> None:
        """Look at the next block if anybody wants it; `position` is the stems'."""
        if not self._is_wanted():
            self._detector = self._pcm.listener = None
            return
        self._position = position
        if self._detector is None:
            self._detector = SingingDetector(self._pcm.separator.sample_rate)
            self._pcm.listener = self._look

    def end_song(self) -> None:
        """End with the song what is still sung."""
        if self._detector is not None:
            self._say(self._detector.end())

    def _look(self, stems: Stems) -> None:
        if self._detector is not None:
            self._say(self._detector.add(self._position, *stems))
        self._position += len(stems.vocals)

    def _say(self, changes: list[Change]) -> None:
        for change in changes:
            self._tell(state=change.state, position=change.position)
