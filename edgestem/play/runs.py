"""What gives a track its vocals: the engine from the start, from a place, the store."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.play.loudness import Meter
from edgestem.play.track import Track
from edgestem.sound.grid import split, to_float32
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat
from edgestem.store.entry import Entry
from edgestem.store.receipt import Receipt, Recipe, SampleDigest
from edgestem.store.store import Store

Floats = NDArray[np.float32]
BLOCK = 1 << 15  # samples of a step: what is wanted more waits no longer than this
LEAD_S = 0.5  # of music that the engine hears before a place


class _EngineRun:
    """Feeds a track's mixture to the engine from a place on."""

    def __init__(self, track: Track, separator: Separator, start: int) -> None:
        self.track, self.separator = track, separator
        self._n_late = separator.latency_samples
        self._in = self._out = start
        self.is_over = False

    def give_way(self, pause: Callable[[], object] | None) -> None:
        """Leave a core to others, and wait for them; None: somebody waits for this."""
        self.separator.give_way(pause)

    def step(self) -> bool:
        """Do a block; False: the mixture is not decoded so far."""
        track = self.track
        n = min(BLOCK, track.n_decoded - self._in)
        if n <= 0 and track.n_samples is None:
            return False
        if n <= 0:
            self._take(self.separator.flush().vocals)
            self.is_over = True
            self._end()
            return True
        x = track.mixture_wide(self._in, n)
        stems = self.separator.push(to_float32(x, track.grid))
        self._in += n
        self._take(stems.vocals)
        return True

    def _take(self, vocals: Floats) -> None:
        """Leave out what belongs to nothing."""
        n_skip = min(self._n_late, len(vocals))
        self._n_late -= n_skip
        if len(vocals) > n_skip:
            self._put(vocals[n_skip:])
            self._out += len(vocals) - n_skip

    def _put(self, vocals: Floats) -> None:
        raise NotImplementedError

    def _end(self) -> None:
        pass

    def discard(self) -> None:
        """Give up, or close."""


class ProvisionalRun(_EngineRun):
    """From where somebody jumped to."""

    def __init__(self, track: Track, separator: Separator, place: int) -> None:
        self._first = place
        super().__init__(
            track, separator, max(0, place - round(LEAD_S * track.sample_rate))
        )

    def reaches(self, place: int) -> bool:
        """Say whether it gets to a place sooner than a new run."""
        return self._first <= place <= self._in + self.track.sample_rate and not (
            self.is_over
        )

    def _put(self, vocals: Floats) -> None:
        n_lead = max(self._first - self._out, 0)
        if n_lead < len(vocals):
            self.track.put_provisional(self._out + n_lead, vocals[n_lead:])


