"""Fixtures for all tests, and the machine in pytest's header."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
import warm

DATA = Path(__file__).parent / "data"
RATE = 44100
POOL_ROLES = {
    "song-One_vocals": "song",
    "song-One_instrumental": "song",
    "song-Half_vocals": "song",  # its other half fell to the disk budget
    "singer-a-solo": "vocals",
    "scottpoid": "vocals",
    "festvox-ru": "vocals",
    "backing-rock-0": "instrumental",
    "found": "instrumental",
    "voiced": "music",
}


# Left out by `sh tools/test.sh fast`: what starts other programs or goes by the clock.
SLOW = (
    "catalogue/",
    "cli/",
    "client/",
    "daemon/",
    "devices/",
    "files/test_batch",
    "files/test_names",
    "files/test_tags",
    "files/test_verify",
    "house/test_pages",
    "house/test_protocol_page",
    "house/test_python_page",
    "house/test_readme",
    "karaoke/",
    "laws/",
    "live/test_jack",
    "live/test_pipe",
    "live/test_rig",
    "native/test_kernel",
    "play/",
    "service/",
    "sound/test_chatter",
    "sound/test_ogg",
    "sound/test_reading",
    "sound/test_writing",
    "store/",
)
TESTS = Path(__file__).parent


def is_slow(path: Path) -> bool:
    return (path.relative_to(TESTS).as_posix() + "/" * path.is_dir()).startswith(SLOW)


def pytest_ignore_collect(
    collection_path: Path, config: pytest.Config
) -> Literal[True] | None:
    """Do not even import the slow files when they are left out: it takes a while."""
    is_left_out = config.option.markexpr == "not slow"
    is_inside = TESTS in collection_path.parents
    return True if is_left_out and is_inside and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow files."""
    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")


def pytest_configure() -> None:
    """Let signals reach the programs under test.

    A background shell ignores SIGINT and nohup SIGHUP, and so would every child; what
    this process catches is back at its default in them.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    # Tests start thousands of programs: each would compile the package anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_report_header() -> list[str]:
    from edgestem.diagnose.info import collect

    found = collect()
    keys = ("numpy", "cffi", "soundfile", "runtimes", "fft", "simd", "ffmpeg")
    return ["edgestem with " + ", ".join(f"{key} {found[key]}" for key in keys)]


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A net with random weights that separates nothing, fast."""
    return DATA / "tiny.tflite"


@pytest.fixture(scope="session")
def needs_ffmpeg() -> None:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")


@pytest.fixture(scope="session")
def stereo_song() -> np.ndarray:
    """Two seconds at 44.1 kHz: a voice in the middle, chords on the sides."""
    t = np.arange(2 * RATE) / RATE
    phase = 2 * np.pi * (220 * t + 0.6 * np.sin(2 * np.pi * 5.5 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 12))
    left, right = (
        sum(np.sin(2 * np.pi * f * t) for f in chord)
        for chord in ((130.8, 329.6, 1046.5), (196.0, 392.0, 784.0))
    )
    return (0.1 * np.stack([voice + left, voice + right], 1)).astype(np.float32)


@pytest.fixture
def write_song(tmp_path: Path) -> Callable[..., Path]:
    """Write a sound file; without samples, one second of noise at -20 dBFS."""

    def write(
        name: str = "song.wav",
        x: np.ndarray | None = None,
        *,
        sample_rate: int = RATE,
        n_channels: int = 2,
        subtype: str | None = None,
        container: str | None = None,
    ) -> Path:
        if x is None:
            rng = np.random.default_rng(1)
            x = rng.normal(0, 0.1, (sample_rate, n_channels)).astype(np.float32)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, x, sample_rate, subtype, format=container)
        return path

    return write


@pytest.fixture
def command(tiny_model: Path) -> Callable[..., list[str]]:
    """The command line of `edgestem`, with the tiny model where a model counts."""

    def make(*words: object) -> list[str]:
        line = [sys.executable, "-m", "edgestem", *map(str, words)]
        if words and words[0] == "separate" and "--model" not in words:
            line += ["--model", str(tiny_model)]
        return line

    return make


@pytest.fixture
def run(
    command: Callable[..., list[str]], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `edgestem` to its end in tmp_path: in a process that is loaded already."""

    def call(
        *words: object, env: dict[str, str] | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        settings = {"capture_output": True, "text": True, "timeout": 60} | options
        return warm.run(
            command(*words), cwd=tmp_path, env=os.environ | (env or {}), **settings
        )

    return call


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Noise in every role that tools.pool.corpus gives."""
    rng = np.random.default_rng(0)
    entries = [{"name": n, "role": r, "split": "train"} for n, r in POOL_ROLES.items()]
    for entry in entries:
        x = rng.normal(0, 3000, (4 * 44100, 2)).astype(np.int16)
        np.save(tmp_path / f"{entry['name']}.npy", x)
    # Held out, and not even there: whoever opens it fails.
    entries.append({"name": "kept-back", "role": "vocals", "split": "held-out"})
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    return tmp_path
