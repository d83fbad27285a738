"""install.sh and test.sh as somebody runs them who may not install anything."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TOOLS = ("sh", "dirname", "date", "mktemp", "rm", "cat", "tail", "cut")
STUBS = {
    "id": "echo 1000",
    "apt-get": "exit 100",
    "sudo": "echo 'Sorry, user anna may not run sudo' >&2; exit 1",
    # Without venv and ensurepip, as Debian has it.
    "python3": "exit 1",
}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or "/nowhere")
    for name, script in STUBS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("has_terminal", [True, False])
@pytest.mark.parametrize("has_sudo", [True, False])
@pytest.mark.parametrize("script", ["install.sh", "test.sh"])
def test_who_may_not_install_reads_what_to_ask_for(
    programs: Path, tmp_path: Path, script: str, has_sudo: bool, has_terminal: bool
) -> None:
    if not has_sudo:
        (programs / "sudo").unlink()
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    ours, theirs = pty.openpty()
    result = subprocess.run(
        [programs / "sh", tmp_path / "tools" / script],
        stdin=theirs if has_terminal else subprocess.DEVNULL,
        capture_output=True,
        env={"PATH": str(programs)},
        text=True,
        timeout=30,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    needed = "gcc python3-venv python3-dev"
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        f"edgestem is compiled on this machine and lacks: {needed}",
        f"ask your administrator for: apt-get install {needed}",
    ]
    assert not list(tmp_path.glob(".venv*"))


def test_a_venv_that_fails_leaves_nothing_behind(
    programs: Path, tmp_path: Path
) -> None:
    python = f'case $2 in venv) mkdir $3; exit 1;; esac; exec {sys.executable} "$@"'
    (programs / "python3").write_text(f"#!/bin/sh\n{python}\n")
    (programs / "mkdir").symlink_to(shutil.which("mkdir") or "/nowhere")
    code = f". {ROOT}/tools/say.sh; make_venv {tmp_path}/venv"
    result = subprocess.run(
        [programs / "sh", "-euc", code],
        capture_output=True,
        env={"PATH": str(programs)},
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "apt-get install python3-venv" in result.stderr
    assert not (tmp_path / "venv").exists()
