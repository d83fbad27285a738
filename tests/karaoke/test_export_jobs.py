"""`export --jobs`: the same files, from several processes; what dies costs one song."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm

Line = Callable[..., list[str]]
NAMES = ("a", "b", "c", "ü d")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        x = np.random.default_rng(seed).normal(0, 0.1, (44100, 2))
        soundfile.write(folder / ("sub" if seed % 2 else "") / f"{name}.wav", x, 44100)
    return folder


@pytest.fixture
def line(command: Line, tiny_model: Path) -> Line:
    def make(*words: object) -> list[str]:
        words = (*words, "--layout", "folders", "--format", "flac", "--json")
        return command("export", *words, "--model", tiny_model)

    return make


def files(folder: Path) -> dict[str, bytes]:
    found = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def children(pid: int) -> list[int]:
    return [
        int(child)
        for path in Path(f"/proc/{pid}/task").glob("*/children")
        for child in path.read_text().split()
    ]


def test_the_files_are_those_of_one_process(library: Path, line: Line) -> None:
    here = library.parent  # names are relative to where the command runs
    warm.run(line("in", "-o", "one"), cwd=here, check=True, capture_output=True)
    bad = library / "bad.wav"
    bad.write_bytes(b"no sound")
    done = warm.run(
        line("in", "-o", "two", "--jobs", 3),
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    events = [json.loads(x) for x in done.stdout.splitlines()]
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("error: in/bad.wav") == 1
    assert events[-1]["summary"].items() >= {"written": 4, "failed": 1}.items()
    assert sorted(Path(e["input"]).stem for e in events[:-1]) == sorted([*NAMES, "bad"])
    assert files(here / "two") == files(here / "one")
    assert len(files(here / "two")) == 8
    bad.unlink()
    again = line("in", "-o", "two", "--jobs", 3)
    out = warm.run(again, cwd=here, capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.splitlines()[-1])["summary"]["skipped"] == 4


def test_jobs_and_a_daemon_are_refused(library: Path, line: Line) -> None:
    words = (library, "-o", library / "out", "--jobs", 2, "--socket")
    done = warm.run(line(*words), capture_output=True, text=True, check=False)
    assert (done.returncode, "--jobs" in done.stderr) == (2, True)


def start(line: Line, library: Path, out: Path) -> tuple[subprocess.Popen[str], int]:
    """Begin with long songs; return the command and one of its two workers."""
    x = np.random.default_rng(1).normal(0, 0.1, (44100 * 60, 2))
    for path in library.rglob("*.wav"):
        soundfile.write(path, x, 44100)
    command = line(library, "-o", out, "--jobs", 2)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.part")) and not list(out.rglob(".*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    return process, children(process.pid)[0]


def test_a_killed_worker_costs_one_song(library: Path, line: Line) -> None:
    out = library.parent / "out"
    process, worker = start(line, library, out)
    os.kill(worker, signal.SIGKILL)
    said, text = process.communicate(timeout=200)
    summary = json.loads(said.splitlines()[-1])["summary"]
    assert process.returncode == 1
    assert (summary["written"], summary["failed"]) == (3, 1)
    assert "was killed by SIGKILL" in text and "[worker_died]" in text
    again = line(library, "-o", out, "--jobs", 2)
    warm.run(again, check=True, timeout=200, capture_output=True)
    assert len([p for p in files(out) if p.endswith(".flac")]) == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_end_leaves_no_process_and_nothing_half_written(
    number: int, library: Path, line: Line
) -> None:
    out = library.parent / "out"
    process, _ = start(line, library, out)
    workers = children(process.pid)
    assert len(workers) == 2
    process.send_signal(number)
    _, text = process.communicate(timeout=30)
    assert "Traceback" not in text
    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}/exe").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left = list(files(out))
    assert all(Path(name).suffix == ".flac" for name in left), left
    for name in left:
        assert soundfile.info(out / name).frames == 44100 * 120
