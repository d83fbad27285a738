"""Separating ahead of the play head: decoding, the store, and two runs of the engine.

One thread does it all, a step at a time, so that what is wanted most comes next:

1. a place that is to be heard and has no vocals: a *provisional* run begins there;
2. the *main* run of the song that plays, from its first sample;
3. the same for the songs that follow.

Songs are decoded by a thread of their own each, as fast as it goes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgestem.engine.separator import Separator
from edgestem.network.compute import Compute
from edgestem.play.beginnings import Beginning, beginning_of, parse_beginning
from edgestem.play.decoding import decode
from edgestem.play.places import Places, digest_of
from edgestem.play.runs import MainRun, MeasureRun, ProvisionalRun, StoredRun
from edgestem.play.track import FINAL, PROVISIONAL, Track
from edgestem.store.receipt import Recipe, key_of
from edgestem.store.store import Store

MARGIN_S = 6.0  # of vocals that a place to be heard should have
NEAR_S = 3.0  # a main run that is so near gets there as soon as a new one
IDLE_S = 0.5  # between two looks when there is nothing to do


class Ahead:
    """Keeps the vocals ahead of what is heard.

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
        self._name, self._compute = model, compute
        self._store, self._say = store, say
        self._model = digest_of(model)
        self._places = Places(store, self._model, compute)
        self._separators: dict[tuple[int, int, bool], Separator] = {}
        self._wanted: tuple[Track, ...] = ()
        self._head = 0
        self._main: MainRun | StoredRun | None = None
        self._probe: ProvisionalRun | None = None
        self._decoders: dict[Track, threading.Thread] = {}
        self._decoding = threading.Lock()
        self._bell = threading.Condition()
        self._is_over = False
        self._measure: MeasureRun | None = None
        self.is_measuring = False
        """Also find out how loud each song is."""
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; what was separated half is thrown away."""
        self._is_over = True
        self.ring()
        if self._thread.is_alive():
            self._thread.join()
        self._end_main()

    def want(self, tracks: Sequence[Track], head: int) -> None:
        """Say which songs are next, and which sample of the first is to be heard."""
        self._wanted, self._head = tuple(tracks), head
        # At once: the thread may be in a call of the network, for another song.
        for track in tracks[:1]:
            self._decode(track)
        self.ring()

    def move(self, head: int) -> None:
        """Say which sample of the first song is to be heard; nobody is woken."""
        self._head = head

    def ring(self) -> None:
        """Wake the thread: there may be something to do."""
        with self._bell:
            self._bell.notify_all()

    # ---- the thread -------------------------------------------------

    def _run(self) -> None:
        while not self._is_over:
            try:
                is_done = self._step()
            except Exception as error:
                self._fail(error)
                continue
            if not is_done:
                with self._bell:
                    self._bell.wait(IDLE_S if not self._is_decoding() else 0.01)

    def _fail(self, error: Exception) -> None:
        """Give a song up: its mixture plays on."""
        for track in self._wanted:
            if track.sample_rate and not track.is_complete and not track.is_given_up:
                track.is_given_up = True
                self._say(f"{track.path.name} plays as it is, not separated: {error}")
                break
        self._main = self._probe = None
        self._separators = {}

    def _step(self) -> bool:
        """Do the most wanted step; False: there is nothing to do now."""
        wanted = self._wanted
        self._decode_next(wanted)
        if wanted and self._probe_step(wanted[0]):
            return True
        if wanted and self._make_ready(wanted[0]):
            return True
        for track in wanted:
            if track.error or track.is_given_up:
                continue
            if not track.sample_rate:
                return False  # it is being opened
            if not track.is_complete or self._is_unconfirmed(track):
                return self._main_step(track)
            if self.is_measuring and track.loudness is None:
                return self._measure_step(track)
        return False

    def _decode_next(self, wanted: Sequence[Track]) -> None:
        """Begin to decode a song when the ones before it are in memory."""
        for track in wanted:
            self._decode(track)
            if not track.error and track.n_samples is None:
                break

    def _is_wanted(self, track: Track) -> bool:
        return not self._is_over and track in self._wanted

    def _is_decoding(self) -> bool:
        with self._decoding:
            return any(thread.is_alive() for thread in self._decoders.values())

    # ---- decoding ---------------------------------------------------

    def _decode(self, track: Track) -> None:
        """Begin to decode a song, if nobody has."""
        with self._decoding:
            if not (track in self._decoders or track.sample_rate or track.error):
                thread = threading.Thread(
                    target=decode,
                    args=(track, self._find, self._is_wanted, self.ring, self._say),
                    daemon=True,
                )
                self._decoders[track] = thread
                thread.start()
            for old in [t for t in self._decoders if t not in self._wanted]:
                del self._decoders[old]

    def _find(self, track: Track) -> Beginning | None:
        """Find how a song begins, as far as the store knows this file."""
        store = self._store
        if store is None:
            return None
        receipt = store.find_file(track.status, self._recipe())
        return parse_beginning(store.head(receipt.key)) if receipt else None

    # ---- runs -------------------------------------------------------

    def _probe_step(self, track: Track) -> bool:
        """Serve a place that is to be heard and that the main run does not reach."""
        if track.error or track.is_given_up or not track.sample_rate:
            return False
        rate, head = track.sample_rate, max(self._head, 0)
        near = track.front + NEAR_S * rate
        is_near = head < near and not (track.front == 0 and head > 0)
        if is_near or track.coverage(head, FINAL) > 0:
            self._probe = None
            return False
        probe = self._probe
        covered = track.coverage(head, PROVISIONAL)
        if covered > MARGIN_S * rate:
            return False
        is_on = probe is not None and probe.track is track and probe.reaches(head)
        if not is_on:
            separator = self._separator(track, is_main=False)
            probe = self._probe = ProvisionalRun(track, separator, head)
        assert probe is not None
        return probe.step()

    def _make_ready(self, track: Track) -> bool:
        """Load the network of provisional runs while there is time for it."""
        key = (track.sample_rate, track.n_channels, False)
        ahead = track.front - max(self._head, 0)
        has_time = ahead > MARGIN_S * track.sample_rate > 0 and not track.is_complete
        if not has_time or key in self._separators or track.is_given_up:
            return False
        self._separator(track, is_main=False)
        return True

    def _is_unconfirmed(self, track: Track) -> bool:
        """Say whether stored vocals are still being read, or turned out wrong."""
        run = self._main
        is_read = isinstance(run, StoredRun) and run.track is track and not run.is_over
        return is_read or track.is_mistaken

    def _main_step(self, track: Track) -> bool:
        run = self._main
        if track.is_mistaken:
            self._end_main()
            track.forget_vocals()
            if self._store is not None:
                self._store.forget_file(track.status, self._recipe())
            run = None
        if run is None or run.track is not track or run.is_over:
            self._end_main()
            run = self._main = self._begin(track)
        if isinstance(run, MainRun) and self._switch_to_stored(track):
            return True
        is_done = run.step()
        if run.is_over:
            self._finish(run)
        return is_done

    def _measure_step(self, track: Track) -> bool:
        """Find out how loud a song is; the store remembers it."""
        run = self._measure
        if run is None or run.track is not track:
            run = self._measure = MeasureRun(track)
        run.step()
        if run.is_over and self._store is not None and track.content:
            key = key_of(track.content, self._recipe(), track.grid)
            receipt = self._store.find(key)
            if receipt is not None and math.isfinite(track.loudness or 0.0):
                more = replace(receipt, loudness=track.loudness, peak=track.peak)
                self._store.replace_receipt(more)
        return True

    def _begin(self, track: Track) -> MainRun | StoredRun:
        """Take the vocals from the store, or separate."""
        store = self._store
        if store is not None and not track.is_unstored:
            receipt = store.find_file(track.status, self._recipe())
            if receipt is not None and receipt.grid == track.grid.name:
                track.promised = receipt.content
                if receipt.loudness is not None:
                    track.loudness, track.peak = receipt.loudness, receipt.peak or 0.0
                if not track.content or track.content == receipt.content:
                    return StoredRun(track, store, receipt)
        separator = self._separator(track, is_main=True)
        return MainRun(track, separator, store, self._recipe(separator), self._say)

    def _switch_to_stored(self, track: Track) -> bool:
        """Look for a song by its content, once all is decoded."""
        store = self._store
        if store is None or not track.content or track.is_looked_up:
            return False
        track.is_looked_up = True
        key = key_of(track.content, self._recipe(), track.grid)
        receipt = store.find(key)
        if receipt is None or track.is_unstored:
            return False
        self._end_main()
        track.promised = receipt.content
        self._main = StoredRun(track, store, receipt)
        store.remember_file(track.status, self._recipe(), key)
        return True

    def _finish(self, run: MainRun | StoredRun) -> None:
        """Look what a run left that is over."""
        track, store = run.track, self._store
        if isinstance(run, StoredRun) and run.is_damaged and store is not None:
            store.remove(run.receipt.key)
            track.is_unstored = True
            track.forget_vocals()
            self._say(
                f"{track.path.name}: its stored vocals are damaged; separated anew"
            )
        elif isinstance(run, MainRun) and run.receipt and store is not None:
            store.remember_file(track.status, self._recipe(), run.receipt.key)
        is_kept = run.receipt is not None and run.receipt.content == track.content
        if run.receipt and is_kept and store is not None and track.is_slow:
            store.keep_head(run.receipt.key, lambda: beginning_of(track))

    def _end_main(self) -> None:
        if self._main is not None:
            self._main.discard()
            self._main = None

    # ---- the engine -------------------------------------------------

    def _separator(self, track: Track, is_main: bool) -> Separator:
        key = (track.sample_rate, track.n_channels, is_main)
        found = self._separators.get(key)
        if found is None:
            for old in [k for k in self._separators if k[2] == is_main]:
                del self._separators[old]
            keywords = self._compute.keywords()
            found = Separator(*key[:2], model=self._name, **keywords)
            self._separators[key] = found
            self._places.note(f"{found.device} {found.runtime}")
        found.reset()
        return found

    def _recipe(self, separator: Separator | None = None) -> Recipe:
        """How vocals are made here; the place as the last run had it.

        To know the place the network has to be loaded; a song that is in the store
        starts without it.
        """
        if separator is None and self._separators:
            separator = next(iter(self._separators.values()))
        if separator is not None:
            return Recipe(self._model, f"{separator.device} {separator.runtime}")
        return Recipe(self._model, self._places.noted())