class MainRun(_EngineRun):
    """From the song's first sample: final vocals, which go to the store too."""

    def __init__(
        self,
        track: Track,
        separator: Separator,
        store: Store | None,
        recipe: Recipe,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(track, separator, 0)
        self._recipe, self._say = recipe, say
        self._entry: Entry | None = None
        self.receipt: Receipt | None = None
        if store is not None:
            wav = WavFormat(track.grid, track.sample_rate, track.n_channels)
            self._try(lambda: self._open(store, wav))

    def _open(self, store: Store, wav: WavFormat) -> None:
        self._entry = store.entry(wav)

    def _try(self, write: Callable[[], None]) -> None:
        """Write to the store; a full disk is said once, the music goes on."""
        try:
            write()
        except (EdgestemError, OSError) as error:
            self._entry = None
            what = getattr(error, "strerror", None) or error
            self._say(f"{self.track.path.name} is not kept in the store: {what}")

    def _put(self, vocals: Floats) -> None:
        track = self.track
        n = len(vocals)
        mixture = track.mixture_wide(self._out, n)
        on_grid, _, _ = split(mixture, vocals, track.grid)
        n_known = track.front - self._out  # of an earlier run that was given up
        if n_known < n:
            track.put_final(on_grid[max(n_known, 0) :])
        entry = self._entry
        if entry is not None:  # after they may be heard: writing takes its time
            self._try(lambda: entry.write(on_grid))

    def _end(self) -> None:
        entry, track = self._entry, self.track
        if entry is not None:
            self._try(lambda: self._commit(entry, track))
        self._entry = None

    def _commit(self, entry: Entry, track: Track) -> None:
        self.receipt = entry.commit(track.content, self._recipe, track.name)

    def discard(self) -> None:
        """Give up, or close."""
        if self._entry is not None:
            self._entry.discard()
            self._entry = None


class MeasureRun:
    """Finds out how loud a song's instrumental is, from its final stems."""

    def __init__(self, track: Track) -> None:
        self.track, self.is_over = track, False
        self._at, self._meter = 0, Meter(track.sample_rate)

    def step(self) -> bool:
        """Measure a block."""
        track, n_all = self.track, self.track.n_samples or 0
        n = min(4 * BLOCK, n_all - self._at)
        if n > 0:
            self._meter.add(track.final(self._at, n)[1])
            self._at += n
            return True
        track.peak, track.loudness = self._meter.peak, self._meter.loudness()
        self.is_over = True
        return True


class StoredRun:
    """Final vocals that were separated before."""

    def __init__(self, track: Track, store: Store, receipt: Receipt) -> None:
        self.track, self.receipt = track, receipt
        self.is_over = self.is_damaged = False
        track.is_stored = True
        self._at = 0
        wav = receipt.wav
        self._digest = SampleDigest(wav.grid, wav.sample_rate, wav.n_channels)
        try:
            self._song: Song | None = open_song(store.path(receipt))
        except EdgestemError:
            self._song = None
            self.is_over = self.is_damaged = True

    def give_way(self, pause: Callable[[], object] | None) -> None:
        """Do nothing: reading is quick."""

    def step(self) -> bool:
        """Read a block."""
        track = self.track
        if self._song is None:
            return True
        n_most = min(BLOCK, track.n_decoded - self._at)
        if n_most <= 0 and track.n_samples is None:
            return False
        try:
            x = self._song.read(max(n_most, 0))
        except EdgestemError:
            self._end()
            self.is_damaged = True
            return True
        self._digest.update(x)
        n_known = track.front - self._at
        if n_known < len(x):
            track.put_final(x[max(n_known, 0) :])
        self._at += len(x)
        if len(x) < n_most or self._at == track.n_samples:
            self._end()
        return True

    def _end(self) -> None:
        self.is_over = True
        self.is_damaged = (
            self._digest.hexdigest() != self.receipt.vocals
            or self._at != self.track.n_samples
        )
        self.discard()

    def discard(self) -> None:
        """Give up, or close."""
        if self._song is not None:
            self._song.close()
            self._song = None


class StoredPart:
    """Vocals that were separated before, from where somebody jumped to."""

    def __init__(
        self, track: Track, store: Store, receipt: Receipt, place: int
    ) -> None:
        self.track, self.is_over = track, False
        self._first = self._at = place
        self._end = receipt.n_samples
        track.is_stored = True
        try:
            self._song: Song | None = open_song(store.path(receipt))
            self._song.skip_to(place)
        except EdgestemError:
            self._give_up()

    def reaches(self, place: int) -> bool:
        """Say whether it gets to a place sooner than a new run."""
        return self._first <= place <= self._at + self.track.sample_rate and not (
            self.is_over
        )

    def step(self) -> bool:
        """Read a block."""
        track = self.track
        if self._song is None or not track.is_stored:  # it is another song's
            self.is_over = True
            return True
        try:
            x = self._song.read(BLOCK)
        except EdgestemError:
            self._give_up()
            return True
        if len(x):
            track.put_provisional(self._at, to_float32(x, track.grid))
            self._at += len(x)
        elif self._at < self._end:
            self._give_up()
        else:
            self.is_over = True
        return True

    def give_way(self, pause: Callable[[], object] | None) -> None:
        """Do nothing: reading is quick."""

    def _give_up(self) -> None:
        """Have this place separated; who reads from the start says what is wrong."""
        self.is_over = self.track.is_unstored = True
        self.discard()

    def discard(self) -> None:
        """Give up, or close."""
        if self._song is not None:
            self._song.close()
            self._song = None
