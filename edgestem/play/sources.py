"""Where a track's vocals come from: the store, or an engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from edgestem.network.compute import Compute
from edgestem.play.beginnings import Beginning, beginning_of, parse_beginning
from edgestem.play.engines import Engines
from edgestem.play.places import Places, digest_of
from edgestem.play.runs import MainRun, ProvisionalRun, StoredPart, StoredRun
from edgestem.play.track import Track
from edgestem.store.receipt import Receipt, Recipe, key_of
from edgestem.store.store import Store

FromStart = MainRun | StoredRun
FromPlace = ProvisionalRun | StoredPart


class Sources:
    """Begins runs and ends them.

    Parameters
    ----------
    model : str
        Name or .tflite file.
    compute : Compute
    store : Store, optional
        Vocals that were separated before; what is new goes there.
    say : callable
        Gets a sentence about what a person should know.
    """

    def __init__(
        self,
        model: str,
        compute: Compute,
        store: Store | None,
        say: Callable[[str], None],
    ) -> None:
        self._store, self._say = store, say
        self._model = digest_of(model)
        self._places = Places(store, self._model, compute)
        self.engines = Engines(model, compute, self._places.note)

    # ---- beginning --------------------------------------------------

    def begin(self, track: Track) -> FromStart:
        """Take the vocals from the store, or separate."""
        receipt = self._find(track)
        if receipt is not None and self._store is not None:
            return StoredRun(track, self._store, receipt)
        separator = self.engines.lend(track.sample_rate, track.n_channels)
        return MainRun(track, separator, self._store, self._recipe(), self._say)

    def begin_at(self, track: Track, place: int) -> FromPlace:
        """Take the vocals of a place from the store, or separate from there."""
        receipt = self._find(track)
        if receipt is not None and self._store is not None:
            return StoredPart(track, self._store, receipt, place)
        separator = self.engines.lend(track.sample_rate, track.n_channels)
        return ProvisionalRun(track, separator, place)

    def begin_known(self, track: Track) -> StoredRun | None:
        """Look for a song by its content, once all is decoded."""
        store = self._store
        if store is None or not track.content or track.is_looked_up:
            return None
        track.is_looked_up = True
        key = key_of(track.content, self._recipe(), track.grid)
        receipt = store.find(key)
        if receipt is None or track.is_unstored:
            return None
        track.promised = receipt.content
        store.remember_file(track.status, self._recipe(), key)
        return StoredRun(track, store, receipt)

    def beginning(self, track: Track) -> Beginning | None:
        """Find how a song begins, as far as the store knows this file."""
        store = self._store
        if store is None:
            return None
        receipt = store.find_file(track.status, self._recipe())
        return parse_beginning(store.head(receipt.key)) if receipt else None

    def _find(self, track: Track) -> Receipt | None:
        """Find what the store has of this file, unless it is another song's."""
        store = self._store
        if store is None or track.is_unstored:
            return None
        receipt = store.find_file(track.status, self._recipe())
        if receipt is None or receipt.grid != track.grid.name:
            return None
        track.promised = receipt.content
        if receipt.loudness is not None:
            track.loudness, track.peak = receipt.loudness, receipt.peak or 0.0
        if not track.content or track.content == receipt.content:
            return receipt
        return None

    # ---- ending -----------------------------------------------------

    def end(self, run: FromStart | FromPlace | None) -> None:
        """Let go of a run, whether it is over or not."""
        if run is not None:
            run.discard()
        if isinstance(run, MainRun | ProvisionalRun):
            self.engines.give_back(run.separator)

    def finish(self, run: FromStart) -> None:
        """Look what a run left that is over."""
        track, store = run.track, self._store
        if store is None:
            return
        if isinstance(run, StoredRun) and run.is_damaged:
            store.remove(run.receipt.key)
            track.is_unstored = True
            track.forget_vocals()
            self._say(
                f"{track.path.name}: its stored vocals are damaged; separated anew"
            )
            return
        receipt = run.receipt
        if receipt is None:
            return
        if isinstance(run, MainRun):
            store.remember_file(track.status, self._recipe(), receipt.key)
        if track.is_slow and receipt.content == track.content:
            store.keep_head(receipt.key, lambda: beginning_of(track))

    def forget(self, track: Track) -> None:
        """Throw vocals away that turned out to be another song's."""
        track.forget_vocals()
        if self._store is not None:
            self._store.forget_file(track.status, self._recipe())

    def keep_loudness(self, track: Track) -> None:
        """Have the store remember how loud a song is."""
        if self._store is None or not track.content:
            return
        key = key_of(track.content, self._recipe(), track.grid)
        receipt = self._store.find(key)
        if receipt is not None and math.isfinite(track.loudness or 0.0):
            more = replace(receipt, loudness=track.loudness, peak=track.peak)
            self._store.replace_receipt(more)

    def _recipe(self) -> Recipe:
        """How vocals are made here; the place as the last show had it.

        To know the place the network has to be loaded; a song that is in the store
        starts without it.
        """
        return Recipe(self._model, self.engines.place or self._places.noted())
