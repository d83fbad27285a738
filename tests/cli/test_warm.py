"""What tests run in a process that is loaded already ends as in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm

EDGESTEM = [sys.executable, "-m", "edgestem"]
MODEL = Path(__file__).parent.parent / "data" / "tiny.tflite"


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("no-such-command",),
        ("separate", "--help"),
        ("separate", "nowhere.wav"),
        ("verify", "nowhere", "nowhere.wav"),
        ("stream", "--no-such"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)  # fmt: skip
def test_both_say_the_same(words: tuple[str, ...], tmp_path: Path) -> None:
    line = [*EDGESTEM, *map(str, words)]
    env = os.environ | {"COLUMNS": "70", "XDG_CONFIG_HOME": str(tmp_path)}
    settings = {"capture_output": True, "text": True, "cwd": tmp_path, "env": env}
    alone, loaded = (f(line, **settings) for f in (subprocess.run, warm.run))
    assert loaded.returncode == alone.returncode
    assert (loaded.stdout, loaded.stderr) == (alone.stdout, alone.stderr)


def test_a_pipe_is_a_pipe(tmp_path: Path) -> None:
    line = [*EDGESTEM, "stream", "--model", MODEL]
    found = warm.run(line, input=b"", capture_output=True, cwd=tmp_path)
    assert found.returncode == 1 and b"stdin is empty" in found.stderr


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    line = [*EDGESTEM, "stream", "--model", MODEL]
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(line, stdin=reader, capture_output=True, timeout=0.5)
    os.close(reader)
    os.close(writer)
    assert warm.run([*EDGESTEM, "--version"], capture_output=True).returncode == 0
