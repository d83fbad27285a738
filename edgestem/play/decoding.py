"""Decoding a song into its track, in a thread of its own, as fast as it goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from edgestem.errors import AudioError, EdgestemError
from edgestem.limits import check_stream
from edgestem.play.beginnings import Beginning
from edgestem.play.loudness import tagged_gain
from edgestem.play.track import Track
from edgestem.sound.extras import read_extras
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song
from edgestem.store.receipt import SampleDigest

BLOCK = 1 << 16  # samples that are decoded at a time


def decode(
    track: Track,
    find: Callable[[Track], Beginning | None],
    goes_on: Callable[[Track], bool],
    ring: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Decode a song; `ring` tells that there is more.

    `find` knows how a song begins that was decoded before.  `goes_on` is asked after
    each block, and may take its time: False is the end.
    """
    with suppress(OSError):
        _begin(track, find, ring)
    try:
        song = open_song(track.path)
    except (EdgestemError, OSError) as error:
        _refuse(track, str(error), say)
        ring()
        return
    try:
        check_stream(song.sample_rate, song.n_channels)
        if track.sample_rate:
            _compare(track, song)
        else:
            track.status = os.stat(track.path)  # noqa: PTH116 - all its numbers
            track.tagged_gain = tagged_gain(read_extras(track.path))
            track.open(song)
        track.is_slow = song.is_slow
        ring()
        _read_all(track, song, goes_on, ring)
        if track.n_samples == 0:
            _refuse(track, f"{track.path.name} holds no samples", say)
    except Exception as error:
        _refuse(track, f"{track.path.name}: {error}", say)
    finally:
        song.close()
        ring()


def _begin(
    track: Track,
    find: Callable[[Track], Beginning | None],
    ring: Callable[[], None],
) -> None:
    """Begin with samples that were kept, while the decoder starts."""
    track.status = os.stat(track.path)  # noqa: PTH116 - all its numbers
    beginning = find(track)
    if beginning is not None:
        track.tagged_gain = tagged_gain(read_extras(track.path))
        track.open(beginning)
        track.begin_with(beginning.samples)
        ring()


def _compare(track: Track, song: Song) -> None:
    """Refuse a decoder that says something else than last time."""
    now = (song.sample_rate, song.n_channels, song.grid)
    if now != (track.sample_rate, track.n_channels, track.song_grid):
        raise AudioError(
            f"{track.path.name} is another song now",
            code="unreadable",
            path=str(track.path),
        )


def _read_all(
    track: Track,
    song: Song,
    goes_on: Callable[[Track], bool],
    ring: Callable[[], None],
) -> None:
    digest = SampleDigest(song.grid, song.sample_rate, song.n_channels)
    while len(x := song.read(BLOCK)):
        track.append(x)
        digest.update(x)
        if track.n_decoded <= 4 * BLOCK:
            ring()
        if not goes_on(track):
            track.is_dropped = True
            return
    track.finish(digest.hexdigest(), song.notes)


def _refuse(track: Track, sentence: str, say: Callable[[str], None]) -> None:
    track.error = sentence
    say(f"{sentence}; it is skipped")
