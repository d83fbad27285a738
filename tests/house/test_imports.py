"""Importing edgestem costs little and starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgestem

PACKAGE = Path(edgestem.__file__).parent

HEAVY = {"soundfile", "socket", "pyfftw", "tflite_runtime", "ai_edge_litert", "torch"}
HEAVY |= {"numpy", "ssl", "asyncio", "multiprocessing", "subprocess"}
# What only a command that works has a use for.
WORK = {"engine", "spectrum", "native", "devices", "mixture", "client", "wire"}
WORK |= {f"sound.{name}" for name in ("reading", "song", "ffmpeg", "sndfile", "grid")}
# Ends of a command line -> its exit status.
SHORT = {
    "--version": 0,
    "--help": 0,
    "help separate": 0,
    "separate --help": 0,
    "completion bash": 0,
    "": 2,
    "seperate": 2,
    "separate song.wav --frobnicate": 2,
    "separate song.wav --bitrate 3": 2,
    "separate song.wav --bitrate 128": 2,
    "separate song.wav --name {song}": 2,
    "stream --block no": 2,
    "separate /gone/song.wav": 1,
    "separate /gone/song.wav /gone/more.wav --json": 1,
}


def test_importing_edgestem_loads_nothing_heavy_and_prints_nothing() -> None:
    code = "import sys, edgestem; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert not loaded & HEAVY


def test_training_libraries_stay_out_of_the_package() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in {"torch", "tensorflow", "scipy"}


def test_a_child_finds_the_package_and_nothing_beside_a_song() -> None:
    """The Debian package's program has a path of its own, which no child inherits."""
    starts = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "sys.executable" in text and ("Popen(" in text or "subprocess.run(" in text):
            starts.append(path.name)
            assert "child.environment()" in text and "child.FOLDER" in text, path
    assert len(starts) >= 4


def loaded_by(*words: str) -> tuple[int, set[str]]:
    """Run a command line; return its exit status and every module that it loaded."""
    code = (
        "import sys; from edgestem.__main__ import main\n"
        "status = main()\n"
        "print(*sys.modules, file=sys.stderr)\n"
        "sys.exit(status)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True
    )
    modules = set(result.stderr.splitlines()[-1].split())
    assert "edgestem.cli.words" in modules, result.stderr
    return result.returncode, modules


@pytest.mark.parametrize("words", SHORT)
def test_a_command_line_that_does_no_work_loads_nothing_for_it(words: str) -> None:
    """Numpy, the engine and libsndfile are a second or two on a small board."""
    status, loaded = loaded_by(*words.split())
    assert status == SHORT[words]
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    found = {name.removeprefix("edgestem.") for name in loaded}
    assert not {name for name in found if {name, name.split(".")[0]} & WORK}


def test_a_wav_is_separated_without_ffmpeg_and_sockets(tmp_path: Path) -> None:
    data, song = Path(__file__).parent.parent / "data", tmp_path / "song.wav"
    soundfile.write(song, np.zeros((4410, 2)), 44100)
    words = ("separate", str(song), "-o", str(tmp_path), "--json")
    status, loaded = loaded_by(*words, "--model", str(data / "tiny.tflite"))
    assert status == 0
    assert "edgestem.engine.separator" in loaded
    assert not loaded & {"socket", "ssl", "asyncio", "multiprocessing", "email.message"}
    assert not loaded & {"edgestem.sound.ffmpeg", "edgestem.sound.programs"}
