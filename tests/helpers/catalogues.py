"""Catalogues of short songs, and `edgestem batch` over them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import warm

TINY = Path(__file__).parent.parent / "data" / "tiny.tflite"
RATE = 44100


def write_songs(folder: Path, n: int, seconds: float = 0.2) -> list[Path]:
    """Write noise, each song its own, in folders of ten; a long one repeats itself."""
    paths = []
    for i in range(n):
        path = folder / f"album {i // 10}" / f"song {i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        x = np.random.default_rng(i).normal(0, 0.1, (int(min(seconds, 5) * RATE), 2))
        soundfile.write(path, np.resize(x, (int(seconds * RATE), 2)), RATE)
        paths.append(path)
    return paths


def line(*words: object, model: Path | None = TINY) -> list[str]:
    chosen = [] if model is None else ["--model", str(model)]
    return [sys.executable, "-m", "edgestem", *map(str, words), *chosen]


def batch(*words: object, model: Path = TINY, **options: Any) -> Any:
    """Run `edgestem batch` to its end."""
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}
    return warm.run(line("batch", *words, model=model), **settings | options)


def begin(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start `edgestem batch`."""
    settings: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line("batch", *words), **settings | options)


def workers(pid: int) -> list[int]:
    """Processes that a process has started and that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def kill(pid: int) -> bool:
    """Kill a process; False: it has gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for(is_true: Any, timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def receipts(out: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(out.rglob("edgestem.json"))]


def leftovers(out: Path) -> list[str]:
    """Hidden files in the folders of songs: claims, parts, journals."""
    return [
        str(p) for p in out.rglob(".*") if p.is_file() and p.parent.name != ".edgestem"
    ]
