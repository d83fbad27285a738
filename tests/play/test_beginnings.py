"""Songs that ffmpeg has to decode begin before it has started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from shows import Show

from edgestem.play.beginnings import beginning_of, parse_beginning
from edgestem.play.decoding import decode
from edgestem.play.items import Item
from edgestem.play.track import Track
from edgestem.store.store import Store

SONG = Path(__file__).parents[2] / "examples" / "song.ogg"


@pytest.fixture(scope="module")
def m4a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m4a") / "song.m4a"
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    words = ["-t", "9", "-i", SONG, "-c:a", "aac", "-metadata", "title=A Song"]
    subprocess.run(["ffmpeg", "-v", "error", *words, path], check=True)
    return path


def decoded(path: Path) -> Track:
    track = Track(path)
    decode(track, lambda _: None, lambda _: True, lambda: None, print)
    assert not track.error
    return track


def heard(song: Path, store: Store) -> np.ndarray:
    """Play a song to its end; the store has it when this comes back."""
    with Show([Item(song)], store=store) as show:
        show.player.play()
        show.wait_state("ended")
        show.wait(lambda: show.player.track.is_complete)
    return show.sound()


def test_it_sounds_while_its_decoder_still_starts(
    m4a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real programs, behind a door that is opened when the song is heard."""
    store = Store(tmp_path / "store")
    first = heard(m4a, store)
    assert len(list(store.folder.glob("*.head"))) == 1
    door, tools = tmp_path / "door", tmp_path / "bin"
    tools.mkdir()
    for name in ("ffmpeg", "ffprobe"):
        wait = f"while [ ! -e {door} ]; do sleep 0.01; done"
        (tools / name).write_text(
            f'#!/bin/sh\n{wait}\nexec {shutil.which(name)} "$@"\n'
        )
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with Show([Item(m4a)], store=store) as show:
        show.player.play()
        show.wait(lambda: any(np.any(x) for x in show.heard))
        assert show.player.track.n_samples is None, "nothing is decoded yet"
        assert show.player.status()["title"] == "A Song"
        door.touch()
        show.wait_state("ended")
    assert np.array_equal(show.sound(), first)


def test_it_comes_back_as_it_was(m4a: Path) -> None:
    track = decoded(m4a)
    found = parse_beginning(beginning_of(track))
    assert found is not None
    assert (found.sample_rate, found.n_channels) == (48000, 2)
    assert (found.n_samples, found.grid) == (track.n_samples, track.song_grid)
    assert found.is_lossy and found.tags == track.tags
    assert np.array_equal(found.samples, track.mixture(0, 5 * 48000))


@pytest.mark.parametrize("place", [0, 10, 60, 400, -1])
def test_a_damaged_one_is_none(m4a: Path, place: int) -> None:
    data = bytearray(beginning_of(decoded(m4a)))
    data[place] ^= 0x55
    assert parse_beginning(bytes(data)) is None
    assert parse_beginning(bytes(data[:place])) is None
    assert parse_beginning(b"") is None


def test_what_the_decoder_gives_is_what_counts(m4a: Path) -> None:
    """Another song with the file's numbers: its own samples replace the beginning."""
    right = decoded(m4a)
    other = parse_beginning(beginning_of(right))
    assert other is not None
    wrong = np.zeros_like(other.samples)
    track = Track(m4a)
    begun = []

    def find(_: Track) -> object:
        begun.append(True)
        return type(other)(48000, 2, 1, other.grid, True, {}, wrong)

    decode(track, find, lambda _: True, lambda: None, print)  # type: ignore[arg-type]
    assert begun and not track.error and track.content == right.content
    assert track.n_samples == right.n_samples
    n = right.n_samples or 0
    assert np.array_equal(track.mixture(0, n), right.mixture(0, n))


def test_a_song_of_another_rate_in_its_place_is_refused(m4a: Path) -> None:
    other = parse_beginning(beginning_of(decoded(m4a)))
    assert other is not None
    said: list[str] = []
    track = Track(m4a)
    old = type(other)(44100, 2, 1, other.grid, True, {}, other.samples)
    decode(track, lambda _: old, lambda _: True, lambda: None, said.append)
    assert "is another song now" in track.error and len(said) == 1
