"""Who may import whom: the rooms of the package, their order, and no circle."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import edgestem

PACKAGE = Path(edgestem.__file__).parent
# Files of the ground floor, which every room may import; `native` only where it says.
GROUND = {"child", "errors", "heap", "limits", "missing"}
GROUND |= {"mixture", "stems", "version"}
MAY: dict[str, set[str]] = {
    "native": {"_native"},
    "spectrum": {"native"},
    "network": {"spectrum"},
    "devices": {"network", "spectrum"},
    "engine": {"devices", "network", "spectrum"},
    "sound": set(),
    "pcm": {"engine", "sound"},
    "files": {"engine", "network", "sound"},
    "live": {"engine", "native", "network", "pcm", "sound", "spectrum"},
    "service": set(),
    "stretch": {"native"},
    "wire": set(),
    "client": {"files", "sound", "wire"},
    "karaoke": {"client", "engine", "files", "network", "sound"},
    "store": {"network", "sound"},
    "play": {
        "engine",
        "live",
        "network",
        "pcm",
        "sound",
        "store",
        "stretch",
        "wire",
    },
    "catalogue": {"files", "network", "sound"},
    "daemon": {"engine", "files", "network", "pcm", "sound", "store", "wire"},
    "lint": set(),
    "diagnose": {
        "devices",
        "engine",
        "lint",
        "native",
        "network",
        "sound",
        "spectrum",
    },
}
MAY["cli"] = {room for room in MAY if room != "native"} | {"native"}
ROOMS = set(MAY)


class Import(NamedTuple):
    """One import of one file of the package by another."""

    file: str
    """Dotted, without `edgestem.`."""
    line: int
    to: str
    """What is imported, dotted, without `edgestem.`."""
    names: tuple[str, ...]
    """What of it."""
    is_lazy: bool


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {dotted(path): path for path in PACKAGE.rglob("*.py")}


def imports_of(name: str) -> Iterator[Import]:
    """Every import of this package in a file: lazy ones and those for types, too."""
    tree = ast.parse(FILES[name].read_text())
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "edgestem":
                    to = alias.name.partition(".")[2]
                    yield Import(name, node.lineno, to, (), id(node) in lazy)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{name}:{node.lineno}: a relative import"
            if node.module.split(".")[0] == "edgestem":
                yield from _from(name, node, id(node) in lazy)


def _from(name: str, node: ast.ImportFrom, is_lazy: bool) -> Iterator[Import]:
    to = str(node.module).partition(".")[2]
    for alias in node.names:
        inner = f"{to}.{alias.name}".strip(".")
        if inner in FILES:
            yield Import(name, node.lineno, inner, (), is_lazy)
        else:
            yield Import(name, node.lineno, to, (alias.name,), is_lazy)


def room_of(name: str) -> str:
    return name.split(".")[0]


IMPORTS = [i for name in FILES if name for i in imports_of(name)]


def test_the_files_are_found() -> None:
    assert len(FILES) > 100
    assert len(IMPORTS) > 300


def test_every_file_lies_in_a_room_or_on_the_ground() -> None:
    rooms = {room_of(name) for name in FILES if name}
    assert rooms == ROOMS | GROUND | {"__main__"}


@pytest.mark.parametrize("room", sorted(MAY))
def test_a_room_imports_what_the_table_says(room: str) -> None:
    allowed = MAY[room] | GROUND | {room}
    wrong = [
        f"{i.file}:{i.line} imports {i.to or 'edgestem'}"
        for i in IMPORTS
        if room_of(i.file) == room and room_of(i.to) not in allowed
    ]
    assert not wrong


def test_the_ground_floor_imports_nothing_but_itself() -> None:
    wrong = [i for i in IMPORTS if i.file in GROUND and i.to not in GROUND]
    assert not wrong


def test_every_permission_is_used() -> None:
    used = {(room_of(i.file), room_of(i.to)) for i in IMPORTS}
    unused = [
        f"{room} -> {other}"
        for room in sorted(MAY.keys() - {"cli"})
        for other in sorted(MAY[room])
        if (room, other) not in used
    ]
    # Of compiled code there is no file to be found.
    assert unused in ([], ["native -> _native"])


def test_the_table_has_no_circle() -> None:
    tuple(TopologicalSorter(MAY).static_order())


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FILES if name}
    for i in IMPORTS:
        graph[i.file].add(i.to)
    tuple(TopologicalSorter(graph).static_order())


def test_no_room_takes_what_another_keeps_to_itself() -> None:
    wrong = [
        f"{i.file}:{i.line} takes {i.to}.{name}"
        for i in IMPORTS
        for name in i.names
        if name.startswith("_")
        and not name.startswith("__")
        and room_of(i.file) != room_of(i.to)
    ]
    assert not wrong


def test_only_the_command_line_gathers_lazily() -> None:
    """A lazy import saves a start's time; more than three rooms so is a hidden way."""
    lazy: dict[str, set[str]] = {}
    for i in IMPORTS:
        if i.is_lazy and room_of(i.file) not in (room_of(i.to), "cli"):
            lazy.setdefault(i.file, set()).add(room_of(i.to))
    assert not {name: rooms for name, rooms in lazy.items() if len(rooms) > 3}


def test_the_top_level_holds_what_a_reader_expects() -> None:
    root = PACKAGE.parent
    if not (root / ".git").exists() or not shutil.which("git"):
        pytest.skip("no checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True
    )
    found = {name.split("/")[0] for name in listed.stdout.splitlines()}
    folders = "docs edgestem examples models native packaging tests tools"
    assert {name for name in found if (root / name).is_dir()} - {".ci"} == set(
        folders.split()
    )
