"""How fast, and how large."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.catalogue.scene import WIDTH, batch, cluster, songs

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
        name = f"album {i // WIDTH}/song {i}"
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
