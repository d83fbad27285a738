"""Show that catalogues keep their promises: once each, fast enough, little memory.

    python -m tools.bench.catalogue FOLDER SHOW...

SHOW is one of

    jobs, claims, dask   N short songs through two processes, two claimers on one
                         folder, two Dask workers; one worker is killed by SIGKILL
                         every --kill seconds meanwhile
    restarts             four claimers on one folder, each killed as a whole at random
                         and started again until all is done
    speed                a bare loop over Separator, one process, two, and Dask, in one
                         run: CPU seconds and wall seconds
    receipts             --status on --receipts receipts, --verify --sample 200 on them
    memory               scheduler and driver at --tasks null tasks, two a worker

Songs are noise of numpy's, 0.2 s each, and the model is the test net: what is measured
is the catalogue, not the network.  `speed` takes --model and longer songs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "data" / "tiny.tflite"
RATE = 44100
_WIDTH = 100  # songs a folder
Process = subprocess.Popen[Any]


def songs(folder: Path, n: int, seconds: float) -> Path:
    """Write songs of noise, unless they are there."""
    for i in range(n):
        path = folder / f"album {i // _WIDTH}" / f"song {i}.wav"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            x = np.random.default_rng(i).normal(0, 0.1, (int(seconds * RATE), 2))
            soundfile.write(path, x, RATE)
    return folder


def batch(src: Path, out: Path, *words: object, model: object = TINY) -> list[str]:
    line = [sys.executable, "-m", "edgestem", "batch", src, "-o", out, "--json", "-q"]
    return [str(word) for word in (*line, "--model", model, *words)]


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


def dask(args: argparse.Namespace) -> None:
    with cluster(args) as address:
        words = ("--dask", address, "--retries", 20)
        once(args, "dask", [batch(args.folder / "src", args.folder / "dask", *words)])


_BARE = """
import sys, soundfile, edgestem
from pathlib import Path
s = edgestem.Separator(44100, 2, model=sys.argv[2], device="cpu")
for path in sorted(Path(sys.argv[1]).rglob("*.wav")):
    x, rate = soundfile.read(path, dtype="float32")
    for i in range(0, len(x), 65536):
        s.push(x[i:i + 65536])
    s.flush()
    s.reset()
"""


def speed(args: argparse.Namespace) -> None:
    """Compare ways to do the same songs, in one run."""
    src = songs(args.folder / "long", args.long_songs, args.seconds)
    audio = args.long_songs * args.seconds
    out = args.folder / "fast"
    bare = [sys.executable, "-c", _BARE, str(src), str(args.model)]
    rows: list[tuple[str, list[str]]] = [("bare loop", bare)]
    rows += [("one process", batch(src, out, model=args.model))]
    rows += [("two processes", batch(src, out, "--jobs", 2, model=args.model))]
    for turn in range(args.turns):
        for name, command in rows:
            shutil.rmtree(out, ignore_errors=True)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            started = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall = time.monotonic() - started
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"speed, turn {turn}: {name}: {audio / wall:.1f} x real time, "
                  f"{cpu / audio:.4f} CPU s a second, load {os.getloadavg()[0]:.1f}",
                  flush=True)  # fmt: skip
        with cluster(args, 1) as address:
            shutil.rmtree(out, ignore_errors=True)
            started = time.monotonic()
            subprocess.run(batch(src, out, "--dask", address, model=args.model),
                           check=True, stdout=subprocess.DEVNULL)  # fmt: skip
            wall = time.monotonic() - started
            print(f"speed, turn {turn}: Dask, one worker: {audio / wall:.1f} x real "
                  f"time, load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip


def receipts(args: argparse.Namespace) -> None:
    """Make a catalogue of links to a few songs and stems; its receipts are its own."""
    few, many = args.folder / "few", args.folder / "many"
    made = args.folder / "made"
    songs(few, 20, 0.2)
    subprocess.run(batch(few, made), check=True, stdout=subprocess.DEVNULL)
    found = [(p.parent, json.loads(p.read_text())) for p in made.rglob("edgestem.json")]
    out = args.folder / "published"
    for i in range(args.receipts):
        folder, receipt = found[i % len(found)]
        name = f"album {i // _WIDTH}/song {i}"
        source, target = many / f"{name}.wav", out / name
        if target.exists():
            continue
        source.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir(parents=True)
        os.link(receipt["source"]["path"], source)
        for output in receipt["outputs"]:
            os.link(folder / output, target / output)
        own = receipt | {"song": f"{name}.wav"}
        own["source"] = receipt["source"] | {"path": str(source)}
        (target / "edgestem.json").write_text(json.dumps(own, separators=(",", ":")))
    for words in (["--status"], ["--verify", "--sample", "200"], []):
        started = time.monotonic()
        run = subprocess.Popen(
            batch(many, out, *words), stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        said = run.stdout.read().strip()
        _, _, usage = os.wait4(run.pid, 0)
        cpu, wall = usage.ru_utime + usage.ru_stime, time.monotonic() - started
        print(f"receipts: {' '.join(words) or 'a run'}: {wall:.1f} s "
              f"({cpu:.1f} CPU s), {usage.ru_maxrss / 1024:.0f} MB: {said[:300]}",
              flush=True)  # fmt: skip


def memory(args: argparse.Namespace) -> None:
    """Give out null tasks as the catalogue gives out songs: two a worker."""
    import distributed

    def rss(pid: int) -> float:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256

    with cluster(args) as address, distributed.Client(address) as client:
        client.wait_for_workers(2)
        workers = list(client.nthreads())
        start = (rss(args.scheduler_pid), rss(os.getpid()))
        flying = distributed.as_completed()
        n, cpu = 0, time.process_time()
        for worker in workers * 2:
            flying.add(client.submit(_null, n, workers=[worker], pure=False))
            n += 1
        for future in flying:
            worker = next(iter(future.result()), None) or random.choice(workers)
            future.release()
            if n < args.tasks:
                flying.add(client.submit(_null, n, workers=[worker], pure=False))
                n += 1
        cpu = time.process_time() - cpu
        print(f"memory: {n} null tasks, two a worker: scheduler {start[0]:.0f} -> "
              f"{rss(args.scheduler_pid):.0f} MB, driver {start[1]:.0f} -> "
              f"{rss(os.getpid()):.0f} MB, {1000 * cpu / n:.2f} ms of the driver's CPU "
              "a task", flush=True)  # fmt: skip


def _null(_: int) -> list[str]:
    import distributed

    return [distributed.get_worker().address]


SHOWS = (jobs, claims, dask, restarts, speed, receipts, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    names = {show.__name__: show for show in SHOWS}
    add("folder", type=Path)
    add("shows", nargs="+", choices=names)
    add("--songs", type=int, default=5000)
    add("--kill", type=float, default=20.0, help="seconds between two kills")
    add("--minutes", type=float, default=3.0, help="of killing in `restarts`")
    add("--receipts", type=int, default=100_000)
    add("--tasks", type=int, default=100_000)
    add("--model", default=str(TINY))
    add("--long-songs", type=int, default=12)
    add("--seconds", type=float, default=30.0)
    add("--turns", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    args.folder = args.folder.absolute()
    for name in args.shows:
        names[name](args)


if __name__ == "__main__":
    main()
