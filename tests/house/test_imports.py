"""Importing edgestem costs little and starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import edgestem

PACKAGE = Path(edgestem.__file__).parent

HEAVY = {"soundfile", "socket", "pyfftw", "tflite_runtime", "ai_edge_litert", "torch"}


def test_importing_edgestem_loads_nothing_heavy_and_prints_nothing() -> None:
    code = "import sys, edgestem; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert not loaded & HEAVY


def test_training_libraries_stay_out_of_the_package() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in {"torch", "tensorflow", "scipy"}


def test_a_child_finds_the_package_and_nothing_beside_a_song() -> None:
    """The Debian package's program has a path of its own, which no child inherits."""
    starts = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "sys.executable" in text and ("Popen(" in text or "subprocess.run(" in text):
            starts.append(path.name)
            assert "child.environment()" in text and "child.FOLDER" in text, path
    assert len(starts) >= 4
