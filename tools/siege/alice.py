"""An honest user: plays live in real time, separates songs, compares every bit."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

import edgestem
from edgestem.errors import EdgestemError

BLOCK = 1024


class Song(NamedTuple):
    """A song on the disk and what this process makes of it."""

    path: Path
    model: str
    rate: int
    x: Any
    """(n_samples, n_channels) float32"""
    stems: tuple[Any, ...]
    files: tuple[bytes, ...]
    """What `separate` writes."""


def song(
    folder: Path, model: str, seconds: float, rate: int = 44_100, n_channels: int = 2
) -> Song:
    """Make a song, and separate it here."""
    name = f"{Path(model).stem}-{rate}-{n_channels}-{seconds:g}"
    path = folder / f"{name}.wav"
    rng = np.random.default_rng(1)
    x = rng.standard_normal((int(seconds * rate), n_channels)) * 0.1
    soundfile.write(path, x, rate, "PCM_16")
    path.chmod(0o644)
    x, _ = soundfile.read(path, dtype="float32", always_2d=True)
    report = edgestem.separate_file(path, folder / name, model=model)
    files = [Path(report.outputs[n]).read_bytes() for n in ("vocals", "instrumental")]
    stems = edgestem.separate(x, rate, model=model)
    return Song(path, model, rate, x, tuple(stems), tuple(files))


def play(path: Path, song: Song, seconds: float) -> dict[str, Any]:
    """Play a song live, again and again; return delays, xruns and wrong samples."""
    took: list[float] = []
    n_songs = n_wrong = n_dropped = 0
    with edgestem.Client(path, timeout_s=60) as client:
        shape = (song.rate, song.x.shape[1])
        stream = client.open(*shape, mode="live", model=_name(song))
        latency = stream.latency_samples
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found, has = _play_once(client, song, latency, took)
            n_songs += 1
            n_dropped += int((~has).sum())
            for stem, expected in zip(found, song.stems, strict=True):
                n_wrong += int((stem != expected)[has].any(axis=1).sum())
        own = own_session(client)
    delays = Counter(round(ms, 1) for ms in took)
    return {
        "delays_ms": {str(ms): n for ms, n in sorted(delays.items())},
        "songs": n_songs,
        "wrong_samples": n_wrong,
        "dropped_samples": n_dropped,
        "late": own["stream"]["n_late"],
        "xruns": own["stream"]["xruns"],
        "requests": own["n_requests"],
    }


def _play_once(client: Any, song: Song, latency: int, took: list[float]) -> Any:
    """Play it once; return both stems at their places, and where there is something."""
    n_samples, n_channels = song.x.shape
    found = np.zeros((2, n_samples + latency + BLOCK, n_channels), np.float32)
    has = np.zeros(found.shape[1], bool)

    def keep(message: Any) -> None:
        at = message.fields["position"]
        stems = np.frombuffer(message.payload, np.float32).reshape(2, -1, n_channels)
        found[:, at : at + stems.shape[1]] = stems
        has[at : at + stems.shape[1]] = True

    start = time.monotonic()
    for at in range(0, n_samples, BLOCK):
        time.sleep(max(0.0, start + at / song.rate - time.monotonic()))
        sent = time.monotonic()
        client.send("audio", song.x[at : at + BLOCK].tobytes())
        keep(client.receive("stems"))
        took.append(1000 * (time.monotonic() - sent))
    client.send("flush")
    while (message := client.receive("stems", "flushed")).type == "stems":
        keep(message)
    here = slice(latency, latency + n_samples)
    return found[:, here], has[here]


def own_session(client: Any) -> dict[str, Any]:
    """Ask for this process's session in the status."""
    payload = json.loads(client.request("status", "status").payload)
    (own,) = [s for s in payload["sessions"] if s["pid"] == os.getpid()]
    return dict(own)


def _name(song: Song) -> str:
    return Path(song.model).stem


def separate(path: Path, songs: list[Song], seconds: float) -> dict[str, float]:
    """Separate through streams and jobs in turn; compare every bit."""
    total: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for song, way in _forever(songs):
        if time.monotonic() > end:
            break
        try:
            total[f"wrong_{way}s"] += not _is_right(path, song, way)
        except EdgestemError as error:
            total[f"refused: {error.code}"] += 1
            time.sleep(0.1)
            continue
        total[f"{way}s"] += 1
        audio_s = len(song.x) / song.rate
        total["audio_s"] += audio_s  # type: ignore[assignment]
        total[f"audio_s {_name(song)}"] += audio_s  # type: ignore[assignment]
    return dict(total)


def _forever(songs: list[Song]) -> Iterator[tuple[Song, str]]:
    for song in itertools.cycle(songs):
        for way in ("stream", "live stream", "job"):
            yield song, way


def _is_right(path: Path, song: Song, way: str) -> bool:
    with edgestem.Client(path, timeout_s=60) as client:
        if way == "job":
            return _job(client, song) == song.files
        mode = "live" if way == "live stream" else "file"
        stream = client.open(song.rate, song.x.shape[1], mode=mode, model=_name(song))
        # Live audio that waits for more than 500 ms would be dropped.
        step = song.rate // 4 if mode == "live" else song.rate * 4
        starts = range(0, len(song.x), step)
        parts = [stream.push(song.x[at : at + step]) for at in starts]
        parts.append(stream.flush())
        pairs = zip(zip(*parts, strict=True), song.stems, strict=True)
        return all(
            np.array_equal(np.concatenate(p)[-len(song.x) :], e) for p, e in pairs
        )


def _job(client: Any, song: Song) -> tuple[bytes, ...]:
    fds = [os.memfd_create("v"), os.memfd_create("i")]
    with contextlib.ExitStack() as held:
        for fd in fds:
            held.callback(os.close, fd)
        client.separate_file(song.path, fds, model=_name(song))
        return tuple(os.pread(fd, 1 << 28, 0) for fd in fds)
