"""How fast, and how large."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.catalogue.deaths import below
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
    """Compare ways to do the same songs, in one run; a start is measured apart."""
    long = songs(args.folder / "long", args.long_songs, args.seconds)
    short = songs(args.folder / "short", 1, 0.2)
    audio = args.long_songs * args.seconds
    with cluster(args, 1) as address:
        for turn in range(args.turns):
            first: list[float] = []
            for name, (words, n_copies) in _ways(address).items():
                start, start_wall = _measure(args, words, short, n_copies)
                cpu, wall = _measure(args, words, long, n_copies)
                net = (cpu - start) / audio / n_copies
                pace = audio * n_copies / (wall - start_wall)
                first = first or [net, pace]
                print(f"speed, turn {turn}: {name}: {net:.4f} CPU s a second and "
                      f"{start:.1f} to start, {first[0] / net:.2f} of the bare loop; "
                      f"{pace:.1f} x real time, {pace / first[1]:.2f} of the bare "
                      f"loop; load {os.getloadavg()[0]:.0f}", flush=True)  # fmt: skip


def _ways(address: str) -> dict[str, tuple[tuple[object, ...] | None, int]]:
    """Name the ways to do songs, and how many copies of each are run at once.

    None is the bare loop, others are options of batch.  Two bare loops at once say what
    the machine itself has for two.  `separate` decodes and writes stems as a catalogue
    does, without receipts.
    """
    return {
        "bare loop": (None, 1),
        "two bare loops": (None, 2),
        "edgestem separate": (("separate",), 1),
        "one process": ((), 1),
        "two processes": (("--jobs", 2), 1),
        "Dask, one worker": (("--dask", address), 1),
    }


def _measure(
    args: argparse.Namespace, words: tuple[object, ...] | None, src: Path, n_copies: int
) -> tuple[float, float]:
    """Do songs in one way; give CPU seconds of all that worked, and wall seconds."""
    out = args.folder / "fast"
    shutil.rmtree(out, ignore_errors=True)
    line = [sys.executable, "-c", _BARE, str(src), str(args.model)]
    if words == ("separate",):
        line = [sys.executable, "-m", "edgestem", "separate", str(src), "-o", str(out)]
        line += ["-q", "--model", str(args.model), "--device", "cpu"]
    elif words is not None:
        line = batch(src, out, *words, model=args.model)
    before, started = _cpu_s(args), time.monotonic()
    runs = [subprocess.Popen(line, stdout=subprocess.DEVNULL) for _ in range(n_copies)]
    assert not any([run.wait() for run in runs])
    wall = time.monotonic() - started
    time.sleep(1)  # Dask's worker buries its child
    return _cpu_s(args) - before, wall


def _cpu_s(args: argparse.Namespace) -> float:
    """CPU seconds of what this process has waited for, and of Dask's workers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = used.ru_utime + used.ru_stime
    for pid in (args.scheduler, *(child for child, _ in below(args.scheduler))):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, stat[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


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
