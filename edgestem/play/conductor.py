"""The conductor: a list of songs, a play head, and who fills the ring.

One thread, the *conductor*, owns the songs' chains and fills the desk's ring; commands
are handed to it.  Faders and the way to silence go to the desk at once.

States: `ready` (the selected song is cued, silent), `starting` (asked to play, not yet
at hand), `playing`, `stopping` (fading), `paused`, `ended`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

import numpy as np

from edgestem.errors import EdgestemError
from edgestem.play.ahead import Ahead
from edgestem.play.chain import Chain
from edgestem.play.desk import Desk
from edgestem.play.items import Item, Mark
from edgestem.play.loudness import even_gain
from edgestem.play.timeline import Loop
from edgestem.play.track import Track
from edgestem.stems import SILENT_DB

AHEAD_S = 0.4  # a busy machine keeps who renders waiting for 0.2 s, often
N_PREPARED = 2  # songs after the one that is selected
BLOCK = 1024  # frames rendered at a time: a command waits for no more
DUCK_S, PANIC_S = 0.01, 0.01
PATIENCE_S = 3.0  # for vocals, before a song starts without
TICK_S = 0.01  # between two looks at the ring


class Conductor:
    """A show: songs, one after the other, under somebody's foot.

    Parameters
    ----------
    items : sequence of Item
        At least one.
    ahead : Ahead
        Started by the player.
    sample_rate : int
        Of the output, Hz.
    ahead_s : float
        Seconds that are rendered ahead of what is heard.
    engine : {"kernel", "rubberband"}
        Of key and tempo.
    loudness : float, optional
        LUFS that songs are evened to, once they are measured.
    say : callable
        Gets a sentence for a person.

    Raises
    ------
    EdgestemError
        `no_audio`: there is no song.
    """

    def __init__(
        self,
        items: Sequence[Item],
        ahead: Ahead,
        sample_rate: int,
        *,
        ahead_s: float = AHEAD_S,
        engine: str = "kernel",
        loudness: float | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        if not items:
            raise EdgestemError("the set is empty: name a song", code="no_audio")
        self.items, self.sample_rate, self.say = list(items), sample_rate, say
        self.desk = Desk(sample_rate, max(round(ahead_s * sample_rate), 2 * BLOCK))
        self.ahead, self._engine = ahead, engine
        self.tracks = [Track(item.path) for item in self.items]
        self.state, self.index = "ready", 0
        self.loudness = loudness
        ahead.is_measuring, ahead.tell = loudness is not None, self._wake
        self.faders = {"vocals": SILENT_DB, "instrumental": 0.0}
        """Level of each fader of the backing bus, dB; shared with a console."""
        self._brought: dict[str, tuple[float, float]] = {}  # by a song: before, its own
        self.on_select: Callable[[Item], None] = lambda item: None
        """Gets each song that is selected, the first one too; it may not wait."""
        self._told: Item | None = None
        self._moves: deque[tuple[int, int]] = deque()
        self._marks: deque[Mark] = deque()
        self._chain: Chain | None = None
        self._chain_index = 0
        self._pending: tuple[int, int | None, Loop | None] | None = None
        self._is_wanted = False
        self._ramp_s = 0.0
        self._since = monotonic()
        self._after: Callable[[], None] | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._is_over = False
        self.prepare_thread: Callable[[], None] = lambda: None
        """Called by the conductor's thread when it begins."""
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)

    # ---- life -------------------------------------------------------

    def start(self) -> None:
        """Cue the first song."""
        self._bring_levels(self.items[0])
        self._cue(0)
        self.ahead.start()
        self._thread.start()

    def close(self) -> None:
        """End the show."""
        self._is_over = True
        self.desk.is_open_ended = True
        self._wake()
        self._thread.join()
        self.ahead.close()

    def do(self, call: Callable[[], None]) -> None:
        """Have the conductor do something; it is not waited for."""
        self._calls.append(call)
        self._wake()

    def announce(self) -> None:
        """Tell the selected song again: somebody came who does not know it."""
        self._told = None
        self._wake()

    def _wake(self) -> None:
        with self.desk.bell:
            self.desk.bell.notify_all()

    # ---- what is going on -------------------------------------------

    @property
    def item(self) -> Item:
        """The selected song."""
        return self.items[self.index]

    @property
    def track(self) -> Track:
        """The selected song's samples."""
        return self.tracks[self.index]

    @property
    def is_sounding(self) -> bool:
        """A song plays, or is about to."""
        return self.state in ("playing", "starting")

    def place(self) -> int:
        """Tell the song's sample that is heard."""
        marks = self._marks
        if not marks or marks[0].chain.track is not self.track:
            return 0
        mark = marks[0]
        return mark.chain.place_at(max(self.desk.ring.played - mark.frame, 0))

    @property
    def loop(self) -> Loop | None:
        """The loop, samples of the song."""
        return self._chain.timeline.loop if self._chain is not None else None

    def _sample(self, seconds: float) -> int:
        return round(seconds * self.track.sample_rate)

    # ---- the conductor ----------------------------------------------

    def _run(self) -> None:
        self.prepare_thread()
        while not self._is_over:
            try:
                is_busy = self._turn()
            except Exception as error:
                self.say(f"a bug in the player, the show goes on: {error!r}")
                is_busy = False
            if not is_busy:
                with self.desk.bell:
                    if not self._calls:
                        self.desk.bell.wait(TICK_S)

    def _turn(self) -> bool:
        """Do what is to be done now; False: nothing is."""
        while self._calls:
            self._calls.popleft()()
        self._advance()
        if self.item is not self._told:
            self._told = self.item
            self.on_select(self.item)
        return self._render()

    def _advance(self) -> None:
        """See what the desk has done meanwhile."""
        desk = self.desk
        if self._after is not None and desk.is_silent:
            after, self._after = self._after, None
            after()
        if self._pending is not None:
            self._try_cue()
        while len(self._marks) > 1 and self._marks[1].frame <= desk.ring.played:
            self._marks.popleft()
            self.index = self._marks[0].song
            self._want()
        is_settled = self._after is None and self._pending is None
        if self._moves and is_settled:
            self._reorder(*self._moves.popleft())
        if self._chain is not None and is_settled:
            self._go_or_end()
            self.ahead.move(self._chain.wanted_place)

    def _go_or_end(self) -> None:
        desk = self.desk
        enough = min(desk.n_ahead // 2, 4 * BLOCK)
        is_filled = desk.ring.n_waiting >= enough or desk.is_open_ended
        if self._is_wanted and is_filled:
            self._is_wanted = False
            self.state = "playing"
            desk.go(round(self._ramp_s * self.sample_rate))
        elif self.state == "playing" and desk.is_open_ended and not desk.ring.n_waiting:
            self._song_is_over()

    def _song_is_over(self) -> None:
        """Go on when the last sample was played."""
        is_followed = self.item.is_followed
        self.desk.fade(DUCK_S)
        self._after = lambda: self._follow(is_followed)

    def _follow(self, is_followed: bool) -> None:
        if self.index + 1 < len(self.items):
            self._cue(self.index + 1, is_wanted=is_followed)
        else:
            self._cue(self.index)
            self.state = "ended"

    def _render(self) -> bool:
        """Render a block if there is room; False: there was nothing to do."""
        desk, chain = self.desk, self._chain
        is_blocked = desk.is_silent and self._after is not None
        is_blocked = is_blocked or self._pending is not None
        if chain is None or desk.is_open_ended or is_blocked:
            return False
        if desk.ring.n_waiting >= desk.n_ahead or not self._may_render(chain):
            return False
        vocals, rest, click = chain.render(BLOCK)
        if len(click):
            desk.ring.write(vocals, rest, click)
        else:
            self._join_next()
        if desk.is_waiting:
            self._wake()
        return True

    def _may_render(self, chain: Chain) -> bool:
        """Wait for vocals as long as nobody hears that."""
        if chain.has_next(BLOCK) or chain.track.is_given_up:
            return True
        if self.desk.is_waiting:
            return False
        if self.desk.is_silent:
            is_wanted = self._is_wanted
            return is_wanted and monotonic() - self._since > PATIENCE_S
        return self.desk.ring.n_waiting < self.desk.n_ahead // 3

    def _join_next(self) -> None:
        """Go on with the next song in the same block, or say that this is the end."""
        nxt = self._chain_index + 1
        item = self.items[self._chain_index]
        if item.is_followed and nxt < len(self.items):
            track = self.tracks[nxt]
            if track.error:
                self.desk.is_open_ended = True
                return
            if track.sample_rate:
                self._put_on(nxt, self._make(nxt))
                return
        self.desk.is_open_ended = True

    # ---- songs ------------------------------------------------------

    def _make(self, index: int) -> Chain:
        settings, track = self.items[index].settings, self.tracks[index]
        chain = Chain(track, self.sample_rate, settings, self._engine)
        if self.loudness is not None and track.loudness is not None:
            gain = even_gain(track.loudness, track.peak, self.loudness)
            chain.gain = np.float32(settings.gain * gain)
        elif self.loudness is None and settings.has_tagged_gain:
            chain.gain = np.float32(settings.gain * (track.tagged_gain or 1.0))
        return chain

    def _put_on(self, index: int, chain: Chain) -> None:
        """Render this chain from now on."""
        self._chain, self._chain_index = chain, index
        self._marks.append(Mark(self.desk.ring.written, chain, index))

    def _cue(
        self,
        index: int,
        place: int | None = None,
        *,
        loop: Loop | None = None,
        is_wanted: bool = False,
        ramp_s: float = 0.0,
    ) -> None:
        """Prepare a song from a place on; the desk is silent or will be."""
        if index != self.index:
            self._bring_levels(self.items[index])
        self.index, self._pending = index, (index, place, loop)
        self._is_wanted, self._ramp_s = is_wanted, ramp_s
        self.state = "starting" if is_wanted else "ready"
        self._since = monotonic()
        self._want()

    def _bring_levels(self, item: Item) -> None:
        """Put the faders where a song has them, and after it where they were.

        A fader that was moved meanwhile stays.
        """
        own = {"vocals": item.vocals_db, "instrumental": item.instrumental_db}
        for name, level in own.items():
            now = self.faders[name]
            before, brought = self._brought.pop(name, (now, now))
            usual = before if now == brought else now
            if level is not None:
                self._brought[name] = (usual, level)
            wanted = usual if level is None else level
            if wanted != now:
                self.faders[name] = wanted
                pair = {"vocals": None, "instrumental": None} | {name: wanted}
                self.desk.faders.set(pair["vocals"], pair["instrumental"], 0)

    def _reorder(self, old: int, new: int) -> None:
        """Give a song another place in the set; what plays plays on."""
        order = list(range(len(self.items)))
        order.insert(new, order.pop(old))
        self.items = [self.items[i] for i in order]
        self.tracks = [self.tracks[i] for i in order]
        self._chain_index = order.index(self._chain_index)
        marks = [mark._replace(song=order.index(mark.song)) for mark in self._marks]
        self._marks, self.index = deque(marks), order.index(self.index)
        self._want()

    def _want(self) -> None:
        """Have this song and the next ones prepared."""
        last = self.index + N_PREPARED + 1
        place = self._pending[1] if self._pending is not None else None
        for i, track in enumerate(self.tracks):
            is_old = track.is_dropped or not self.index - 1 <= i < last
            is_on = self._chain is not None and self._chain.track is track
            if is_old and track.sample_rate and not is_on:
                self.tracks[i] = Track(track.path)
        self.ahead.want(self.tracks[self.index : last], place or 0)

    def _try_cue(self) -> None:
        """Cue when the song is open and nothing of the one before is played."""
        assert self._pending is not None
        index, place, loop = self._pending
        track = self.tracks[index]
        if track.error:
            self._skip(index)
            return
        if not track.sample_rate or not self.desk.is_silent:
            return
        self._pending = None
        self.desk.ring.drop()
        self.desk.is_open_ended = False
        self._marks.clear()
        chain = self._make(index)
        if place is not None or loop is not None:
            chain.seek(chain.first_place() if place is None else place, loop)
        self._put_on(index, chain)
        self.ahead.want(self.ahead_tracks(), chain.wanted_place)

    def ahead_tracks(self) -> list[Track]:
        """List the songs that are prepared."""
        return self.tracks[self.index : self.index + N_PREPARED + 1]

    def _skip(self, index: int) -> None:
        """Go on behind a song that cannot be read."""
        is_wanted = self._is_wanted
        later = [i for i, t in enumerate(self.tracks) if i > index and not t.error]
        if later:
            self._cue(later[0], is_wanted=is_wanted)
        else:
            self._pending, self._is_wanted, self.state = None, False, "ended"
            self._chain = None
