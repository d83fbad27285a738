"""Every `lib.f(...)` in spectral.py exists in the header, with its arity."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgestem import spectral
from edgestem.errors import NativeError

ROOT = Path(__file__).parent.parent
HEADERS = [ROOT / "native" / name for name in ("edgestem.h", "stretch.h")]
HEADER = "".join(path.read_text() for path in HEADERS)


def declared() -> dict[str, int]:
    """Argument counts of the functions of the header."""
    text = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    found = re.findall(r"\b(es_\w+)\(([^)]*)\);", text)
    return {n: 0 if a.strip() == "void" else a.count(",") + 1 for n, a in found}


def called() -> list[tuple[str, int]]:
    tree = ast.parse(Path(spectral.__file__).read_text())
    return [
        (node.func.attr, len(node.args))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "lib"
    ]


def test_header_declares_what_the_library_has() -> None:
    assert len(declared()) > 15
    for name in declared():
        assert hasattr(spectral.lib, name)


@pytest.mark.parametrize("call", sorted(set(called())), ids=lambda c: c[0])
def test_calls_have_the_declared_number_of_arguments(call: tuple[str, int]) -> None:
    name, n_arguments = call
    assert declared()[name] == n_arguments


def test_numbers_are_the_ones_of_the_header() -> None:
    numbers = {n: int(v) for n, v in re.findall(r"#define (ES_\w+) (-?\d+)", HEADER)}
    statuses = {v: n.lower() for n, v in numbers.items() if n.startswith("ES_ERR_")}
    levels = {n[8:].lower(): v for n, v in numbers.items() if n.startswith("ES_SIMD_")}
    assert numbers["ES_ABI"] == spectral.ABI
    assert numbers["ES_DOUBT_FLOATS"] == spectral.DOUBT_SIZE
    assert statuses == spectral.STATUS
    assert levels == spectral.SIMD


@pytest.mark.parametrize("status", [*spectral.STATUS, -99])
def test_every_status_becomes_a_native_error(status: int) -> None:
    with pytest.raises(NativeError, match="spectrogram kernel: ") as caught:
        spectral._ok(status)
    assert caught.value.status == status
    assert caught.value.code == spectral.STATUS.get(status, "es_err_unknown")


def test_nothing_else_in_the_package_touches_the_library() -> None:
    for path in Path(spectral.__file__).parent.glob("*.py"):
        if path.name != "spectral.py":
            assert not re.search(r"\b_native\b", path.read_text()), path.name


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_without_the_kernel_numpy_takes_over() -> None:
    code = (
        "import sys; sys.modules['edgestem._native'] = None\n"
        "from edgestem import spectral as s\n"
        "print(s.available_backends()[0], s.simd_name(), s.simd_levels())\n"
        "print(s.RealFFT(64).backend)"
    )
    assert run(code).split() == ["numpy", "none", "()", "numpy"]


def test_a_kernel_of_another_contract_is_refused() -> None:
    code = (
        "import sys, types\n"
        "lib = types.SimpleNamespace(es_abi=lambda: 99)\n"
        "sys.modules['edgestem._native'] = types.SimpleNamespace(ffi=None, lib=lib)\n"
        "try: from edgestem import spectral\n"
        "except Exception as e: print(e.code, '|', e)"
    )
    expected = (
        f"es_err_abi | the compiled kernel speaks ABI 99, this package {spectral.ABI}"
    )
    assert run(code).startswith(expected)
