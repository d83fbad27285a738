"""Comments that are added to an Ogg file: ffmpeg checks every page's sum."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem.sound.ogg import add_comments, comments


@pytest.mark.parametrize("n_chars", [0, 1, 254, 255, 256, 60_000, 65_000, 300_000])
@pytest.mark.parametrize("n_samples", [0, 1000, 200_000])
def test_added_comments_leave_the_sound_as_it_was(
    needs_ffmpeg: None, tmp_path: Path, n_chars: int, n_samples: int
) -> None:
    path = tmp_path / "a.ogg"
    x = np.random.default_rng(6).normal(0, 0.1, (n_samples, 2))
    with soundfile.SoundFile(path, "w", 44100, 2) as sound:
        sound.title = "before"
        sound.write(x)
    before = soundfile.read(path)[0]
    text = "".join(random.Random(7).choices("abcdefgh=", k=n_chars))
    with path.open("r+b") as file:
        add_comments(file, [("LONG", text), ("short", "ü")])
        found = dict(comments(file.fileno()))
    assert (found["title"], found["long"], found["short"]) == ("before", text, "ü")
    assert np.array_equal(soundfile.read(path)[0], before)
    line = ("ffmpeg", "-v", "warning", "-err_detect", "crccheck+explode", "-i", path)
    done = subprocess.run((*line, "-f", "null", "-"), capture_output=True, text=True)
    assert "CRC" not in done.stderr
    if n_samples:
        assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_vorbis_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (b"", b"OggS", b"OggS" + bytes(60), b"RIFF" + bytes(60)):
        path.write_bytes(data)
        with path.open("r+b") as file, pytest.raises((ValueError, StopIteration)):
            add_comments(file, [("a", "b")])
        assert path.read_bytes() == data
