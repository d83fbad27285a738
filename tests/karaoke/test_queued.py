"""What is queued in a karaoke program is separated first."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile
import warm

from edgestem.karaoke.queued import Queue, first

Run = Callable[..., tuple[int, list[dict], str]]


@contextmanager
def program(answers: dict[str, object]) -> Iterator[tuple[str, list[str]]]:
    """A server that answers as those programs do, by path; yields what it was asked.

    An answer that is callable is called each time; bytes go as they are.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer = answers.get(self.path)
            answer = answer() if callable(answer) else answer
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(command: Callable[..., list[str]], tiny_model: Path) -> Run:
    def call(*words: object) -> tuple[int, list[dict], str]:
        line = command("watch", *words, "--json", "--model", tiny_model)
        line += ["--once", "--interval", "0.2", "--settle", "0.2"]
        done = warm.run(line, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr
        events = [json.loads(x) for x in done.stdout.splitlines()]
        return done.returncode, events, done.stderr

    return call


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    x = np.random.default_rng(1).normal(0, 0.1, (22050, 2))
    for name in "abcd":
        soundfile.write(folder / f"{name}.wav", x, 44100)
    return folder


def names(events: list[dict]) -> list[str]:
    return [Path(e["input"]).stem for e in events if e["event"] == "begin"]


def order(events: list[dict]) -> str:
    return "".join(names(events))


def entry(path: object) -> dict[str, object]:
    return {"user": "Ann", "file": str(path), "title": "x", "semitones": 0}


def test_pikaraokes_queue_goes_first_and_is_asked_before_each_song(
    run: Run, library: Path, tmp_path: Path
) -> None:
    queues = iter([[entry("/songs/c.wav")], [], [entry(library / "d.wav")], [], []])
    with program({"/get_queue": lambda: next(queues)}) as (url, asked):
        words = (library, "-o", tmp_path / "out", "--layout", "flat", "--queue", url)
        status, events, _ = run(*words)
    assert (status, order(events)) == (0, "cadb")
    assert asked == ["/get_queue"] * 4


def test_openhomekaraokes_queue_goes_first(
    run: Run, library: Path, needs_ffmpeg: None
) -> None:
    """What has a name in its folders is whole, in both of them, and stays the file."""
    queue = [str(library / "gone.wav"), str(library / "d.wav"), "b.wav"]
    seen: list[dict[str, tuple[int, int]]] = []

    def answer() -> dict[str, object]:
        seen.append({})
        for path in library.glob("*vocal/[!.]*"):
            status = path.stat()
            seen[-1][f"{path.parent.name} {path.name}"] = status.st_ino, status.st_size
        return {"download_path": f"{library}/", "queue": queue, "use_DNN": True}

    with program({"/get_vocal_todo_list/cpu/": answer}) as (url, _):
        status, events, _ = run(library, "--layout", "openhome", "--queue", url)
    assert (status, order(events)) == (0, "dbac")
    answer()
    for number, (before, after) in enumerate(itertools.pairwise(seen)):
        assert before.items() <= after.items()
        name = f"{'dbac'[number]}.wav.m4a"
        assert after.keys() - before.keys() == {f"vocal {name}", f"nonvocal {name}"}


@pytest.mark.parametrize(
    "answer", [None, b"", b"<html>", b"[" * 100_000, 7, {"queue": 1}, [1, {}, None]]
)
def test_answers_of_any_kind_stop_nothing(
    answer: object, run: Run, library: Path, tmp_path: Path
) -> None:
    (library / "c.wav").unlink()
    (library / "d.wav").unlink()
    with program({"/get_queue": answer}) as (url, _):
        words = (library, "-o", tmp_path / "out", "--layout", "flat", "--queue", url)
        status, events, text = run(*words)
    assert (status, order(events)) == (0, "ab")
    assert text.count("the folder's order") == (not isinstance(answer, list))


def test_a_program_that_is_not_there_is_named_once(
    run: Run, library: Path, tmp_path: Path
) -> None:
    words = (library, "-o", tmp_path / "out", "--layout", "flat")
    status, events, text = run(*words, "--queue", "http://127.0.0.1:9")
    assert (status, order(events)) == (0, "abcd")
    assert text.count("http://127.0.0.1:9/get_queue does not answer") == 1


def test_addresses_that_are_none_are_refused(run: Run, library: Path) -> None:
    for url in ("ftp://x", "localhost:5555", "http://", "http://h:port"):
        status, _, text = run(library, "--layout", "pikaraoke", "--queue", url)
        assert (status, "--queue" in text) == (2, True), url
    words = ("--layout", "flat", "-o", library / "out", "--queue")
    status, _, text = run(library, *words)
    assert (status, "needs an address" in text) == (2, True)


def test_the_path_counts_before_the_name_and_a_path_stays() -> None:
    paths = [Path("/s/x/a.mp3"), Path("/s/y/a.mp3"), Path("/s/b.mp3")]
    assert first(paths, ["/s/y/a.mp3"]) == 1
    assert first(paths, ["/mnt/other/a.mp3"]) == 0
    assert first(paths, ["C:\\Songs\\b.mp3"]) == 2
    assert first(paths, ["/elsewhere/c.mp3"]) == 0
    assert Queue("http://h:1/k/get_queue", "flat").url == "http://h:1/k/get_queue"
    assert Queue("http://h:1/", "flat").url == "http://h:1/get_queue"


def test_the_real_pikaraoke(
    run: Run, library: Path, tmp_path: Path, needs_ffmpeg: None
) -> None:
    """EDGESTEM_PIKARAOKE is the program of PiKaraoke 1.23 (`pip install pikaraoke`)."""
    program = os.environ.get("EDGESTEM_PIKARAOKE")
    if not program:
        pytest.skip("EDGESTEM_PIKARAOKE names no program")
    for path in list(library.iterdir()):
        picture = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x64:r=5"]
        target = library / f"{path.stem}---abcdefghijk.mp4"
        line = ["ffmpeg", "-v", "error", *picture, "-i", path, "-shortest", target]
        subprocess.run(line, check=True)
        path.unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--config-file-path", tmp_path / "config.ini", "-p", str(port)]
    options += ["-d", library, "--hide-splash-screen", "--skip-youtubedl-upgrade"]
    options += ["--splash-delay", "600"]  # what it begins to play leaves its queue
    server = subprocess.Popen(
        [program, *options],
        env=os.environ | {"HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for name in "cb":
            _enqueue(url, library / f"{name}---abcdefghijk.mp4")
        status, events, _ = run(library, "--layout", "pikaraoke", "--queue", url)
    finally:
        server.terminate()
        server.wait(20)
    assert (status, [name[0] for name in names(events)]) == (0, ["c", "b", "a", "d"])


def _enqueue(url: str, song: Path) -> None:
    form = urlencode({"song_to_add": song, "song_added_by": "Ann"}).encode()
    deadline = time.monotonic() + 30
    while not _is_taken(f"{url}/enqueue", form):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _is_taken(url: str, form: bytes) -> bool:
    try:
        with urlopen(url, form, timeout=5) as answer:
            return "true" in answer.read().decode()
    except OSError:  # it is starting
        return False
