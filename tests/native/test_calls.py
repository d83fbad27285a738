"""Every call of the compiled kernel is one of its headers', with its arity."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgestem
from edgestem import native
from edgestem.errors import NativeError
from edgestem.spectrum.learners import DIRECTIONS_SIZE
from edgestem.spectrum.memory import PARTS

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(edgestem.__file__).parent
HEADERS = [ROOT / "native" / name for name in ("edgestem.h", "stretch.h")]
HEADER = "".join(path.read_text() for path in HEADERS)
GUARD = (ROOT / "native" / "guard.h").read_text()


def declared() -> dict[str, int]:
    """Argument counts of the functions of the headers."""
    text = re.sub(r"/\*.*?\*/", "", HEADER + GUARD, flags=re.DOTALL)
    found = re.findall(r"\b(es_\w+)\(([^)]*)\);", text)
    return {n: 0 if a.strip() == "void" else a.count(",") + 1 for n, a in found}


def called() -> list[tuple[str, int]]:
    return [
        (node.func.attr, len(node.args))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "lib"
    ]


def test_header_declares_what_the_library_has() -> None:
    assert len(declared()) > 15
    for name in declared():
        assert hasattr(native.lib, name)


@pytest.mark.parametrize("call", sorted(set(called())), ids=lambda c: c[0])
def test_calls_have_the_declared_number_of_arguments(call: tuple[str, int]) -> None:
    name, n_arguments = call
    assert declared()[name] == n_arguments


def test_numbers_are_the_ones_of_the_header() -> None:
    numbers = {n: int(v) for n, v in re.findall(r"#define (ES_\w+) (-?\d+)", HEADER)}
    statuses = {v: n.lower() for n, v in numbers.items() if n.startswith("ES_ERR_")}
    levels = {n[8:].lower(): v for n, v in numbers.items() if n.startswith("ES_SIMD_")}
    assert numbers["ES_ABI"] == native.ABI
    assert numbers["ES_DIRECTIONS_FLOATS"] == DIRECTIONS_SIZE
    assert statuses == native.STATUS
    assert levels == native.SIMD


@pytest.mark.parametrize("status", [*native.STATUS, -99])
def test_every_status_becomes_a_native_error(status: int) -> None:
    with pytest.raises(NativeError, match="spectrogram kernel: ") as caught:
        native.require_ok(status)
    assert caught.value.status == status
    assert caught.value.code == native.STATUS.get(status, "es_err_unknown")


def test_nothing_else_in_the_package_touches_the_library() -> None:
    paths = list(PACKAGE.rglob("*.py"))
    assert len(paths) > 60
    naming = [p.name for p in paths if re.search(r"\b_native\b", p.read_text())]
    assert naming == ["native.py"]


def test_a_memory_is_the_struct_of_the_header() -> None:
    struct = re.search(r"typedef struct es_memory \{(.*?)\}", HEADER, re.DOTALL)
    assert struct
    assert tuple(re.findall(r"float \*(\w+);", struct[1])) == PARTS


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_without_the_kernel_numpy_works_for_who_asks_for_it() -> None:
    code = (
        "import sys; sys.modules['edgestem._native'] = None\n"
        "from edgestem import native as n\n"
        "from edgestem.spectrum import spectral as s\n"
        "print(s.available_backends()[0], n.simd_name(), n.simd_levels())\n"
        "print(type(s.make_transform(64, 'numpy')).__name__)"
    )
    assert run(code).split() == ["numpy", "none", "()", "NumpyTransform"]


def test_a_missing_kernel_is_refused_with_the_way_out() -> None:
    code = (
        "import sys; sys.modules['edgestem._native'] = None\n"
        "import edgestem\n"
        "try: edgestem.Separator(44100, 2)\n"
        "except edgestem.NativeError as e: print(e.code, '|', e)\n"
        "print(edgestem.Separator(44100, 2, fft='numpy').fft)"
    )
    code, fft = run(code).splitlines()
    assert code.startswith("kernel_missing | the compiled kernel is not beside ")
    assert "pip install -e ." in code
    assert fft == "numpy"


def test_a_kernel_of_another_contract_is_refused() -> None:
    code = (
        "import sys, types\n"
        "lib = types.SimpleNamespace(es_abi=lambda: 99)\n"
        "sys.modules['edgestem._native'] = types.SimpleNamespace(ffi=None, lib=lib)\n"
        "try: from edgestem.spectrum import spectral\n"
        "except Exception as e: print(e.code, '|', e)"
    )
    expected = (
        f"es_err_abi | the compiled kernel speaks ABI 99, this package {native.ABI}"
    )
    assert run(code).startswith(expected)
