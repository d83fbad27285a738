"""docs/python.md has every public name, and what it shows works."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from daemons import running

import edgestem

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
HEADS = re.findall(r"^### `(\w+)", PAGE.read_text(), re.MULTILINE)


def test_every_public_name_has_a_section_with_an_example() -> None:
    assert set(edgestem.__all__) - set(HEADS) == set()
    for section in PAGE.read_text().split("\n### ")[1:]:
        assert ">>> " in section, section.splitlines()[0]


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    with running(tmp_path) as daemon:
        monkeypatch.setenv("EDGESTEM_SOCKET", str(daemon.socket))
        found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > len(HEADS)
    assert found.failed == 0
