"""verify sees more than a sum: damage, several sets, the mix, another decoder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem.errors import AudioError
from edgestem.files.verify import verify

RATE = 44100
Write = Callable[..., None]


def music(n_samples: int = RATE) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.float32(np.clip(0.2 * rng.standard_normal((n_samples, 2)), -1, 1))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(
        vocals: np.ndarray, rest: np.ndarray, kind: str = "wav", **more: object
    ) -> None:
        (tmp_path / "song").mkdir(exist_ok=True)
        parts = {"vocals": vocals, "instrumental": rest, **more}
        for name, x in parts.items():
            subtype = "FLOAT" if kind == "wav" else None
            path = tmp_path / "song" / f"{name}.{kind}"
            soundfile.write(path, x, RATE, subtype=subtype)

    return run


@pytest.fixture
def song(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    x = music()
    vocals = np.float32(0.5) * x
    soundfile.write(tmp_path / "song.wav", x, RATE, subtype="FLOAT")
    return tmp_path / "song.wav", vocals, x - vocals


def test_stems_that_add_up(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest, karaoke=rest + np.float32(0.25) * vocals)
    assert verify(tmp_path, path).is_exact


def test_one_wrong_sample_is_said(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest)
    assert ": adds up: residual" in str(verify(tmp_path, path))
    rest[1234, 1] += 0.01
    write(vocals, rest)
    found = verify(tmp_path, path)
    assert not found.is_exact and ": DOES NOT add up: residual" in str(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_values_that_are_no_sound_are_seen(
    value: float, song, write: Write, tmp_path: Path
) -> None:
    path, vocals, rest = song
    vocals[100:500] = value
    write(vocals, rest)
    found = verify(tmp_path, path)
    assert not found.is_exact
    assert "800 values that are no sound" in str(found)


def test_every_set_of_stems_is_compared(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest)
    write(vocals[:100], rest[:100], "flac")
    with pytest.raises(AudioError, match="not as long"):
        verify(tmp_path, path)


def test_a_mix_of_other_stems_is_seen(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest, karaoke=np.roll(rest, 50, axis=0))
    assert "is no mix of these stems" in str(verify(tmp_path, path))
    write(vocals, rest, karaoke=rest[:10])
    with pytest.raises(AudioError, match="not as long"):
        verify(tmp_path, path)


def test_torn_stems_do_not_add_up(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest)
    for file in (path, *(tmp_path / "song").iterdir()):
        os.truncate(file, file.stat().st_size // 2)
    found = verify(tmp_path, path)
    assert not found.is_exact
    assert "incomplete" in found.faults[0]
    assert "incomplete" in found.warnings[0]


def test_nothing_is_nothing_compared(write: Write, tmp_path: Path) -> None:
    nothing = np.zeros((0, 2), np.float32)
    soundfile.write(tmp_path / "song.wav", nothing, RATE, subtype="FLOAT")
    write(nothing, nothing)
    assert "nothing was compared" in str(verify(tmp_path, tmp_path / "song.wav"))


def test_lossy_stems_cannot_add_up(song, write: Write, tmp_path: Path) -> None:
    path, vocals, rest = song
    write(vocals, rest, "ogg")
    assert "CANNOT add up to the bit, for its stems are lossy" in str(
        verify(tmp_path, path)
    )


def test_another_decoder_is_asked(
    song,
    write: Write,
    tmp_path: Path,
    needs_ffmpeg: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The half that our own readers agree on is not taken for the whole."""
    path, vocals, rest = song
    write(vocals[: RATE // 2], rest[: RATE // 2])
    from edgestem.sound.song import Song

    real = Song.read

    def half(self: Song, n_samples: int) -> np.ndarray:
        return real(self, min(n_samples, RATE // 2 - self.n_read))

    monkeypatch.setattr(Song, "read", half)
    assert f"another decoder finds {RATE} samples" in str(verify(tmp_path, path))


def test_missing_stems_have_a_word_of_their_own(song, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        verify(tmp_path / "elsewhere", song[0])
    assert caught.value.code == "no_stems"


@pytest.mark.parametrize("place", ["song.wav", "song", "sub/song", "."])
def test_stems_are_found_where_separate_puts_them(
    song, tmp_path: Path, place: str
) -> None:
    path, vocals, rest = song
    (tmp_path / "sub").mkdir()
    path = path.rename(tmp_path / "sub" / "song.wav")
    folder = tmp_path / "out" / place
    folder.mkdir(parents=True)
    for name, x in (("vocals", vocals), ("instrumental", rest)):
        soundfile.write(folder / f"{name}.wav", x, RATE, subtype="FLOAT")
    assert verify(tmp_path / "out", path).is_exact


def test_the_folder_with_the_extension_is_the_surer_one(
    song, write: Write, tmp_path: Path
) -> None:
    path, vocals, rest = song
    write(vocals[:10], rest[:10])  # of song.flac, say
    (tmp_path / "out").mkdir()
    (tmp_path / "song").rename(tmp_path / "out" / "song")
    write(vocals, rest)
    (tmp_path / "song").rename(tmp_path / "out" / "song.wav")
    assert verify(tmp_path / "out", path).is_exact


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "there is no folder .*: name the one that separate had"),
        (("other.wav",), "no stems of .*, nor in .*song: name the folder"),
        (("song/vocals.wav",), "song has no instrumental of .*without --only"),
        (("song/instrumental.flac",), "song has no vocals of .*without --only"),
        (
            ("song/vocals.wav", "song/instrumental.flac"),
            "song has no vocals and instrumental of .* in one format",
        ),
    ],
)
def test_what_is_missing_is_said(
    song, tmp_path: Path, files: tuple[str, ...], said: str
) -> None:
    for name in files:
        file = tmp_path / "out" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with pytest.raises(AudioError, match=said):
        verify(tmp_path / "out", song[0])
