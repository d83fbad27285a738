"""Files and modules that pages name are there, and the index has all pages."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tools.ci.commands import commands, common_options

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "models/MODEL_CARD.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
MODULE = re.compile(r"python -m (tools[\w.]+)")
FILE = re.compile(
    r"(?<![\w./<])((?:docs|native|tools|tests|models|examples)/[\w./-]*\w"
    r"\.(?:md|py|sh|h|c|json|toml|txt|pt|tflite|ogg|svg))\b"
)
# What a command makes, or another package has.
MADE = {f"models/NAME.{end}" for end in ("json", "tflite", "pt")}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_page_names_is_there(path: Path) -> None:
    text = path.read_text()
    paths = [path.parent / name for name in LINK.findall(text)]
    paths += [ROOT / name for name in set(FILE.findall(text)) - MADE]
    modules = [ROOT / name.replace(".", "/") for name in MODULE.findall(text)]
    paths += [m if m.is_dir() else m.with_suffix(".py") for m in modules]
    assert [str(found) for found in paths if not found.exists()] == []


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"({name})" not in index} == set()


def test_design_names_files_that_are_there() -> None:
    text = (ROOT / "docs/design.md").read_text()
    rooms = "|".join(
        p.name for p in (ROOT / "edgestem").iterdir() if p.is_dir() and p.name[0] != "_"
    )
    names = re.findall(rf"`((?:{rooms})/[\w/]+\.py)`", text)
    assert len(names) > 10
    assert [name for name in names if not (ROOT / "edgestem" / name).exists()] == []


# `edgestem COMMAND ...` and `python -m tools.room.tool ...`, to the end of the line.
LINE = re.compile(r"\b(edgestem|python -m tools\.\w+\.\w+) ([^`|#;\n]*)")
WORD = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_options_that_a_page_names_are_there(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ").replace("\\|", "|")
    for program, words in LINE.findall(text):
        unknown = set(WORD.findall(words)) - options(program, words)
        assert not unknown, (program, words)


def options(program: str, words: str) -> set[str]:
    """What a command takes; of a tool all that its room's sources name."""
    if program == "edgestem":
        common = {name for option in common_options() for name in option.names}
        name = words.partition(" ")[0]
        found = [command for command in commands() if command.name == name]
        return common.union(*(o.names for c in found for o in c.options))
    return {"--help", *words_of_room(program.split(".")[1])}


@cache
def words_of_room(room: str) -> list[str]:
    paths = (ROOT / "tools" / room).rglob("*.py")
    return WORD.findall("\n".join(path.read_text() for path in paths))
