"""Numbers of the daemon, and long forms of its tests.

    python -m tools.bench.daemon latency      one live stream, alone and beside 4 jobs
    python -m tools.bench.daemon throughput   through the socket against in-process
    python -m tools.bench.daemon soak         memory over 10,000 requests
    python -m tools.bench.daemon abuse        a million messages, 500 clients, mutations
    EDGESTEM_KILLS=100 python -m pytest -s tests/daemon/test_life.py -k sigkill

Everything runs against a daemon of its own, on this machine as it is: look at the
load that is printed before you believe a latency.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
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
from edgestem.wire.protocol import encode

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

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


def soak(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """10,000 requests: streams, jobs, status, errors; RSS after each thousandth."""
    song = folder / "song.wav"
    soundfile.write(song, noise(0.5), RATE)
    x, rss, n_requests = noise(0.2), [], 0
    with running(folder, log_level="error") as daemon:
        fds = [os.open(folder / i, os.O_RDWR | os.O_CREAT) for i in "ab"]
        while n_requests < args.requests:
            with daemon.client() as client:
                for _ in range(10):
                    client.separate(x, RATE)  # open, audio, flush, close
                    client.separate_file(song, fds)
                    client.status()
                    with contextlib.suppress(edgestem.EdgestemError):
                        client.request("open", "opened", sample_rate=1)
                    n_requests += 7
            if n_requests % (args.requests // 10) < 70:
                rss.append(round(daemon.rss() / 2**20, 1))
        threads, files = daemon.n_threads(), daemon.n_fds()
    growth = rss[-1] - rss[1]
    return {
        "requests": n_requests,
        "rss_mib": rss,
        "growth_mib_after_the_second_tenth": round(growth, 1),
        "threads": threads,
        "fds": files,
    }


def abuse(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    import test_daemon_abuse as short

    data = short.CONVERSATION
    found: dict[str, object] = {}
    with running(folder, log_level="error", message_s=2) as daemon:
        before = daemon.rss()
        started = time.monotonic()
        for end in range(len(data)):
            short.throw(daemon, data[:end])
        found["prefixes"] = len(data)
        for at in range(len(data)):
            mutated = bytearray(data)
            mutated[at] ^= 1 << (at % 8)
            short.throw(daemon, bytes(mutated))
        found["single-byte mutations"] = len(data)
        rng = np.random.default_rng(0)
        for _ in range(1000):
            short.throw(daemon, rng.bytes(int(rng.integers(1, 5000))))
        found["garbage connections"] = 1000
        found["pongs"] = flood(daemon, args.messages)
        found["500 clients at once"] = crowd(daemon, 500)
        with daemon.client() as client:
            client.separate(noise(1), RATE)
            client.status()
        time.sleep(3)
        found["seconds"] = round(time.monotonic() - started, 1)
        found["rss_mib"] = [round(b / 2**20, 1) for b in (before, daemon.rss())]
        found["threads"], found["fds"] = daemon.n_threads(), daemon.n_fds()
    return found


def flood(daemon: DaemonProcess, count: int) -> int:
    """Send a million pings, read a million pongs."""
    ping = encode("ping")
    with daemon.raw() as connection:

        def send() -> None:
            for _ in range(count // 1000):
                connection.sendall(ping * 1000)
            connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        n_bytes = 0
        while data := connection.recv(1 << 20):
            n_bytes += len(data)
        thread.join()
    return n_bytes // len(encode("pong"))


def crowd(daemon: DaemonProcess, count: int) -> dict[str, int]:
    clients = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    answers = []
    for client in clients:
        client.connect(str(daemon.socket))
    for client in clients:
        client.settimeout(20)
        answers.append(client.recv(4096))
    for client in clients:
        client.close()
    return {
        "served": sum(b'"hello"' in a for a in answers),
        "refused": sum(b"too_many_clients" in a for a in answers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("latency", "throughput", "soak", "abuse"))
    parser.add_argument("--live-model", default=str(DATA / "stateful1.tflite"))
    parser.add_argument("--job-model", default=str(model_path("karaoke")))
    parser.add_argument("--job-workers", type=int, default=1)
    parser.add_argument("--realtime", type=int, default=0, help="SCHED_RR priority")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    args = parser.parse_args()
    run = globals()[args.what]
    with tempfile.TemporaryDirectory() as folder:
        print(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", flush=True)
        for key, value in run(args, Path(folder)).items():
            print(f"{key}: {value}", flush=True)


if __name__ == "__main__":
    main()
