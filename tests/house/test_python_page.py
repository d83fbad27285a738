"""docs/python.md has every public name, and what it shows works."""

from __future__ import annotations

import doctest
import inspect
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


def section(name: str) -> str:
    found = re.search(rf"^### `{name}\b.*?(?=^##|\Z)", PAGE.read_text(), re.M | re.S)
    assert found, name
    return found[0]


@pytest.mark.parametrize("name", ["separate", "separate_file", "Separator", "Client"])
def test_every_argument_is_named(name: str) -> None:
    text = section(name)
    for argument in inspect.signature(getattr(edgestem, name)).parameters:
        assert re.search(rf"\b{argument}\b", text), argument


@pytest.mark.parametrize("name", ["Separator", "Client"])
def test_every_public_member_is_named(name: str) -> None:
    text = section(name)
    members = [m for m in vars(getattr(edgestem, name)) if not m.startswith("_")]
    hidden = {"finished", "give_way"}  # for edgestem.live and edgestem.play
    for member in set(members) - hidden:
        assert re.search(rf"\b{member}\b", text), member


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    with running(tmp_path) as daemon:
        monkeypatch.setenv("EDGESTEM_SOCKET", str(daemon.socket))
        found = doctest.testfile(str(PAGE), module_relative=False)
    assert found.attempted > len(HEADS)
    assert found.failed == 0
