"""The provider for USDB Syncer, spoken to as its client does, and by that client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from daemons import DaemonProcess
from karaoke_library import ffmpeg

from edgestem.cli.usdb import reply

COMMAND = [sys.executable, "-m", "edgestem.cli.usdb"]


class Provider:
    """One process, as the Syncer holds it: its stderr is never read."""

    def __init__(self, command: list[str] = COMMAND, **env: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | env,
        )
        self._number = 0

    def ask(self, method: str, params: object = None) -> dict:
        self._number += 1
        request = {"jsonrpc": "2.0", "method": method, "id": self._number}
        request |= {"params": params} if params is not None else {}
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", self._number)
        return answer


@pytest.fixture
def provider(tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., Provider]]:
    running: list[Provider] = []

    def call(*command: list[str], **env: str) -> Provider:
        usual = {
            "EDGESTEM_USDB_MODEL": str(tiny_model),
            "EDGESTEM_SOCKET": str(tmp_path / "nobody"),
        }
        running.append(Provider(*command, **usual | env))
        return running[-1]

    yield call
    for one in running:
        one.process.kill()
        one.process.communicate()


def split(song: Path, folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return {"input_file": str(song), "output_dir": str(folder), "model": "karaoke"}


def test_the_handshake_is_quick_and_its_answers_are_bare(provider) -> None:
    started = time.monotonic()
    one = provider()
    assert one.ask("get_spec_version")["result"] == "1"
    assert time.monotonic() - started < 5  # 0.1 s on an idle machine
    assert one.ask("get_name")["result"] == "edgestem"
    assert isinstance(one.ask("get_version")["result"], str)
    assert one.ask("is_gpu_accelerated")["result"] is False
    assert next(iter(one.ask("get_available_models")["result"])) == "karaoke"
    assert one.ask("exit")["result"] is None
    _, err = one.process.communicate(timeout=10)
    assert (one.process.returncode, err) == (0, b"")


@pytest.mark.parametrize("kind", ["mp3", "m4a", "ogg", "opus", "webm"])
def test_every_kind_of_download(needs_ffmpeg, provider, write_song, tmp_path, kind):
    song = tmp_path / f"song [VOC] 100%.{kind}"
    codec = ("-c:a", "libopus") if kind in ("opus", "webm") else ()
    ffmpeg("-i", write_song(), *codec, song)
    result = provider().ask("split", split(song, tmp_path / "out"))["result"]
    files = [result[f"output_{stem}"] for stem in ("vocals", "instrumental")]
    assert len({soundfile.info(file).frames for file in files}) == 1
    assert np.any(soundfile.read(files[1])[0])


def test_what_goes_wrong_is_an_answer_and_stderr_stays_silent(
    provider, write_song, tmp_path
) -> None:
    one = provider()
    assert one.ask("sing")["error"]["code"] == -32601
    assert one.ask("split", [1])["error"]["code"] == -32602
    assert one.ask("split", {"input_file": 3})["error"]["code"] == -32602
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"nothing")
    for _ in range(3):
        error = one.ask("split", split(broken, tmp_path / "out"))["error"]
        assert error["code"] == -32603
        assert "broken.mp3" in error["message"]
    assert one.ask("get_name")["result"] == "edgestem"
    one.process.kill()
    _, err = one.process.communicate()
    assert err == b""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"[" * 100_000, -32700),
        (b"[1]", -32600),
        (b"{}", -32600),
        (b'{"method": 3, "id": 1}', -32600),
    ],
)
def test_lines_that_are_no_requests(line: bytes, code: int) -> None:
    answer, is_end = reply(line)
    assert answer is not None and not is_end
    assert answer["error"]["code"] == code


def test_a_notification_gets_no_answer() -> None:
    assert reply(b'{"method": "get_name"}') == (None, False)


def test_a_kill_leaves_no_half_file_and_a_log_is_kept(
    provider, write_song, tmp_path
) -> None:
    x = np.random.default_rng(1).normal(0, 0.1, (44100 * 60, 2))
    song = write_song(x=x)
    log = tmp_path / "log"
    one = provider(EDGESTEM_USDB_LOG=str(log))
    request = {"method": "split", "id": 1, "params": split(song, tmp_path / "out")}
    one.process.stdin.write(json.dumps(request).encode() + b"\n")
    one.process.stdin.flush()
    deadline = time.monotonic() + 20
    while not list((tmp_path / "out").glob(".*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    one.process.kill()
    one.process.wait()
    assert [p for p in (tmp_path / "out").iterdir() if p.name[0] != "."] == []
    assert log.exists()


def test_three_at_once_go_through_the_daemon(provider, write_song, tmp_path) -> None:
    song = write_song()
    folder = tmp_path / "daemon"
    folder.mkdir()
    daemon = DaemonProcess(folder)
    try:
        daemon.wait_until_ready()
        env = {"EDGESTEM_SOCKET": str(daemon.socket), "EDGESTEM_USDB_MODEL": "none"}
        three = [provider(**env) for _ in range(3)]
        for number, one in enumerate(three):
            params = split(song, tmp_path / f"out{number}")
            line = json.dumps({"method": "split", "id": 1, "params": params})
            one.process.stdin.write(line.encode() + b"\n")
            one.process.stdin.flush()
        for one in three:
            answer = json.loads(one.process.stdout.readline())
            assert soundfile.info(answer["result"]["output_vocals"]).frames == 44100
    finally:
        daemon.process.kill()
        daemon.process.wait()


# A provider whose engine says 100 kB on each side while it works.
NOISY = """
import os, sys, edgestem.cli.usdb as usdb
split = usdb._METHODS["split"]
def noisy(params):
    for fd in (1, 2):
        os.write(fd, b"noise\\n" * 20_000)
    print("noise" * 20_000), print("noise" * 20_000, file=sys.stderr)
    return split(params)
