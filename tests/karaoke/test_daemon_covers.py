"""Stems that a daemon separates carry the covers of their song."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm
from daemons import running

from edgestem.sound.covers import read_covers


@pytest.mark.parametrize("file_format", ["flac", "mp3"])
def test_covers_come_through_a_daemon(
    file_format: str,
    command: Callable[..., list[str]],
    tmp_path: Path,
    needs_ffmpeg: None,
) -> None:
    library = tmp_path / "in"
    library.mkdir()
    x = np.random.default_rng(1).normal(0, 0.1, (44100, 2))
    soundfile.write(library / "plain.wav", x, 44100)
    picture = tmp_path / "cover.png"
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=64x64"]
    subprocess.run([*source, "-frames:v", "1", picture], check=True)
    maps = ["-map", "0", "-map", "1", "-disposition:v", "attached_pic"]
    make = ["ffmpeg", "-v", "error", "-i", library / "plain.wav", "-i", picture]
    made = library / f"song.{file_format}"
    subprocess.run([*make, *maps, "-metadata", "artist=A", made], check=True)
    covers = read_covers(made)
    assert [cover.data for cover in covers] == [picture.read_bytes()]
    here, there = tmp_path / "here", tmp_path / "there"
    model = Path(__file__).parent.parent / "data" / "tiny.tflite"
    words = ("export", library, "--layout", "flat", "--format", file_format)
    once = command(*words, "-o", here, "--model", model)
    warm.run(once, check=True, capture_output=True)
    dirs = {"input_dirs": library, "output_dirs": tmp_path}
    (tmp_path / "daemon").mkdir()
    with running(tmp_path / "daemon", **dirs) as daemon:
        again = command(*words, "-o", there, "--socket", daemon.socket)
        warm.run(again, check=True, capture_output=True)
    for stem in ("vocals", "instrumental"):
        name = f"song ({stem}).{file_format}"
        assert read_covers(there / name) == covers
        a, b = (soundfile.read(folder / name)[0] for folder in (here, there))
        assert np.abs(a - b).max() <= (0 if file_format == "flac" else 1e-3)
    assert sorted(p.name for p in there.iterdir()) == sorted(
        p.name for p in here.iterdir()
    )
