"""What is missing is installed where this edgestem finds it: PEP 668 and the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgestem import missing
from edgestem.missing import way_to_install


def test_a_venv_that_is_not_active_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "my venv"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    line = way_to_install("sounddevice")
    assert line == f"'{tmp_path}/my venv/bin/pip' install sounddevice"
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert way_to_install("sounddevice") == "pip install sounddevice"


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a venv")
def test_the_command_of_this_venv_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    line = f"{way_to_install('numpy')} --dry-run --no-index"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert "already satisfied: numpy" in done.stdout, done


def test_pipx_has_a_word_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    venv = tmp_path / "edgestem"
    venv.mkdir()
    (venv / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(venv))
    assert way_to_install("JACK-Client") == "pipx inject edgestem JACK-Client"


def test_the_debian_package_takes_debian_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "__file__", "/usr/lib/edgestem/edgestem/missing.py")
    line = way_to_install("JACK-Client", debian="python3-jack-client")
    assert line == "sudo apt-get install python3-jack-client"
    assert "in a venv" in way_to_install("sounddevice")
