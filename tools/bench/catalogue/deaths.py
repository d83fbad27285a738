"""Once each, whatever dies: workers by SIGKILL, and whole runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tools.bench.catalogue.scene import TINY, Process, batch, cluster, songs


def below(pid: int) -> list[tuple[int, str]]:
    """Processes below a process, with their command lines."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            words = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_text().replace("\0", " ")
            parents[int(path.name)] = (int(words[1]), line)
    found, at = [], [pid]
    while at:
        above = at.pop()
        children = [p for p, (parent, _) in parents.items() if parent == above]
        found += [(p, parents[p][1]) for p in children]
        at += children
    return found


def kill_one(pid: int, what: str) -> int:
    """Kill one of the processes below that do some work; count it."""
    victims = [child for child, line in below(pid) if what in line]
    if not victims:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(random.choice(victims), signal.SIGKILL)
    return 1


def watch(runs: list[Process], every_s: float, kill: Callable[[], int]) -> int:
    """Wait for runs, killing now and then; count the killed."""
    n_killed, due = 0, time.monotonic() + every_s
    while any(run.poll() is None for run in runs):
        time.sleep(0.2)
        if time.monotonic() > due:
            n_killed += kill()
            due = time.monotonic() + every_s
    return n_killed


def check(src: Path, out: Path, lines: list[str], n: int) -> str:
    """Compare a catalogue with what `separate` writes, and count."""
    told = [json.loads(line) for line in lines]
    states = Counter(line["state"] for line in told if "song" in line)
    again = sum(line["attempts"] > 1 for line in told if "song" in line)
    receipts = [json.loads(p.read_text()) for p in out.rglob("edgestem.json")]
    assert len({made["song"] for made in receipts}) == len(receipts) == n
    left = [p.name for p in out.rglob(".*") if p.is_file()]
    left = [x for x in left if "here" not in x]
    plain = out.with_name("plain")
    if len(list(plain.rglob("*.wav"))) != 2 * n:
        shutil.rmtree(plain, ignore_errors=True)
        line = [sys.executable, "-m", "edgestem", "separate", src, "-o", plain, "-q"]
        subprocess.run([*map(str, line), "--model", str(TINY)], check=True)
    stems = list(plain.rglob("*.wav"))
    same = sum(
        stem.read_bytes() == (out / stem.relative_to(plain)).read_bytes()
        for stem in stems
    )
    return (
        f"{len(receipts)} receipts; told: {dict(states)}, {again} tried again; "
        f"{same} of {len(stems)} stems equal separate's; left over: {left}"
    )


def once(args: argparse.Namespace, name: str, commands: list[list[str]]) -> None:
    """Let runs do one catalogue while workers are killed."""
    src = songs(args.folder / "src", args.songs, 0.2)
    out = args.folder / name
    shutil.rmtree(out, ignore_errors=True)
    started = time.monotonic()
    files = [(args.folder / f"{name}.{i}").open("w+") for i in range(len(commands))]
    runs = [
        subprocess.Popen(command, stdout=file)
        for command, file in zip(commands, files, strict=True)
    ]
    killer = (lambda: kill_one(args.scheduler, "spawn_main")) if name == "dask" else (
        lambda: kill_one(random.choice(runs).pid, "catalogue.worker")
    )  # fmt: skip
    n_killed = watch(runs, args.kill, killer)
    elapsed = time.monotonic() - started
    lines = []
    for file in files:
        file.seek(0)
        lines += file.read().splitlines()
    status = [run.returncode for run in runs]
    found = check(src, out, lines, args.songs)
    print(f"{name}: {args.songs} songs in {elapsed:.0f} s, {n_killed} killed, "
          f"exit {status}; {found}", flush=True)  # fmt: skip


def jobs(args: argparse.Namespace) -> None:
    words = ("--jobs", 2, "--retries", 20)
    once(args, "jobs", [batch(args.folder / "src", args.folder / "jobs", *words)])


def claims(args: argparse.Namespace) -> None:
    words = ("--claim", "--retries", 20)
    once(
        args, "claims", [batch(args.folder / "src", args.folder / "claims", *words)] * 2
    )


def restarts(args: argparse.Namespace) -> None:
    """Kill whole runs, not only workers."""
    src, out = songs(args.folder / "src", args.songs, 0.2), args.folder / "restarts"
    shutil.rmtree(out, ignore_errors=True)
    command = batch(src, out, "--claim", "--lease", 20)
    files = [args.folder / f"restarts.{i}" for i in range(4)]
    for file in files:
        file.unlink(missing_ok=True)
    left, n_killed, started = set(range(4)), 0, time.monotonic()
    runs: dict[int, Process] = {}
    while left:
        for i in list(left):
            if i in runs and runs[i].poll() == 0:
                left.discard(i)
            elif i not in runs or runs[i].poll() is not None:
                with files[i].open("a") as file:
                    runs[i] = subprocess.Popen(command, stdout=file)
        time.sleep(random.uniform(0.5, 2 * args.kill))
        victims = [i for i in left if runs[i].poll() is None]
        if victims and time.monotonic() - started < args.minutes * 60:
            runs[random.choice(victims)].kill()
            n_killed += 1
    lines = [
        x for file in files for x in file.read_text().splitlines() if x[-1:] == "}"
    ]
    print(f"restarts: {args.songs} songs, {n_killed} runs killed in "
          f"{time.monotonic() - started:.0f} s; {check(src, out, lines, args.songs)}",
          flush=True)  # fmt: skip


def dask(args: argparse.Namespace) -> None:
    with cluster(args) as address:
        words = ("--dask", address, "--retries", 20)
        once(args, "dask", [batch(args.folder / "src", args.folder / "dask", *words)])
