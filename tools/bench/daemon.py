"""Numbers of the daemon; `tools.siege` has the long forms of its tests.

    python -m tools.bench.daemon latency      one live stream, alone and beside 4 jobs
    python -m tools.bench.daemon throughput   through the socket against in-process
    EDGESTEM_KILLS=100 python -m pytest -s tests/daemon/test_life.py -k sigkill

Everything runs against a daemon of its own, on this machine as it is: look at the
load that is printed before you believe a latency.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

import edgestem
from edgestem.network.catalogue import model_path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from daemons import DATA, DaemonProcess, running  # noqa: E402 - tests are no package

RATE = 44100
N_JOBS = 4
ROUNDS = 12  # of the throughput; machines are noisy


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((round(seconds * RATE), 2)) * 0.1
    return x.astype(np.float32)


def percentiles(times_ms: list[float]) -> dict[str, float]:
    found = np.percentile(times_ms, [50, 99, 99.9, 100])
    names = ("p50_ms", "p99_ms", "p99.9_ms", "max_ms")
    return dict(zip(names, found.round(3).tolist(), strict=True))


def paced(daemon: DaemonProcess, model: str, seconds: float) -> dict[str, object]:
    """Push one hop at a time at the pace of playing; time until its stems are here."""
    with daemon.client() as client:
        stream = client.open(RATE, 2, mode="live", model=model)
        block = stream.info["block"]
        x = noise(block / RATE)
        times, due = [], time.perf_counter()
        for _ in range(int(seconds * RATE / block)):
            due += block / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            stream.push(x)
            times.append((time.perf_counter() - started) * 1000)
        detail = json.loads(client.request("status", "status").payload)
        (own,) = [s["stream"] for s in detail["sessions"] if s["stream"]]
    hop_ms = round(1000 * block / RATE, 2)
    return {"hop_ms": hop_ms, **percentiles(times), "xruns": own["xruns"]}


def latency(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    flags = ["--model", args.job_model, "--model", args.live_model]
    song = folder / "song.wav"
    soundfile.write(song, noise(60), RATE)
    name = Path(args.live_model).stem
    found: dict[str, object] = {"live": name, "jobs": Path(args.job_model).stem}
    settings = {"job_workers": args.job_workers, "log_level": "error"}
    settings["realtime_priority"] = args.realtime
    if args.realtime:  # the player's thread is one, too
        os.sched_setscheduler(
            0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(args.realtime)
        )
    with running(folder, *flags, **settings) as daemon:
        paced(daemon, name, 3)
        found["alone"] = paced(daemon, name, args.seconds)
        is_over, n_done = threading.Event(), []

        def work(number: int) -> None:
            fds = [
                os.open(folder / f"{number}-{i}", os.O_RDWR | os.O_CREAT) for i in "ab"
            ]
            with daemon.client() as client, contextlib.suppress(edgestem.EdgestemError):
                while not is_over.is_set():
                    client.separate_file(song, fds)
                    n_done.append(number)

        threads = [threading.Thread(target=work, args=[i]) for i in range(N_JOBS)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        found[f"with {N_JOBS} jobs"] = paced(daemon, name, args.seconds)
        found["songs of 60 s done meanwhile"] = len(n_done)
        is_over.set()
        for thread in threads:
            thread.join()
    return found


def throughput(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    x = noise(args.seconds)
    ratios = []
    with (
        running(folder, "--model", args.job_model) as daemon,
        daemon.client() as client,
    ):
        edgestem.separate(x[: 8 * RATE], RATE, model=args.job_model)
        client.separate(x[: 8 * RATE], RATE)
        for _ in range(ROUNDS):
            t0 = time.perf_counter()
            here = edgestem.separate(x, RATE, model=args.job_model)
            t1 = time.perf_counter()
            there = client.separate(x, RATE)
            t2 = time.perf_counter()
            assert all(map(np.array_equal, here, there))
            ratios.append((t1 - t0, t2 - t1))
    local, remote = (min(r[i] for r in ratios) for i in (0, 1))
    return {
        "model": Path(args.job_model).stem,
        "audio_s": args.seconds,
        "in_process_s (best)": round(local, 3),
        "through_socket_s (best)": round(remote, 3),
        "ratio_of_best": round(remote / local, 4),
        "ratio_median": round(statistics.median(b / a for a, b in ratios), 4),
        "bit_identical": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("latency", "throughput"))
    parser.add_argument("--live-model", default=str(DATA / "stateful1.tflite"))
    parser.add_argument("--job-model", default=str(model_path("karaoke")))
    parser.add_argument("--job-workers", type=int, default=1)
    parser.add_argument("--realtime", type=int, default=0, help="SCHED_RR priority")
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    run = globals()[args.what]
    with tempfile.TemporaryDirectory() as folder:
        print(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
        for key, value in run(args, Path(folder)).items():
            print(f"{key}: {value}", flush=True)


if __name__ == "__main__":
    main()
