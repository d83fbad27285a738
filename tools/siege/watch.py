"""What a long run keeps between its parts, and how flat the daemon stayed."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def load(path: Path) -> dict[str, Any]:
    """Read a run's state; nothing where it has not begun."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def save(path: Path, state: dict[str, Any]) -> None:
    """Write it, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(state))
    part.replace(path)


def measure(pid: int) -> dict[str, float]:
    """Look at a daemon: its memory and that of its children, descriptors, threads."""
    own = Path(f"/proc/{pid}")
    family = [pid, *descendants(pid)]
    return {
        "rss_mb": round(sum(map(rss, family[:1])) / 1e6, 2),
        "family_mb": round(sum(map(rss, family)) / 1e6, 2),
        "fds": len(list((own / "fd").iterdir())),
        "threads": len(list((own / "task").iterdir())),
        "processes": len(family),
    }


def rss(pid: int) -> int:
    with contextlib.suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")
    return 0


def descendants(pid: int) -> list[int]:
    """Find a process's children, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    for child in list(found):
        found += descendants(child)
    return found


def is_there(pid: int) -> bool:
    """Say whether a process runs."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def every(seconds: float, interval_s: float) -> Iterator[float]:
    """Yield now and then what is left, for so long."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(interval_s, left))
        yield left


def add(total: dict[str, Any], part: dict[str, Any]) -> None:
    """Add the numbers of a part to those of all; what counts delays, too."""
    for name, number in part.items():
        if isinstance(number, dict):
            add(total.setdefault(name, {}), number)
        else:
            total[name] = total.get(name, 0) + number


def percentiles(delays: dict[str, int]) -> str:
    """Say what delays were, in ms, from their histogram."""
    counts = Counter({float(ms): n for ms, n in delays.items()})
    ms = np.repeat(sorted(counts), [counts[k] for k in sorted(counts)])
    p50, p99, p999 = np.percentile(ms, [50, 99, 99.9])
    return (
        f"p50 {p50:.1f}  p99 {p99:.1f}  p99.9 {p999:.1f}  max {ms.max():.1f} ms of "
        f"{len(ms)} answers"
    )


def slope(xs: list[float], ys: list[float]) -> float:
    """Fit a line; return how much y grows for each of x."""
    if len(set(xs)) < 2:
        return 0.0
    return float(np.polyfit(xs, ys, 1)[0])
