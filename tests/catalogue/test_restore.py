"""One stem kept, the other one restored: the same bits, or a refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import warm
from catalogues import TINY, batch, line


def restore(*words: object) -> Any:
    words = ("restore", *words)
    return warm.run(
        line(*words, model=None), capture_output=True, text=True, timeout=60
    )


def write(path: Path, **options: Any) -> Path:
    x = np.random.default_rng(3).normal(0, 0.2, (100_000, 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x.clip(-0.99, 0.99), 44100, **options)
    return path


SONGS = [
    ("song.wav", {"subtype": "PCM_16"}),
    ("song.wav", {"subtype": "PCM_U8"}),
    ("song.flac", {"subtype": "PCM_24"}),
    ("song.mp3", {}),
    ("song.ogg", {}),
]


@pytest.mark.parametrize("kept", ["vocals", "instrumental"])
@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_the_other_stem_comes_back_to_the_byte(
    tmp_path: Path, kept: str, file_format: str
) -> None:
    for i, (name, options) in enumerate(SONGS):
        write(tmp_path / "src" / f"{i}" / name, **options)
    words = (tmp_path / "src", "--format", file_format)
    assert batch(*words, "-o", tmp_path / "both").returncode == 0
    assert batch(*words, "-o", tmp_path / "one", "--keep", kept).returncode == 0
    stems = list((tmp_path / "one").rglob(f"*.{file_format}"))
    assert {stem.stem for stem in stems} == {kept} and len(stems) == len(SONGS)
    done = restore(tmp_path / "one")
    assert done.returncode == 0, done.stderr
    for stem in (tmp_path / "both").rglob(f"*.{file_format}"):
        twin = tmp_path / "one" / stem.relative_to(tmp_path / "both")
        assert twin.read_bytes() == stem.read_bytes(), twin
    assert "5 before" in restore(tmp_path / "one").stderr
    again = batch(*words, "-o", tmp_path / "one", "--keep", kept)
    assert "5 done before, 0 to do" in again.stderr


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A song's folder that holds its instrumental."""
    song = write(tmp_path / "src" / "song.wav")
    assert batch(song, "-o", tmp_path / "out", "--keep", "instrumental").returncode == 0
    return tmp_path / "out" / "song"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_other_samples_are_refused(kept: Path, tmp_path: Path) -> None:
    song = tmp_path / "src" / "song.wav"
    x, rate = soundfile.read(song, dtype="int16")
    x[5000, 1] ^= 1
    soundfile.write(song, x, rate)
    refused = restore(kept)
    assert refused.returncode == 5 and "[stems_differ]" in refused.stderr
    assert "decodes to other samples (libsndfile" in refused.stderr
    assert names(kept) == ["edgestem.json", "instrumental.wav"]


def test_another_kept_stem_is_refused(kept: Path) -> None:
    stem = kept / "instrumental.wav"
    stem.write_bytes(stem.read_bytes()[:-4] + b"abcd")
    refused = restore(kept)
    assert "instrumental.wav is not what the receipt says" in refused.stderr


def test_a_song_that_has_moved_is_named(kept: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "src", tmp_path / "new")
    assert "[unreadable]" in restore(kept).stderr
    found = restore(kept, "--source", tmp_path / "new", "--json")
    assert json.loads(found.stdout) == {"folder": str(kept), "state": "restored"}


def test_vocals_of_floats_and_lossy_stems_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "src" / "song.wav", subtype="FLOAT")
    batch(tmp_path / "src", "-o", tmp_path / "a", "--keep", "instrumental")
    batch(tmp_path / "src", "-o", tmp_path / "b", "--keep", "vocals")
    batch(tmp_path / "src", "-o", tmp_path / "c", "--keep", "vocals", "--format", "ogg")
    assert "vocals on floats" in restore(tmp_path / "a").stderr
    assert restore(tmp_path / "b").returncode == 0
    assert "which is lossy" in restore(tmp_path / "c").stderr
    both = batch(tmp_path / "src", "-o", tmp_path / "d")
    assert both.returncode == 0
    one, other = (tmp_path / x / "song" / "instrumental.wav" for x in "bd")
    assert one.read_bytes() == other.read_bytes()


def test_stems_of_others_and_folders_without_receipt(kept: Path) -> None:
    (kept / "vocals.wav").write_text("precious")
    assert "[exists]" in restore(kept).stderr
    assert (kept / "vocals.wav").read_text() == "precious"
    assert "[no_receipt]" in restore(kept.parent.parent / "src").stderr


def test_redo_takes_a_restored_stem_away(kept: Path, tmp_path: Path) -> None:
    assert restore(kept).returncode == 0
    song = tmp_path / "src" / "song.wav"
    words = ("-o", tmp_path / "out", "--keep", "instrumental", "--redo")
    redone = batch(song, *words, model=TINY.with_name("short1.tflite"))
    assert redone.returncode == 0, redone.stderr
    assert names(kept) == ["edgestem.json", "instrumental.wav"]
