"""The layer rule, and that importing edgestem costs and starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgestem

PACKAGE = Path(edgestem.__file__).parent
# Low to high: a module imports only from the layers before its own.
LAYERS = (
    {"errors", "config", "protocol", "native"},
    {
        "spectral",
        "stages",
        "learners",
        "levels",
        "windows",
        "memory",
        "kernel",
        "tables",
        "rows",
        "geometry",
        "mixture",
        "runtime",
        "_native",
        "coral",
        "probe",
        "child",
        "devices",
        "network",
    },
    {"model"},
    {"separator"},
    set(),  # doors: whatever is not named elsewhere
    {"cli", "__main__"},
)
HEAVY = {"soundfile", "socket", "pyfftw", "tflite_runtime", "ai_edge_litert", "torch"}


def layer(module: str) -> int:
    for i, names in enumerate(LAYERS):
        if module in names:
            return i
    return 4


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "edgestem":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("edgestem."):
                found.add(node.module.removeprefix("edgestem."))
    return found & {p.stem for p in PACKAGE.glob("*.py")}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_modules_import_only_from_lower_layers(path: Path) -> None:
    if path.stem == "__init__":
        return
    for other in imports(path) - {"__init__"}:
        assert layer(other) <= layer(path.stem), f"{path.stem} imports {other}"


def test_importing_edgestem_loads_nothing_heavy_and_prints_nothing() -> None:
    code = "import sys, edgestem; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert not loaded & HEAVY


def test_training_libraries_stay_out_of_the_package() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in {"torch", "tensorflow", "scipy"}
