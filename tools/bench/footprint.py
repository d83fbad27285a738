"""A model's networks alone, one thread: RTF, and peak memory of a process of its own.

    python -m tools.bench.footprint models/karaoke.tflite

RTF per second of audio that comes out (context frames of a block net are paid
for); the memory is the whole process: Python, the TFLite runtime, the net.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edgestem.network.compute import Compute
from edgestem.network.model import open_on_cpu
from edgestem.network.reading import read_config
from edgestem.network.runtime import installed, open_interpreter

HOP, SAMPLE_RATE = 1024, 44100  # of a bare net


def seconds_out(path: Path, n_in: int) -> float:
    """Seconds of audio whose masks one call yields."""
    if path.with_suffix(".json").exists():
        config = read_config(path)
        return config.group * config.hop / config.sample_rate
    return n_in * HOP / SAMPLE_RATE


def call_of(path: Path, runtime: str | None) -> tuple[Callable[[], object], float]:
    """One call of a model, levels in float included, or of a bare net; its seconds."""
    if path.with_suffix(".json").exists():
        model = open_on_cpu(path, Compute(runtime=runtime))
        return model.invoke, seconds_out(path, 0)
    net, _ = open_interpreter(path, distribution=runtime)
    n_in = int(net.get_input_details()[0]["shape"][1])
    return net.invoke, seconds_out(path, n_in)


def measure(path: Path, runtime: str | None, rounds: int) -> dict[str, float]:
    call, seconds = call_of(path, runtime)
    call()
    # A small net is called more often, so that every round takes its time.
    start = time.perf_counter()
    call()
    calls = max(1, round(0.2 / (time.perf_counter() - start)))
    rtf = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        rtf.append((time.perf_counter() - start) / calls / seconds)
    return {"rtf": statistics.median(rtf), "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Of this program; getrusage would remember what its parent held."""
    status = Path("/proc/self/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def footprint(path: Path, runtime: str | None = None, rounds: int = 5) -> dict:
    """`measure` in a child process."""
    command = [sys.executable, "-m", "tools.bench.footprint", str(path)]
    command += ["--rounds", str(rounds)] + (["--runtime", runtime] if runtime else [])
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("net", type=Path)
    parser.add_argument("--runtime", choices=installed())
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(json.dumps(measure(args.net, args.runtime, args.rounds)))


if __name__ == "__main__":
    main()
