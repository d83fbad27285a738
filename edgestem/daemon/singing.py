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
        self._latest: Callable[[], int] = lambda: 0
        self._tell: Callable[..., None] = lambda *_, **__: None
        self._told = range(1)  # numbers of those who know what was told
        self._detector: SingingDetector | None = None
        self._position = 0

    def report_to(
        self, latest_listener: Callable[[], int], tell: Callable[..., None]
    ) -> None:
        """Begin to work.

        Parameters
        ----------
        latest_listener : callable
            Says the number of who came last to listen, 0 for nobody; asked before
            every block.
        tell : callable
            Takes a range of listeners' numbers, `state` and `position`.
        """
        self._latest, self._tell = latest_listener, tell

    def begin_block(self, position: int) -> None:
        """Look at the next block if anybody wants it; `position` is the stems'.

        Who came since the last one hears of what is sung already.
        """
        latest = self._latest()
        if not latest:
            self._detector = self._pcm.listener = None
            return
        self._position = position
        if self._detector is None:
            self._detector = SingingDetector(self._pcm.separator.sample_rate)
            self._pcm.listener = self._look
        begun, new = self._detector.begun, range(self._told.stop, latest + 1)
        if begun is not None and new:
            self._tell(new, state="begin", position=begun)
        self._told = range(latest + 1)

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
            self._tell(self._told, state=change.state, position=change.position)
