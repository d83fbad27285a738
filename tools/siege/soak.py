"""A day of audio through one daemon, in accelerated time, beside hostile neighbours.

usage (as root): python -m tools.siege.soak --state FILE [--hours 24] [--minutes 9]
                     [--clients 24] [--models tiny,fast]

A part takes `--minutes`; the daemon lives on between the parts, and the next call with
the same file goes on with it, until the honest user has heard so many hours of audio
through streams (file and live) and jobs, each bit of which is compared with what this
process separates by itself.  The first call decides about models and neighbours.
What is printed is also how much memory, descriptors and threads grew for each hour of
audio: a line fitted to what was seen each time that all clients had left.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.siege import alice, mal, watch

from daemons import DATA, DaemonProcess  # isort: skip - the siege's __init__
from strangers import ALICE, MAL, as_user  # isort: skip

REST_S = 4.0
SHAPES = ((44_100, 2), (22_050, 1), (48_000, 1), (8_000, 2))
WARM = 3  # looks before the line begins: caches fill
TINY = DATA / "tiny.tflite"


def start(folder: Path, models: list[str]) -> dict[str, Any]:
    """Start a daemon that outlives this process."""
    folder.chmod(0o755)
    flags = [word for name in models for word in ("--model", name)]
    settings = {"socket_mode": "0666", "log_level": "error", "max_clients": 128}
    settings |= {"max_streams": 16, "message_s": 5}
    daemon = DaemonProcess(folder, *flags, **settings)
    daemon.wait_until_ready()
    return {"pid": daemon.process.pid, "folder": str(folder), "models": models}


def songs(folder: Path, models: list[str], seconds: float) -> list[alice.Song]:
    """Make the songs: most with the first model, one of each round with the others."""
    first, *others = models
    found = [alice.song(folder, first, seconds, *shape) for shape in SHAPES]
    return found + [alice.song(folder, name, seconds / 4) for name in others]


@contextlib.contextmanager
def neighbours(place: Path, song: Path, n_clients: int, seed: int) -> Iterator[Any]:
    """Let two hostile users do what they do."""
    counts = mal.Counts(2)
    pids = []
    try:
        for i in range(2):
            words = (place, song, n_clients // 2, i, 0.05, counts)
            pids.append(mal.start(MAL + i, *words))
        yield counts
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def turn(
    state: dict[str, Any], heard: list[alice.Song], args: argparse.Namespace
) -> None:
    """Let them all work for a while, leave, and look at the daemon."""
    place = Path(state["folder"]) / "socket"
    with neighbours(place, heard[0].path, args.clients, len(state["looks"])) as counts:
        with as_user(ALICE, alice.separate, place, heard, args.turn) as seen:
            watch.add(state["honest"], seen)
        watch.add(state["crowd"], counts.total())
    time.sleep(REST_S)
    assert watch.is_there(state["pid"]), Path(state["folder"], "log").read_text()
    hours = state["honest"]["audio_s"] / 3600
    state["looks"].append({"hours": hours, **watch.measure(state["pid"])})


def report(state: dict[str, Any]) -> None:
    honest = {k: round(v, 1) for k, v in state["honest"].items()}
    crowd = {k: v for k, v in state["crowd"].items() if k != "clients"}
    looks = state["looks"]
    print(f"{looks[-1]['hours']:.2f} hours of audio; honest: {honest}")
    print(f"neighbours: {crowd}")
    for name in ("rss_mb", "family_mb", "fds", "threads", "processes"):
        ys = [look[name] for look in looks]
        line = watch.slope([x["hours"] for x in looks][WARM:], ys[WARM:])
        warm = ys[min(WARM, len(ys) - 1)]
        print(
            f"{name}: first {ys[0]:g}, after {WARM} looks {warm:g}, last {ys[-1]:g}, "
            f"least {min(ys):g}, most {max(ys):g}; {line:+.3f} for each hour of audio"
        )


def end(state: dict[str, Any]) -> None:
    """End the daemon, as systemd would, and look at its log."""
    os.kill(state["pid"], signal.SIGTERM)
    for _ in watch.every(30, 0.2):
        if not watch.is_there(state["pid"]):
            break
    log = Path(state["folder"], "log").read_text()
    is_right = not watch.is_there(state["pid"]) and "Traceback" not in log
    print("the daemon ended, its log is clean" if is_right else f"the daemon: {log}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--turn", type=float, default=30.0, help="s, between two looks")
    parser.add_argument("--song", type=float, default=60.0, help="s, of one song")
    parser.add_argument("--models", default="tiny,fast")
    args = parser.parse_args()
    models = [str(TINY) if n == "tiny" else n for n in args.models.split(",")]
    deadline = time.monotonic() + 60 * args.minutes
    state = watch.load(args.state)
    if not state:
        folder = Path(tempfile.mkdtemp(prefix="edgestem-soak-"))
        state = start(folder, models) | {"honest": {}, "crowd": {}, "looks": []}
        watch.save(args.state, state)
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        heard = songs(Path(name), state["models"], args.song)
        while not state.get("is_over"):
            turn(state, heard, args)
            state["is_over"] = state["looks"][-1]["hours"] >= args.hours
            watch.save(args.state, state)
            if time.monotonic() > deadline:
                break
    report(state)
    if state["is_over"] and watch.is_there(state["pid"]):
        end(state)


if __name__ == "__main__":
    main()
