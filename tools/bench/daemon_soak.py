"""A daemon among hostile neighbours: an honest user's bits and delays.

usage (as root): python tools/bench/daemon_soak.py [--minutes 2] [--clients 50]
                                                    [--realtime]

Users are numbers, so none has to be made.  The honest one plays a live stream in real
time, separates songs as fast as the daemon takes them (audio hours are accelerated
time), and compares every bit; the hostile one fuzzes, floods, opens and leaves.  The
first lines are the honest user alone, in the same run.  With --realtime the daemon and
the player go before every other process: what is late then is late by the daemon, and
not because two hostile processes and their neighbours want the same cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
from daemons import DATA, DaemonProcess, running
from strangers import ALICE, MAL, as_user, open_folder

import edgestem

BLOCK, RATE = 1024, 44_100
EXPECTED: list[Any] = []  # a song and its stems, as this process separates it
IN_A_HURRY: list[bool] = []
KINDS = ("ping", "status", "models", "open", "audio", "set", "flush", "close")
KINDS += ("separate", "cancel", "subscribe", "hello", "nonsense")
FIELDS = ("seq", "fds", "sample_rate", "channels", "mode", "stems", "input", "format")
FIELDS += ("output_dir", "job", "payload_length", "events", "vocals_db", "type")
VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 8, 44_100, 384_000, 1 << 64, 1e308, "")
VALUES += ("live", "s16le", "\U0001f600" * 300, [], ["vocals"], [[[]]], "/etc/passwd")


def hurry(pid: int) -> None:
    """Let a process and the threads that it starts go before all others."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


def play(path: Path, seconds: float) -> dict[str, float]:
    """Play a live stream in real time; return how late its answers were."""
    rng, took = np.random.default_rng(0), []
    block = (rng.standard_normal((BLOCK, 2)) * 0.1).astype(np.float32).tobytes()
    with edgestem.Client(path, timeout_s=60) as client:
        client.open(RATE, 2, mode="live")
        start = time.monotonic()
        for i in range(int(seconds * RATE / BLOCK)):
            time.sleep(max(0.0, start + i * BLOCK / RATE - time.monotonic()))
            sent = time.monotonic()
            client.send("audio", block)
            client.receive("stems")
            took.append(1000 * (time.monotonic() - sent))
        payload = json.loads(client.request("status", "status").payload)
        own = [s["stream"] for s in payload["sessions"] if s["pid"] == os.getpid()]
    p50, p99 = np.percentile(took, [50, 99])
    return {
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(max(took), 2),
        "xruns": own[0]["xruns"],
    }


def separate(path: Path, song: Path, seconds: float) -> dict[str, float]:
    """Do streams and jobs, one after the other; compare every bit with the first."""
    x, expected = EXPECTED
    n_samples = n_wrong = n_refused = n_jobs = 0
    first: list[bytes] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with edgestem.Client(path, timeout_s=60) as client:
                stems = client.separate(x, RATE)
                pairs = zip(stems, expected, strict=True)
                n_wrong += not all(np.array_equal(a, b) for a, b in pairs)
                fds = [os.memfd_create("v"), os.memfd_create("i")]
                with contextlib.ExitStack() as held:
                    for fd in fds:
                        held.callback(os.close, fd)
                    client.separate_file(song, fds)
                    found = [os.pread(fd, 1 << 24, 0) for fd in fds]
                first = first or found
                n_wrong += found != first
            n_samples, n_jobs = n_samples + 2 * len(x), n_jobs + 1
        except edgestem.EdgestemError:  # noqa: PERF203
            n_refused += 1
            time.sleep(0.1)
    hours = round(n_samples / RATE / 3600, 3)
    return {"hours": hours, "jobs": n_jobs, "wrong": n_wrong, "refused": n_refused}


def message(rng: random.Random, song: Path) -> tuple[bytes, list[int]]:
    kind = rng.choice(KINDS)
    header: dict[str, Any] = {"type": kind, "sample_rate": rng.choice([8000, RATE])}
    payload, fds = b"", []
    if kind == "audio":
        payload = rng.randbytes(rng.choice([0, 8, 800, 80_000]))
        header["payload_length"] = len(payload)
    if kind == "separate" or rng.random() < 0.1:
        fds = [os.open(song, os.O_RDONLY), *(os.memfd_create("x") for _ in "vi")]
        header["fds"] = len(fds)
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        header[rng.choice(FIELDS)] = rng.choice(VALUES)
    return json.dumps(header).encode() + b"\n" + payload, fds


