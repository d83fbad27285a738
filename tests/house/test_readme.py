"""README's code is run: what it shows works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import DaemonProcess, running

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


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as process:
        yield process


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code: str, folder: Path, daemon: DaemonProcess) -> None:
    command = [sys.executable, "-W", "error", "-c", code]
    env = environment() | {"EDGESTEM_SOCKET": str(daemon.socket)}
    subprocess.run(command, cwd=folder, check=True, timeout=120, env=env)


@pytest.mark.parametrize("code", blocks("sh"))
def test_shell_blocks_run(code: str, folder: Path) -> None:
    command = ["sh", "-euc", code]
    subprocess.run(command, cwd=folder, check=True, timeout=120, env=environment())


def test_readme_shows_both_commands_first() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    for command in SET_UP:
        assert command in first_screen


def test_readme_is_short_and_its_links_are_there() -> None:
    assert len(README.splitlines()) <= 130
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
