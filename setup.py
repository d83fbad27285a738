"""The parts of the build that a table cannot say; the rest is in pyproject.toml."""

import platform
import struct
import sys

from setuptools import find_packages, setup

# What every machine needs.
DEPENDENCIES = ["cffi>=1.16", "soundfile>=0.12", "numpy>=1.23.2"]


def runtime() -> list[str]:
    """Name the TFLite runtime that has a wheel for this very interpreter.

    A wheel of edgestem is for one machine (it holds the compiled kernel), so the
    choice holds where the wheel is installed.  The interpreter decides, not the
    machine: a 32-bit Python on a 64-bit kernel calls its machine aarch64, too, and
    the markers of a requirement cannot tell the two apart.
    """
    is_64_bit = struct.calcsize("P") == 8
    if is_64_bit and platform.machine() in ("x86_64", "aarch64"):
        return ["ai-edge-litert>=2.0.2"]
    if sys.version_info < (3, 12):  # tflite-runtime 2.14 is the last release
        return ["tflite-runtime>=2.13", "numpy<2"]
    return []  # none has a wheel: edgestem says so when it is used


setup(
    # Every room; the models and the units of systemd under names of their own.
    packages=[
        *find_packages(include=["edgestem*"]),
        "_edgestem_models",
        "_edgestem_units",
    ],
    cffi_modules=["native/build_ffi.py:ffibuilder"],
    install_requires=DEPENDENCIES + runtime(),
)
