"""Build edgestem._native with cffi: each header has two readers.

What stands between the fences of a header is what Python may call; the same
header is compiled with its source, so a mismatch stops the build.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
LEVELS = ("scalar", "sse2", "avx2", "neon")  # each file empties itself elsewhere
SOURCES = [
    "guard.c",
    "plan/fft.c",
    "plan/levels.c",
    "plan/spectral.c",
    "stretch/stretch.c",
    *(f"level/{n}.c" for n in LEVELS),
]
HEADERS = ["edgestem.h", "guard.h", "stretch.h"]
FLAGS = [
    "-std=c11",
    "-O3",
    "-fvisibility=hidden",
    # No fused multiply-adds: the same bits from vector loops and from their
    # scalar remainders, and on every machine.
    "-ffp-contract=off",
    "-g0",  # Python may have been built with -g: 600 kB of no use here
]


def declarations(header: str) -> str:
    """Cut out the part of the header that cffi can read."""
    return header.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]


def require_compiler() -> None:
    """Stop with one sentence where nothing can compile the kernel."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    python_h = Path(sysconfig.get_path("include"), "Python.h")
    missing = []
    if not shutil.which(shlex.split(compiler)[0]):
        missing.append(f"a C compiler ({compiler.split()[0]})")
    if not python_h.exists():
        missing.append(f"Python's C headers ({python_h})")
    if missing:
        raise SystemExit(
            f"edgestem: {' and '.join(missing)} not found; the spectrogram kernel "
            "is compiled at installation: on Debian and Raspberry Pi OS, "
            "`sudo apt-get install gcc python3-dev` brings it"
        )


require_compiler()
ffibuilder = FFI()
for name in HEADERS:
    ffibuilder.cdef(declarations((HERE / name).read_text(encoding="utf-8")))
ffibuilder.set_source(
    "edgestem._native",
    "".join(f'#include "{name}"\n' for name in HEADERS),
    sources=[f"native/{name}" for name in SOURCES],
    include_dirs=["native"],
    depends=[f"native/{path.relative_to(HERE)}" for path in sorted(HERE.rglob("*.h"))],
    extra_compile_args=FLAGS,
    py_limited_api=True,
)
