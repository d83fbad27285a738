"""Latency, time per hop, faults and xruns of live streams.

    python -m tools.bench.live [--model live] [--seconds 600] [--faults] [--jack 3600]

Per hop: how long a push of one hop takes, as a fraction of the hop, one thread.
Latency: an impulse through a rig, where it comes out and where it was said to.
--faults: real stalls, failures and garbage of a test delegate, at real speed.
--jack: so many seconds in a jackd with its dummy driver; late hops and xruns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from edgestem.diagnose.info import collect
from edgestem.engine.separator import Separator
from edgestem.live.realtime import calm_python
from edgestem.live.rig import Rig
from edgestem.live.worker import Crew
from edgestem.network.catalogue import model_path
from edgestem.pcm.faders import Levels

ROOT = Path(__file__).parent.parent.parent
BLOCK = 256
FAULTS = ("stall 5", "stall 50", "stall 500", "stall 1000000", "fail", "garbage")


def music(n_samples: int, rate: int) -> np.ndarray:
    """Tones and noise in stereo; what it is does not change the time."""
    t = np.arange(n_samples)[:, None] / rate
    rng = np.random.default_rng(0)
    tones = 0.1 * np.sin(2 * np.pi * np.array([440.0, 330.0]) * t)
    return (tones + rng.normal(0, 0.02, (n_samples, 2))).astype(np.float32)


def time_hops(model: str, rate: int, seconds: float) -> dict:
    separator = Separator(rate, 2, model=model)
    hop = separator.geometry.hop
    x = music(20 * rate // hop * hop, rate).reshape(-1, hop, 2)
    times = np.empty(int(seconds * rate / hop))
    for i in range(-20, len(times)):  # the first ones warm up
        start = time.perf_counter()
        separator.push(x[i % len(x)])
        times[i if i >= 0 else 0] = time.perf_counter() - start
    calls = times.reshape(-1)
    names = ("p50", "p99", "p99.9", "max")
    values = np.percentile(calls, (50, 99, 99.9, 100)) * rate / hop
    return {"hop_ms": 1000 * hop / rate} | dict(zip(names, values, strict=True))


def find_impulse(model: str, rate: int) -> tuple[int, int, int]:
    """Latency of the model, and of a rig: stated, measured."""
    separator = Separator(rate, 2, model=model)
    late = separator.latency_samples
    rig = Rig(separator, Levels(0, 0, np.float32), slack_samples=BLOCK + 100)
    rig.is_waiting = True
    crew = Crew(rig, separator)
    crew.start()
    x = np.zeros((777 + rig.latency_samples + 5000, 2), np.float32)
    x[777] = 0.5
    for at in range(0, len(x), BLOCK):
        rig.process(x[at : at + BLOCK], x[at : at + BLOCK])
    crew.stop()
    return late, rig.latency_samples, int(np.abs(x).max(1).argmax()) - 777


def play(rig: Rig, x: np.ndarray) -> np.ndarray:
    out, start = np.empty_like(x), time.perf_counter()
    for at in range(0, len(x), BLOCK):
        wait = start + at / rig.sample_rate - time.perf_counter()
        time.sleep(max(wait, 0))
        rig.process(x[at : at + BLOCK], out[at : at + BLOCK])
    return out


def fault(order: str, library: str, orders: Path, model: str, slack_ms: float) -> dict:
    rate = 44100
    separator = Separator(
        rate,
        2,
        model=model,
        device=f"delegate:{library}",
        device_options={"orders": str(orders)},
        fallback=False,
    )
    slack = BLOCK + round(slack_ms * rate / 1000)
    rig = Rig(separator, Levels(-100, 0, np.float32), slack_samples=slack)
    crew = Crew(rig, separator)
    crew.start()
    t = np.arange(3 * rate)[:, None] / rate
    x = (0.3 * np.sin(2 * np.pi * np.array([440.0, 330.0]) * t)).astype(np.float32)
    parts = [play(rig, x[:rate])]
    orders.write_text(order)
    parts.append(play(rig, x[rate : 3 * rate // 2]))
    orders.unlink(missing_ok=True)
    parts.append(play(rig, x[3 * rate // 2 :]))
    out = np.concatenate(parts)[rig.latency_samples :]
    jump = np.abs(np.diff(out, axis=0)).max() / np.abs(np.diff(x, axis=0)).max()
    crew.stop()
    return {
        "late": rig.n_late,
        "fallback_ms": round(1000 * rig.n_fallback_samples / rate, 1),
        "skipped_ms": round(1000 * crew.count.n_skipped_samples / rate, 1),
        "errors": crew.count.n_errors,
        "stems at the end": rig.done.end > rig.n_in - rig.latency_samples,
        "largest jump / the signal's": round(float(jump), 3),
    }


def build(folder: Path) -> str:
    library = folder / "orders.so"
    source = ROOT / "tests" / "delegates" / "logistic.c"
    command = ["cc", "-std=c11", "-O1", "-shared", "-fPIC", "-DORDERS", str(source)]
    subprocess.run([*command, "-o", str(library), "-lm"], check=True)
    return str(library)


def through_jack(model: str, seconds: float, is_realtime: bool) -> dict:
    """Run in a real graph, fed by a client that plays music.

    First a quarter of the time without edgestem: the xruns of the machine's own.
    """
    import jack

    name = f"bench-{os.getpid()}"
    quiet = subprocess.DEVNULL
    command = ["jackd", *(("-R", "-P", "70") if is_realtime else ("-r",)), "-n", name]
    command += ["-d", "dummy", "-r", "48000", "-p", str(BLOCK)]
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    waiting = ["jack_wait", "-w", "-t", "20", "-s", name]
    subprocess.run(waiting, stdout=quiet, stderr=quiet)
    client = jack.Client("player", servername=name, no_start_server=True)
    outs = [client.outports.register(n) for n in "lr"]
    x = music(20 * 48000 // BLOCK * BLOCK, 48000)
    at, n_xruns = [0], [0]

    def feed(n: int) -> None:
        for i, port in enumerate(outs):
            port.get_array()[:] = x[at[0] : at[0] + n, i]
        at[0] = (at[0] + n) % len(x)

    def count(_: float) -> None:
        n_xruns[0] += 1

    client.set_process_callback(feed)
    client.set_xrun_callback(count)
    client.activate()
    time.sleep(seconds / 4)
    alone = {"s": seconds / 4, "xruns without edgestem": n_xruns[0]}
    words = ["--jack", "--model", model]
    words += ["--realtime", "60"] if is_realtime else []
    stream = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgestem",
            "stream",
            "--jack",
            "--model",
            model,
            *words,
        ],
        env=os.environ | {"JACK_DEFAULT_SERVER": name},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    print("  ", stream.stderr.readline().strip(), flush=True)
    time.sleep(1)
    for i in (0, 1):
        client.connect(outs[i], f"edgestem:in_{i + 1}")
    time.sleep(seconds)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(stream.stderr))
    reader.start()
    stream.stdin.write("status\nquit\n")
    stream.stdin.close()
    stream.wait()
    reader.join()
    client.deactivate()
    client.close()
    server.terminate()
    server.wait()
    (status,) = [line for line in lines if line.startswith("{")]
    return alone | json.loads(status)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help="name or .tflite file")
    parser.add_argument("--seconds", type=float, default=600.0, help="of audio timed")
    parser.add_argument("--faults", metavar="MODEL", help="a model with a LOGISTIC")
    parser.add_argument("--slack", type=float, default=10.0, help="ms, of --faults")
    parser.add_argument("--jack", type=float, metavar="SECONDS", default=0.0)
    parser.add_argument("--realtime", action="store_true", help="of --jack: SCHED_FIFO")
    args = parser.parse_args()
    models = args.model or [m["name"] for m in collect()["models"]]
    about = collect()
    print(f"{about['machine']}, {about['runtimes']}, simd {about['simd']}")
    for model in models:
        print(f"\n{model_path(model).stem}")
        for rate in (44100, 48000):
            own, stated, measured = find_impulse(model, rate)
            print(f"  {rate} Hz: model {own} samples, {1000 * own / rate:.1f} ms; "
                  f"in a rig stated {stated}, measured {measured}")  # fmt: skip
            if args.seconds:
                print(f"    timing {args.seconds:g} s of audio ...", flush=True)
                found = time_hops(model, rate, args.seconds)
                texts = (f"{k} {v:.4g}" for k, v in found.items())
                print(f"    a hop, as a fraction of it: {', '.join(texts)}")
    calm_python()
    if args.faults:
        print(f"\nfaults, {args.slack:g} ms of slack besides the block")
        with tempfile.TemporaryDirectory() as folder:
            library = build(Path(folder))
            for order in FAULTS:
                where = Path(folder, "orders")
                found = fault(order, library, where, args.faults, args.slack)
                print(f"  {order}: {found}", flush=True)
    for model in models if args.jack else ():
        print(f"\n{model_path(model).stem} in jackd's dummy graph, {args.jack:g} s")
        print(f"  {through_jack(model, args.jack, args.realtime)}")


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # a worker may hang in a stalled call
