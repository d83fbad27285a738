"""What the shows need: songs, command lines, a Dask cluster."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "tiny.tflite"
RATE = 44100
WIDTH = 100  # songs a folder
Process = subprocess.Popen[Any]


def songs(folder: Path, n: int, seconds: float) -> Path:
    """Write songs of noise, unless they are there."""
    for i in range(n):
        path = folder / f"album {i // WIDTH}" / f"song {i}.wav"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            x = np.random.default_rng(i).normal(0, 0.1, (int(seconds * RATE), 2))
            soundfile.write(path, x, RATE)
    return folder


def batch(src: Path, out: Path, *words: object, model: object = TINY) -> list[str]:
    line = [sys.executable, "-m", "edgestem", "batch", src, "-o", out, "--json", "-q"]
    return [str(word) for word in (*line, "--model", model, *words)]


@contextlib.contextmanager
def cluster(args: argparse.Namespace, n: int = 2) -> Iterator[str]:
    """Start a scheduler and workers of one thread."""
    file = args.folder / "scheduler.json"
    file.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    options += ["--dashboard-address", ":0", "--scheduler-file", str(file)]
    scheduler = subprocess.Popen([*dask, "scheduler", *options], **quiet)
    while not (file.exists() and file.read_text().endswith("}")):
        time.sleep(0.2)
    options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]
    workers = subprocess.Popen(
        [*dask, "worker", *options, "--nworkers", str(n)], **quiet
    )
    args.scheduler, args.scheduler_pid = workers.pid, scheduler.pid
    try:
        yield json.loads(file.read_text())["address"]
    finally:
        for process in (workers, scheduler):
            process.terminate()
            process.wait()
