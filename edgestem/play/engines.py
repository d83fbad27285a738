"""Separators, lent to one run at a time.

Loading a network takes longer than a song may take to sound.  So what was loaded is
kept, and one more than are at work is loaded while there is time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edgestem.engine.separator import Separator
from edgestem.network.compute import Compute
from edgestem.network.model import for_each_network

N_KEPT = 2  # what separates ahead, and what begins at once where somebody goes


class Engines:
    """What was loaded, idle or lent; its methods may be called by any thread.

    Parameters
    ----------
    model : str
        Name or .tflite file.
    compute : Compute
    note : callable
        Gets the device and the runtime of each network that is loaded.
    """

    def __init__(
        self, model: str, compute: Compute, note: Callable[[str], None]
    ) -> None:
        self._model, self._compute, self._note = model, compute, note
        self._idle: list[Separator] = []
        self._lent: list[Separator] = []
        self._lock = threading.Lock()
        self.place = ""
        """Device and runtime of the last one; empty: none was loaded."""

    def lend(self, sample_rate: int, n_channels: int) -> Separator:
        """Give a separator at the start of its stream; load one if none is idle."""
        with self._lock:
            found = self._find(sample_rate, n_channels)
            if found is not None:
                self._idle.remove(found)
                self._lent.append(found)
        if found is None:
            found = self._load(sample_rate, n_channels)
            with self._lock:
                self._lent.append(found)
        found.reset()
        return found

    def give_back(self, separator: Separator) -> None:
        """Take one back that is not used any more."""
        with self._lock:
            if separator not in self._lent:  # forgotten meanwhile
                return
            self._lent.remove(separator)
            if not separator.is_lost:
                self._idle.append(separator)
            self._forget_oldest(N_KEPT)

    def make_ready(self, sample_rate: int, n_channels: int) -> bool:
        """Load one more, if none is idle; False: that was not needed."""
        with self._lock:
            if self._find(sample_rate, n_channels) is not None:
                return False
        spare = self._load(sample_rate, n_channels)
        with self._lock:
            self._idle.append(spare)
        return True

    def forget(self) -> None:
        """Use none of these any more: their device is gone."""
        with self._lock:
            self._idle, self._lent = [], []

    def _find(self, sample_rate: int, n_channels: int) -> Separator | None:
        for found in self._idle:
            if (found.sample_rate, found.n_channels) == (sample_rate, n_channels):
                return found
        return None

    def _load(self, sample_rate: int, n_channels: int) -> Separator:
        with self._lock:  # those for songs of another kind make room
            self._forget_oldest(N_KEPT - 1)
        compute = for_each_network(self._model, self._compute)
        found = Separator(
            sample_rate, n_channels, model=self._model, **compute.keywords()
        )
        self.place = f"{found.device} {found.runtime}"
        self._note(self.place)
        return found

    def _forget_oldest(self, n_kept: int) -> None:
        n_most = max(n_kept - len(self._lent), 0)
        del self._idle[: max(len(self._idle) - n_most, 0)]
