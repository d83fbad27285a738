"""kill -9 where it hurts: before each change of a name, and within a write.

EDGESTEM_KILLS says at how many moments of each kind; 50 takes minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm

N_KILLS = int(os.environ.get("EDGESTEM_KILLS", "6"))
KILLER = Path(__file__).parent.parent / "helpers" / "killer.py"
SETTLED = ("--once", "--interval", "0.1", "--settle", "0.1", "-q")
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs that have UltraStar texts, too."""
    folder = tmp_path_factory.mktemp("in")
    for seed, name in enumerate("abc"):
        x = np.random.default_rng(seed).normal(0, 0.1, (44100 * 4, 2))
        soundfile.write(folder / f"{name}.flac", x, 44100)
        text = f"#TITLE:{name}\n#ARTIST:x\n#MP3:{name}.flac\n#BPM:300\n: 0 1 2 la\nE\n"
        (folder / f"{name}.txt").write_text(text)
    return folder


Line = Callable[[Path], list[str]]


@pytest.fixture(params=["flat", "ultrastar"])
def line(request, library: Path, tiny_model: Path, tmp_path: Path) -> Iterator[Line]:
    """Give the words of a watch into a folder; ultrastar's gets a copy of the songs."""

    def make(out: Path) -> list[str]:
        if request.param == "ultrastar":
            if not out.exists():
                shutil.copytree(library, out)
            words = ["watch", str(out), "--layout", "ultrastar"]
        else:
            words = ["watch", str(library), "-o", str(out), "--layout", "flat"]
            words += ["--format", "flac"]
        return [*words, "--model", str(tiny_model), *SETTLED]

    yield make


def files(folder: Path) -> Files:
    if not folder.exists():
        return {}
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name[0] != "."}


def killed_before(number: int, out: Path, words: list[str]) -> list[str]:
    """Let it kill itself; give what it had done until then."""
    log = out.with_name("log")
    line = [sys.executable, KILLER, str(number), out, log, *words]
    done = subprocess.run(line, capture_output=True, timeout=200, check=False)
    assert done.returncode == (-9 if number else 0), done.stderr
    return log.read_text().split()


def check(found: Files, wanted: Files, before: Files) -> None:
    """Whole, or as it was, or not there; a text names only what is there."""
    for name, data in found.items():
        assert data == wanted[name] or data == before.get(name), name
        if name.endswith(".txt") and data != before.get(name):
            stem = name.removesuffix(".txt")
            assert {f"{stem} [INSTR].flac", f"{stem} [VOC].flac"} <= set(found)


def ends_well(out: Path, words: list[str], wanted: Files) -> None:
    """The next run finishes it, and the one after that does nothing."""
    for _ in range(2):
        line = [sys.executable, "-m", "edgestem", *words]
        done = warm.run(line, capture_output=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert files(out) == wanted
    # A journal of a set that was complete is for the next run that writes there.
    hidden = [p.name for p in out.iterdir() if p.name[0] == "."]
    left = {name for name in hidden if not name.endswith(".journal")}
    assert left <= {".edgestem-watch.jsonl", ".edgestem-watch.jsonl.lock"}, left


def test_before_each_change_of_a_name(line: Line, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet" / "out"
    quiet.parent.mkdir()
    words = line(quiet)
    before = files(quiet)
    events = killed_before(0, quiet, words)
    wanted = files(quiet)
    assert events.count("os.rename") >= 3 and len(events) > 20
    step = max(len(events) // N_KILLS, 1)
    moments = range(1 + len(events) % step, len(events) + 1, step)
    for number in moments:
        out = tmp_path / str(number) / "out"
        out.parent.mkdir()
        words = line(out)
        done = killed_before(number, out, words)
        assert done == events[:number]
        check(files(out), wanted, before)
        ends_well(out, words, wanted)
        shutil.rmtree(out.parent)
    print(f"killed before {len(moments)} of {len(events)} changes")


def test_within_a_write(line: Line, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet"
    words = line(quiet)
    before = files(quiet)
    once = [sys.executable, "-m", "edgestem", *words]
    warm.run(once, check=True, capture_output=True)
    wanted = files(quiet)
    rng = np.random.default_rng(5)
    for number in range(N_KILLS):
        out = tmp_path / str(number)
        words = line(out)
        process = subprocess.Popen([sys.executable, "-m", "edgestem", *words])
        least = int(rng.integers(1, 250_000))
        deadline = time.monotonic() + 60
        while not half_written(out, least):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.0005)
        process.kill()
        process.wait()
        assert list(out.glob(".*.part"))
        check(files(out), wanted, before)
        ends_well(out, words, wanted)
        shutil.rmtree(out)


def half_written(out: Path, least: int) -> bool:
    try:
        return any(p.stat().st_size >= least for p in out.glob(".*.part"))
    except OSError:  # it has its name by now
        return False
