"""README's code is run: what it shows works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# The two set-up commands are what runs this very test.
SET_UP = ("tools/install.sh", "tools/test.sh")


def blocks(language: str) -> list[str]:
    found = [text for kind, text in BLOCKS if kind == language]
    return [t for t in found if not any(s in t for s in SET_UP)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def environment() -> dict[str, str]:
    binaries = Path(sys.executable).parent
    return os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"}


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str, folder: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, cwd=folder, check=True, timeout=120, env=environment())


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell_blocks_run(code: str, folder: Path) -> None:
    command = ["sh", "-euc", code]
    subprocess.run(command, cwd=folder, check=True, timeout=120, env=environment())


def test_readme_shows_both_commands_first() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    for command in SET_UP:
        assert command in first_screen