usdb._METHODS["split"] = noisy
sys.exit(usdb.main())
"""


def test_a_hundred_kilobytes_that_nobody_reads(provider, write_song, tmp_path) -> None:
    log = tmp_path / "log"
    one = provider([sys.executable, "-c", NOISY], EDGESTEM_USDB_LOG=str(log))
    assert "result" in one.ask("split", split(write_song(), tmp_path / "out"))
    one.process.kill()
    assert one.process.communicate()[1] == b""
    assert log.stat().st_size > 200_000


def test_the_real_client(needs_ffmpeg, write_song, tmp_path, tiny_model) -> None:
    """$EDGESTEM_USDB_PYTHON is a Python that has usdb_syncer; its provider is noisy."""
    python = os.environ.get("EDGESTEM_USDB_PYTHON") or shutil.which("usdb-python")
    if not python:
        pytest.skip("EDGESTEM_USDB_PYTHON names no Python with usdb_syncer")
    (tmp_path / "noisy.py").write_text(NOISY)
    script = tmp_path / "edgestem-usdb"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/noisy.py"\n')
    script.chmod(0o755)
    songs = []
    for kind in ("mp3", "m4a", "ogg", "opus", "webm"):
        codec = ("-c:a", "libopus") if kind in ("opus", "webm") else ()
        songs.append(tmp_path / f"Song {kind}.{kind}")
        ffmpeg("-i", write_song(), *codec, songs[-1])
    x = np.random.default_rng(1).normal(0, 0.1, (44100 * 120, 2))
    songs.append(write_song("long.wav", x=x))
    (tmp_path / "out").mkdir()
    client = Path(__file__).parent.parent / "helpers" / "usdb_client.py"
    env = {"EDGESTEM_USDB_MODEL": str(tiny_model), "PYTHONPATH": ""}
    env["EDGESTEM_SOCKET"] = str(tmp_path / "nobody")
    line = [python, client, script, tmp_path / "out", *songs]
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | env)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"handshake {found['handshake_s']:.3f} s")
    assert found["handshake_s"] < 0.3
    assert found["said"][0] == "edgestem"
    assert len(found["splits"]) == 6
    for one in found["splits"].values():
        vocals, instrumental = map(soundfile.info, one["files"])
        assert vocals.frames == instrumental.frames >= 44100
        assert one["stderr"] == ""
    assert found["at_once"] == [True] * 3
    assert found["killed"] == ["CommunicationError"]
    assert found["error"] == "JsonRpcError"
