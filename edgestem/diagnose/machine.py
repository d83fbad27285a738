"""Facts about the board, read from the kernel's files; each is text, "" if unknown."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# Bits of the firmware's get_throttled word: now, and since boot.
THROTTLED = (
    (0, "under-voltage now"),
    (1, "frequency capped now"),
    (2, "throttled now"),
    (3, "hot now"),
    (16, "under-voltage since boot"),
    (17, "frequency was capped since boot"),
    (18, "throttled since boot"),
    (19, "hot since boot"),
)
# Of what /proc/cpuinfo lists, the ones that decide how fast int8 and floats run.
CPU_FEATURES = (
    *("sse2", "ssse3", "sse4_1", "avx", "avx2", "fma", "f16c", "avx512f"),
    *("avx512_vnni", "avx_vnni", "neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve"),
)


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _cpuinfo(root: Path, *keys: str) -> str:
    for line in _word(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys and value.strip():
            return value.strip()
    return ""


def board(root: Path = Path("/")) -> str:
    """Model of the board, as the device tree has it."""
    return _word(root / "proc/device-tree/model") or _cpuinfo(root, "Model")


def cpu(root: Path = Path("/")) -> str:
    """Name of the processor."""
    name = _cpuinfo(root, "model name", "Hardware", "CPU part")
    return name or platform.machine()


def cpu_features(root: Path = Path("/")) -> tuple[str, ...]:
    """Instruction sets of `CPU_FEATURES` that the processor has."""
    has = set(_cpuinfo(root, "flags", "Features").split())
    return tuple(name for name in CPU_FEATURES if name in has)


def governor(root: Path = Path("/")) -> str:
    """How the first core's clock is governed."""
    return _word(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def temperature(root: Path = Path("/")) -> float | None:
    """Of the first thermal zone, degrees Celsius."""
    text = _word(root / "sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def throttling(root: Path = Path("/")) -> list[str] | None:
    """Tell what slowed a Raspberry Pi; None: this is none, or it does not say."""
    pattern = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
    for path in sorted(root.glob(pattern)):
        word = int(_word(path) or "0", 16)
        return [text for bit, text in THROTTLED if word >> bit & 1]
    return None


def page_size() -> int:
    """Bytes of a page of the kernel."""
    return os.sysconf("SC_PAGE_SIZE")


def memory_mib(root: Path = Path("/")) -> int:
    """Memory of the machine, MiB."""
    for line in _word(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def peak_rss_mib(root: Path = Path("/")) -> float:
    """Most memory this process has held, MiB."""
    for line in _word(root / "proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def libc() -> str:
    """Name and version of the C library."""
    return " ".join(part for part in platform.libc_ver() if part)


def wheel_tag(distribution: str) -> str:
    """First tag of an installed wheel: which build this is."""
    import importlib.metadata

    try:
        text = importlib.metadata.distribution(distribution).read_text("WHEEL") or ""
    except importlib.metadata.PackageNotFoundError:
        return ""
    tags = [line[5:] for line in text.splitlines() if line.startswith("Tag: ")]
    return tags[0] if tags else ""