def attack(path: Path, song: Path, n_clients: int, seed: int) -> int:
    """Fuzz and flood for ever on many connections; the parent ends it."""
    rng = random.Random(seed)
    pid = os.fork()
    if pid:
        return pid
    harass(path, song, n_clients, rng)
    os._exit(0)


def harass(path: Path, song: Path, n_clients: int, rng: random.Random) -> None:
    crowd: list[socket.socket] = []
    flood = b'{"type":"ping"}\n' * 500
    os.closerange(3, 1024)  # nobody waits for this process
    watcher = os.getppid()
    while os.getppid() == watcher:
        with contextlib.suppress(OSError):
            while len(crowd) < n_clients:
                one = socket.socket(socket.AF_UNIX)
                one.setblocking(False)
                one.connect(str(path))
                crowd.append(one)
        for one in rng.sample(crowd, min(8, len(crowd))):
            data, fds = message(rng, song)
            try:
                if rng.random() < 0.5:
                    one.send(flood)
                socket.send_fds(one, [data], fds)
                if rng.random() < 0.7:
                    one.recv(1 << 20)
            except BlockingIOError:
                pass
            except OSError:
                crowd.remove(one)
                one.close()
            for fd in fds:
                os.close(fd)


@contextlib.contextmanager
def hostile(daemon: DaemonProcess, song: Path, args: argparse.Namespace) -> Any:
    n_each = max(1, args.clients // 2)
    with contextlib.ExitStack() as held:
        for seed in (1, 2):
            arguments = (daemon.socket, song, n_each, seed)
            pid = held.enter_context(as_user(MAL + seed, attack, *arguments))
            held.callback(os.kill, pid, signal.SIGKILL)
        yield


def state(daemon: DaemonProcess) -> str:
    return (
        f"RSS {daemon.rss() / 1e6:.0f} MB, {daemon.n_fds()} descriptors, "
        f"{daemon.n_threads()} threads"
    )


def honest(daemon: DaemonProcess, song: Path, seconds: float, label: str) -> None:
    jobs: tuple[Callable[..., Any], ...] = (play, separate)
    half = seconds / len(jobs)
    if IN_A_HURRY:
        hurry(os.getpid())  # the child has it from us
    delayed = as_user(ALICE, play, daemon.socket, half)
    with delayed as delays:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        print(f"{label}: live {delays}; {state(daemon)}", flush=True)
    with as_user(ALICE, separate, daemon.socket, song, half) as bits:
        print(f"{label}: bits {bits}; {state(daemon)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--realtime", action="store_true")
    args = parser.parse_args()
    with open_folder() as folder:
        song = folder / "song.wav"
        x = np.random.default_rng(1).standard_normal((3 * RATE, 2)) * 0.1
        soundfile.write(song, x, RATE, "PCM_16")
        song.chmod(0o644)
        x, _ = soundfile.read(song, dtype="float32", always_2d=True)
        stems = edgestem.separate(x, RATE, model=DATA / "tiny.tflite")
        EXPECTED.extend((x, stems))
        limits = {"max_clients": 4 * args.clients + 16, "max_streams": 16}
        settings = {"socket_mode": "0666", "log_level": "error", **limits}
        with running(folder, **settings) as daemon:
            if args.realtime:
                IN_A_HURRY.append(True)
                hurry(daemon.process.pid)
            honest(daemon, song, 20, "alone")
            end, turn = time.monotonic() + 60 * args.minutes, 0
            with hostile(daemon, song, args):
                while time.monotonic() < end:
                    turn += 1
                    honest(daemon, song, 20, f"beside {args.clients}, {turn}")
                with daemon.client() as client:
                    status = client.status()
                print(f"served {status['n_served']}, xruns {status['n_xruns']}")
            time.sleep(5)
            honest(daemon, song, 20, "alone again")
            print(f"5 s after they left: {state(daemon)}")


if __name__ == "__main__":
    main()
