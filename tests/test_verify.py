"""What `edgestem verify` calls adding up, and what it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem.errors import AudioError
from edgestem.verify import NOTHING_COMPARED, verify

RATE = 44100


@pytest.fixture
def lay(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """A song and stems that add up; what is given stands in for one of them."""

    def make(suffix: str = ".wav", **other: np.ndarray) -> tuple[Path, Path]:
        x = np.random.default_rng(4).normal(0, 0.1, (RATE, 2)).astype(np.float32)
        vocals = (x / 2).astype(np.float32)
        files = {"song": x, "vocals": vocals, "instrumental": x - vocals} | other
        folder = tmp_path / "song"
        folder.mkdir(exist_ok=True)
        for name, samples in files.items():
            at = tmp_path if name == "song" else folder
            is_wav = suffix == ".wav" or name == "song"
            path = at / f"{name}{'.wav' if is_wav else suffix}"
            soundfile.write(path, samples, RATE, "FLOAT" if is_wav else None)
        return tmp_path, tmp_path / "song.wav"

    return make


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_values_that_are_no_numbers_do_not_add_up(lay, value: float) -> None:
    """Even where the sum would be right without them."""
    x = np.random.default_rng(4).normal(0, 0.1, (RATE, 2)).astype(np.float32)
    vocals, instrumental = (x / 2).astype(np.float32), x - (x / 2).astype(np.float32)
    vocals[1000:1200], instrumental[1000:1200] = value, x[1000:1200]
    found = verify(*lay(vocals=vocals, instrumental=instrumental))
    assert not found.is_exact
    assert found.n_bad_samples == 400
    assert "400 values of the stems are no numbers" in str(found)


def test_damage_of_the_song_is_said(lay) -> None:
    out, song = lay()
    data = song.read_bytes()
    song.write_bytes(data[: len(data) // 2])
    n_samples = len(soundfile.read(song)[0])
    for path in (out / "song").iterdir():
        x = soundfile.read(path, dtype="float32")[0]
        soundfile.write(path, x[:n_samples], RATE, "FLOAT")
    found = verify(out, song)
    assert found.is_exact
    assert "incomplete" in found.warnings[0]
    assert "incomplete" in str(found)
    assert found.to_json()["warnings"] == found.warnings


def test_torn_stems_do_not_add_up_even_with_a_torn_song(lay) -> None:
    out, song = lay()
    n_bytes = song.stat().st_size // 8 * 4
    for path in (song, *(out / "song").iterdir()):
        path.write_bytes(path.read_bytes()[:n_bytes])
    found = verify(out, song)
    assert not found.is_exact
    assert len(found.faults) == 2
    assert len(found.warnings) == 1


def test_every_set_of_stems_in_the_folder_counts(lay) -> None:
    out, song = lay()
    x = np.zeros((100, 2))
    for stem in ("vocals", "instrumental"):
        soundfile.write(out / "song" / f"{stem}.flac", x, RATE, "PCM_24")
    with pytest.raises(AudioError) as caught:
        verify(out, song)
    assert caught.value.code == "stems_differ"


def test_a_karaoke_of_another_length_is_no_stem_of_the_song(lay) -> None:
    out, song = lay(karaoke=np.zeros((10, 2), np.float32))
    with pytest.raises(AudioError) as caught:
        verify(out, song)
    assert caught.value.code == "stems_differ"


def test_lossy_stems_cannot_add_up_and_that_is_said(lay) -> None:
    found = verify(*lay(".ogg"))
    assert found.is_lossy
    assert not found.is_exact
    assert "lossy: its stems cannot add up" in str(found)


def test_no_samples_at_all_do_not_add_up(lay) -> None:
    nothing = np.zeros((0, 2), np.float32)
    found = verify(*lay(song=nothing, vocals=nothing, instrumental=nothing))
    assert not found.is_exact
    assert "holds no sample" in str(found)


def test_missing_files_have_a_status_of_their_own(lay, run) -> None:
    out, song = lay()
    done = run("verify", str(out), str(song), "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["faults"], found["warnings"], found["n_bad_samples"]) == ([], [], 0)
    assert run("verify", str(out), str(out / "gone.wav")).returncode == NOTHING_COMPARED
    (out / "song" / "vocals.wav").unlink()
    done = run("verify", str(out), str(song))
    assert done.returncode == NOTHING_COMPARED
    assert "[unreadable]" in done.stderr
