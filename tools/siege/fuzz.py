"""A million messages of hundreds of clients, beside a stream that must not care.

usage (as root): python -m tools.siege.fuzz --state FILE [--messages 1000000]
                     [--clients 500] [--minutes 9] [--model MODEL] [--realtime]

A part takes `--minutes`; the next call with the same file goes on, until there were so
many messages, which count when the daemon has handled them.  Each part has a daemon
of its own: the honest user plays live in real time alone, then beside the crowd, then
alone again; every sample is compared, every delay kept.  Streams and jobs are compared
at the end of each part, and the daemon's log may hold no traceback.  With --realtime
the daemon and the player go before all other processes, as where playing matters.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.siege import alice, mal, watch

from daemons import DATA, DaemonProcess, running  # isort: skip - the siege's __init__
from strangers import ALICE, MAL, as_user, open_folder  # isort: skip

N_PROCESSES = 4  # of the crowd, of two users
LOOK_S = 1.0
SETTLE_S, COMPARE_S = 5.0, 10.0


def hurry(pid: int) -> None:
    """Let a process and the threads that it starts go before all others."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


def play(
    daemon: DaemonProcess, song: alice.Song, seconds: float, is_realtime: bool
) -> dict[str, Any]:
    """Play as alice; she has her priority from root."""
    if is_realtime:
        hurry(os.getpid())
    with as_user(ALICE, alice.play, daemon.socket, song, seconds) as seen:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return dict(seen)


def n_requests(daemon: DaemonProcess) -> int:
    with daemon.client() as client:
        return int(client.status()["n_requests"])


@contextlib.contextmanager
def crowd(
    daemon: DaemonProcess, song: Path, args: argparse.Namespace
) -> Iterator[mal.Counts]:
    """Let the hostile clients come, and kill them at the end."""
    counts = mal.Counts(N_PROCESSES)
    n_each = args.clients // N_PROCESSES
    pids = []
    try:
        for i in range(N_PROCESSES):
            words = (daemon.socket, song, n_each, i, args.pause, counts)
            pids.append(mal.start(MAL + i % 2, *words))
        yield counts
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@contextlib.contextmanager
def looking(
    daemon: DaemonProcess, counts: mal.Counts, peak: dict[str, float]
) -> Iterator[None]:
    """Keep the largest of what is seen of the daemon and the crowd."""
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_S):
            with contextlib.suppress(OSError):
                seen = watch.measure(daemon.process.pid)
                seen["clients"] = counts.total()["clients"]
                for name, number in seen.items():
                    peak[name] = max(peak.get(name, 0), number)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def part(
    folder: Path, song: alice.Song, args: argparse.Namespace, state: dict[str, Any]
) -> None:
    """Do one part and add what it saw."""
    settings = {"socket_mode": "0666", "log_level": "error", "max_clients": 1000}
    settings |= {"max_file_mb": 64, "cache_mb": 8, "message_s": 5}
    seconds = args.minutes * 60 - 2 * args.alone - SETTLE_S - COMPARE_S
    with running(folder, "--model", args.model, **settings) as daemon:
        if args.realtime:
            hurry(daemon.process.pid)
        before = watch.measure(daemon.process.pid)
        alone = play(daemon, song, args.alone, args.realtime)
        peak: dict[str, float] = {}
        n_before = n_requests(daemon)
        with crowd(daemon, song.path, args) as counts:
            with looking(daemon, counts, peak):
                beside = play(daemon, song, seconds, args.realtime)
            state["handled"] += n_requests(daemon) - n_before - beside["requests"]
            bits = as_user(ALICE, alice.separate, daemon.socket, [song], COMPARE_S)
            with bits as compared:
                watch.add(state["bits"], compared)
        watch.add(state["crowd"], counts.total())
        time.sleep(SETTLE_S)
        watch.add(alone, play(daemon, song, args.alone, args.realtime))
        after = watch.measure(daemon.process.pid)
    watch.add(state["alone"], alone)
    watch.add(state["beside"], beside)
    state["parts"].append({"before": before, "peak": peak, "after": after})
    state["seconds"] += seconds


def report(state: dict[str, Any], args: argparse.Namespace) -> None:
    crowd = {k: v for k, v in state["crowd"].items() if k != "clients"}
    print(f"crowd: {state['handled']} messages handled, sent: {crowd}", end=" ")
    print(f"in {state['seconds']:.0f} s")
    for name in ("alone", "beside"):
        seen = dict(state[name])
        print(f"{name}: {watch.percentiles(seen.pop('delays_ms'))}; {seen}")
    print(f"streams and jobs beside it: {state['bits']}")
    for seen in state["parts"]:
        print(f"daemon: {seen}")
    is_over = state["handled"] >= args.messages
    print("all of them" if is_over else "call it again for the rest")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--alone", type=float, default=20.0, help="s, twice a part")
    parser.add_argument("--pause", type=float, default=0.005, help="s, between turns")
    parser.add_argument("--model", default=str(DATA / "tiny.tflite"))
    parser.add_argument("--realtime", action="store_true")
    args = parser.parse_args()
    sums: dict[str, Any] = {n: {} for n in ("crowd", "alone", "beside", "bits")}
    new = {"parts": [], "seconds": 0.0, "handled": 0, **sums}
    state = watch.load(args.state) or new
    if state["handled"] < args.messages:
        with open_folder() as folder:
            part(folder, alice.song(folder, args.model, 3), args, state)
        watch.save(args.state, state)
    report(state, args)


if __name__ == "__main__":
    main()
