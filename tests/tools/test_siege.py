"""The long attacks on the daemon, for seconds: they count, compare and go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import forks
import pytest
from strangers import needs_root

from tools.siege import mal, watch

ROOT = Path(__file__).parents[2]


def run(tool: str, *words: str) -> str:
    line = [sys.executable, "-m", f"tools.siege.{tool}", *words]
    done = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_root
@pytest.mark.slow
def test_a_fuzz_counts_compares_and_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    words = ["--clients", "8", "--minutes", "0.3", "--alone", "1"]
    words += ["--state", str(state)]
    assert "call it again" in run("fuzz", "--messages", "1000000000", *words)
    seen = json.loads(state.read_text())
    assert seen["handled"] > 0 and seen["crowd"]["messages"] > 0
    for where in ("alone", "beside"):
        assert seen[where]["wrong_samples"] == 0 and seen[where]["songs"] > 0
    assert not [n for k, n in seen["bits"].items() if k.startswith("wrong") and n]
    assert "all of them" in run("fuzz", "--messages", "1", *words)
    assert json.loads(state.read_text()) == seen


@needs_root
@pytest.mark.slow
def test_a_soak_keeps_its_daemon_until_the_hours_are_over(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    words = ["--state", str(state), "--models", "tiny", "--clients", "4"]
    words += ["--turn", "2", "--song", "1"]
    run("soak", "--minutes", "0.01", "--hours", "1000", *words)
    pid = json.loads(state.read_text())["pid"]
    assert watch.is_there(pid)
    said = run("soak", "--minutes", "1", "--hours", "0.001", *words)
    assert "its log is clean" in said and not watch.is_there(pid)
    honest = json.loads(state.read_text())["honest"]
    assert not [n for k, n in honest.items() if k.startswith("wrong") and n]


def test_rows_of_several_processes_add_up() -> None:
    counts = mal.Counts(2)
    pid = forks.fork()
    if pid == 0:
        counts.of(1).add(messages=5)
        os._exit(0)
    os.waitpid(pid, 0)
    counts.of(0).add(messages=2, clients=1)
    assert (counts.total()["messages"], counts.total()["clients"]) == (7, 1)


def test_a_line_is_fitted_and_delays_are_ranked() -> None:
    assert watch.slope([0, 1, 2], [5, 7, 9]) == pytest.approx(2)
    said = watch.percentiles({"1.0": 99, "50.0": 1})
    assert "p50 1.0" in said and "max 50.0 ms of 100 answers" in said
