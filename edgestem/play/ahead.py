"""Separating ahead of the play head, in two threads.

`ahead` goes through the songs that are wanted, in their order: the *main* run of each,
from its first sample, a step at a time.

`first` is at work only while a place is to be heard that has no vocals: it begins the
song that somebody selected, or a *provisional* run where somebody jumped to.  A call of
the network that is under way for another song is in nobody's way then.  Meanwhile
`ahead` takes no further step, decoders that have enough wait, and both networks of a
model run at once.  When the first vocals are there, `ahead` goes on with that run.

Songs are decoded by a thread of their own each, as fast as it goes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edgestem.play.decoding import decode
from edgestem.play.runs import MainRun, MeasureRun, StoredRun
from edgestem.play.sources import FromPlace, FromStart, Sources
from edgestem.play.track import FINAL, PROVISIONAL, Track

MARGIN_S = 6.0  # of vocals that a place to be heard should have
NEAR_S = 3.0  # a main run that is so near gets there as soon as a new one
AMPLE_S = 4.0  # of mixture from a place on: about what the first call waits for
GIVE_WAY_S = 0.1  # that a decoder waits between two blocks, at most
IDLE_S = 0.5  # between two looks when there is nothing to do
BUSY_S = 0.01  # the same while songs are decoded


class Ahead:
    """Keeps the vocals ahead of what is heard.

    Parameters
    ----------
    sources : Sources
        Begins what gives the vocals.
    say : callable
        Gets a sentence about what a person should know.
    """

    def __init__(self, sources: Sources, say: Callable[[str], None]) -> None:
        self._sources, self._say = sources, say
        self.engines = sources.engines
        self._wanted: tuple[Track, ...] = ()
        self._head = 0
        self._decoders: dict[Track, threading.Thread] = {}
        self._decoding = threading.Lock()
        self._bell = threading.Condition()
        self._is_over = False
        self.is_measuring = False
        """Also find out how loud each song is."""
        self.tell: Callable[[], None] = lambda: None
        """Called when the song that is to be heard has more vocals."""
        # Of `ahead`:
        self._main: FromStart | None = None
        self._measure: MeasureRun | None = None
        # Of `first`:
        self._begun: FromStart | None = None
        self._probe: FromPlace | None = None
        self._is_hungry = True  # it waits for more of the mixture
        # Of both, under the lock:
        self._sharing = threading.Lock()
        self._stepped: Track | None = None  # `ahead` is in a step of its main run
        self._left: FromStart | None = None  # what `first` leaves to `ahead`
        self._calm = threading.Event()  # `first` has nothing to do
        self._calm.set()
        self._threads = [
            threading.Thread(target=self._run, args=parts, name=name, daemon=True)
            for name, *parts in (
                ("ahead", self._step, self._fail_ahead),
                ("first", self._first_step, self._fail_first),
            )
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; what was separated half is thrown away."""
        self._is_over = True
        self._calm.set()
        self.ring()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for run in (self._main, self._begun, self._probe, self._left):
            self._sources.end(run)

    def want(self, tracks: Sequence[Track], head: int) -> None:
        """Say which songs are next, and which sample of the first is to be heard."""
        self._wanted, self._head = tuple(tracks), head
        # At once: the threads may be in a call of the network, for another song.
        for track in tracks[:1]:
            self._decode(track)
        self.ring()

    def move(self, head: int) -> None:
        """Say which sample of the first song is to be heard; nobody is woken."""
        self._head = head

    def ring(self) -> None:
        """Wake the threads: there may be something to do."""
        with self._bell:
            self._bell.notify_all()

    # ---- both threads -----------------------------------------------

    def _run(self, step: Callable[[], bool], fail: Callable[[Exception], None]) -> None:
        while not self._is_over:
            try:
                is_done = step()
            except Exception as error:
                fail(error)
                continue
            if not is_done:
                with self._bell:
                    self._bell.wait(BUSY_S if self._is_decoding() else IDLE_S)

    def _give_up(self, track: Track | None, error: Exception) -> None:
        """Let a song's mixture play on."""
        self.engines.forget()
        if track is not None and not track.is_given_up:
            track.is_given_up = True
            self._say(f"{track.path.name} plays as it is, not separated: {error}")

    # ---- decoding ---------------------------------------------------

    def _decode_next(self, wanted: Sequence[Track]) -> None:
        """Begin to decode a song when the ones before it are in memory."""
        for track in wanted:
            self._decode(track)
            if not track.error and track.n_samples is None:
                break

    def _decode(self, track: Track) -> None:
        """Begin to decode a song, if nobody has."""
        with self._decoding:
            if not (track in self._decoders or track.sample_rate or track.error):
                find, goes_on = self._sources.beginning, self._goes_on
                thread = threading.Thread(
                    target=decode,
                    args=(track, find, goes_on, self.ring, self._say),
                    daemon=True,
                )
                self._decoders[track] = thread
                thread.start()
            for old in [t for t in self._decoders if t not in self._wanted]:
                del self._decoders[old]

    def _goes_on(self, track: Track) -> bool:
        """Say whether a song is wanted still; first vocals have the cores before it."""
        is_first = track in self._wanted[:1]
        ample = max(self._head, 0) + AMPLE_S * track.sample_rate
        if not is_first or track.n_decoded > ample:
            with self._bell:
                self._bell.wait_for(
                    lambda: self._calm.is_set() or (is_first and self._is_hungry),
                    GIVE_WAY_S,
                )
        return not self._is_over and track in self._wanted

    def _is_decoding(self) -> bool:
        with self._decoding:
            return any(thread.is_alive() for thread in self._decoders.values())

    # ---- the thread `first` -----------------------------------------

    def _first_step(self) -> bool:
        """Do a step for a place that is to be heard; False: it has vocals."""
        wanted, head = self._wanted, max(self._head, 0)
        track = wanted[0] if wanted else None
        if self._begun is not None and self._begun.track is not track:
            self._sources.end(self._begun)
            self._begun = None
        is_bare = track is not None and self._is_bare(track, head)
        if track is None or not is_bare:
            self._end_probe()
            return self._calm_down()
        if self._is_near(track, head):
            self._end_probe()
            return self._begin_step(track, head)
        if track.coverage(head, PROVISIONAL) > MARGIN_S * track.sample_rate:
            return self._calm_down()
        return self._probe_step(track, head)

    def _is_bare(self, track: Track, head: int) -> bool:
        """Say whether a place waits for its final vocals."""
        is_hopeless = track.error or track.is_given_up or not track.sample_rate
        return not is_hopeless and track.coverage(head, FINAL) <= 0

    def _is_near(self, track: Track, head: int) -> bool:
        """Say whether a run from the song's start gets to a place soon."""
        near = track.front + NEAR_S * track.sample_rate
        return head < near and not (track.front == 0 and head > 0)

    def _end_probe(self) -> None:
        self._sources.end(self._probe)
        self._probe = None

    def _leave(self) -> None:
        """Have `ahead` go on with what was begun."""
        if self._begun is not None:
            with self._sharing:
                self._left, self._begun = self._begun, None

    def _calm_down(self) -> bool:
        """Let the others work."""
        self._leave()
        if not self._calm.is_set():
            self._calm.set()
            self.ring()
        return False

    def _begin_step(self, track: Track, head: int) -> bool:
        """Do a step from the song's start on, unless `ahead` is there already."""
        with self._sharing:
            main, left = self._main, self._left
            is_there = main is not None and main.track is track and not main.is_over
            if is_there or self._stepped is track or left is not None:
                return self._calm_down()
            self._calm.clear()
        if self._begun is None:
            self._begun = self._sources.begin(track)
            self._begun.give_way(None)
        run = self._begun
        is_done = self._hurry(run)
        if run.is_over or not self._is_bare(track, head):
            self._calm_down()
        return is_done

    def _probe_step(self, track: Track, head: int) -> bool:
        """Do a step of a run that begins where somebody jumped to."""
        self._leave()
        self._calm.clear()
        probe = self._probe
        if probe is None or probe.track is not track or not probe.reaches(head):
            self._end_probe()
            probe = self._probe = self._sources.begin_at(track, head)
            probe.give_way(None)
        return self._hurry(probe)

    def _hurry(self, run: FromStart | FromPlace) -> bool:
        """Do a step; decoders wait meanwhile, unless it is they who are waited for."""
        self._is_hungry = False
        is_done = run.step()
        self._is_hungry = not is_done
        self.tell()
        if not is_done:
            self.ring()
        return is_done

    def _fail_first(self, error: Exception) -> None:
        self._give_up(next(iter(self._wanted), None), error)
        for run in (self._begun, self._probe):
            self._sources.end(run)
        self._begun = self._probe = None
        self._calm_down()

    # ---- the thread `ahead` -----------------------------------------

    def _step(self) -> bool:
        """Do the most wanted step; False: there is nothing to do now."""
        wanted = self._wanted
        self._take_over()
        self._decode_next(wanted)
        if not self._calm.is_set():
            return False
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

    def _take_over(self) -> None:
        """Go on with what `first` began."""
        with self._sharing:
            left, self._left = self._left, None
            if left is None:
                return
            old, self._main = self._main, left
        self._sources.end(old)
        if left.is_over:
            self._finish(left)

    def _make_ready(self, track: Track) -> bool:
        """Load one more network while there is time for it, if one is used at all."""
        ahead = track.front - max(self._head, 0)
        has_time = track.is_complete or ahead > MARGIN_S * track.sample_rate > 0
        is_used = isinstance(self._main, MainRun)
        if not (has_time and is_used) or track.is_given_up:
            return False
        return self.engines.make_ready(track.sample_rate, track.n_channels)

    def _is_unconfirmed(self, track: Track) -> bool:
        """Say whether stored vocals are still being read, or turned out wrong."""
        run = self._main
        is_read = isinstance(run, StoredRun) and run.track is track
        return is_read or track.is_mistaken

    def _main_step(self, track: Track) -> bool:
        with self._sharing:
            if not self._calm.is_set() or self._left is not None:
                return False
            self._stepped = track
        run = self._main
        if track.is_mistaken or (run is not None and run.track is not track):
            self._sources.end(run)
            self._main = run = None
        if track.is_mistaken:
            self._sources.forget(track)
        if run is None:
            run = self._main = self._sources.begin(track)
        known = self._sources.begin_known(track) if isinstance(run, MainRun) else None
        if known is not None:
            self._sources.end(run)
            run = self._main = known
        is_first = track in self._wanted[:1]
        is_awaited = is_first and self._is_bare(track, max(self._head, 0))
        run.give_way(None if is_awaited else self._calm.wait)
        is_done = run.step()
        if run.is_over:
            self._finish(run)
        self._stepped = None
        if is_first:
            self.tell()
        return is_done

    def _finish(self, run: FromStart) -> None:
        self._sources.finish(run)
        self._sources.end(run)
        self._main = None

    def _measure_step(self, track: Track) -> bool:
        """Find out how loud a song is; the store remembers it."""
        run = self._measure
        if run is None or run.track is not track:
            run = self._measure = MeasureRun(track)
        run.step()
        if run.is_over:
            self._sources.keep_loudness(track)
        return True

    def _fail_ahead(self, error: Exception) -> None:
        unfinished = (t for t in self._wanted if t.sample_rate and not t.is_complete)
        self._give_up(self._stepped or next(unfinished, None), error)
        self._sources.end(self._main)
        self._main = self._stepped = None
