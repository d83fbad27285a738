"""`edgestem play` as a user runs it, watched over its socket."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgestem.wire.protocol import Decoder, encode

USER = "singer"
SET = Path("/srv/songs/set.toml")
AS = ("runuser", "-u")
# What finds our own modules is not to find the package's for it.
CLEAN = ("--", "env", "-u", "PYTHONPATH")
PATIENCE_S = 120.0  # an emulated machine is slow

failed: list[str] = []


def check(name: str, is_good: object, said: object = "") -> None:
    """Say how a check went."""
    said = str(said)[:110] if is_good else said
    print(f"{'ok' if is_good else 'FAILED'}: {name}: {said}", flush=True)
    if not is_good:
        failed.append(name)


def run(*words: str, user: str = USER) -> tuple[int, str]:
    """Run edgestem as a user; return its exit status and what it said."""
    done = subprocess.run(
        [*AS, user, *CLEAN, "edgestem", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


class Door:
    """A player's socket."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _ask(self, kind: str, **fields: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE_S)
            client.connect(self.path)
            client.sendall(encode(kind, **fields))
            decoder = Decoder()
            while (message := decoder.next_message()) is None:
                data = client.recv(1 << 16)
                if not data:
                    raise ConnectionError("the player has gone")
                decoder.feed(data)
        return message

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ask("status").payload)
        return found

    def do(self, line: str) -> None:
        answer = self._ask("do", line=line)
        assert answer.type == "done", answer

    def wait(
        self, is_so: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_S
    ) -> float | None:
        """Wait until a status is so; seconds it took, None: it did not come."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                if is_so(self.status()):
                    return time.monotonic() - began
            except OSError:
                time.sleep(0.2)  # it does not listen yet
            time.sleep(0.01)
        return None

    def wait_state(self, *states: str, seconds: float = PATIENCE_S) -> float | None:
        return self.wait(lambda status: status["state"] in states, seconds)


class Show(Door):
    """A player that we started, as the user `singer`."""

    def __init__(self, *words: str) -> None:
        super().__init__("/tmp/show.sock")
        self._log = Path("/tmp/show.log").open("wb")  # noqa: SIM115 - lives with it
        words = ("play", *words, "--socket", self.path, "--model", "live", "--unlocked")
        self._n_failed = len(failed)
        self._process = subprocess.Popen(
            [*AS, USER, *CLEAN, "edgestem", *words],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
        )  # fmt: skip

    def __enter__(self) -> Show:
        if self.wait_state("ready", "playing") is None:
            check("a show begins", False, self.said())
        return self

    def __exit__(self, *_: object) -> None:
        self.do("quit")
        status = self._process.wait(PATIENCE_S)
        self._log.close()
        if status:
            check("a show ends", False, f"exit {status}: {self.said()}")
        if len(failed) > self._n_failed:
            print(self.said(), flush=True)

    def said(self) -> str:
        return Path("/tmp/show.log").read_text(errors="replace")

    def wait_said(self, text: str, n: int = 1) -> bool:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if self.said().count(text) >= n:
                return True
            time.sleep(0.05)
        return False

    def rss(self) -> int:
        """Memory of the player, MB."""
        words = ["pgrep", "-u", USER, "-f", "--", "--socket /tmp/show.sock"]
        pids = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        stats = [Path(f"/proc/{pid}/statm").read_text() for pid in pids.split()]
        return max(int(text.split()[1]) for text in stats) * 4096 >> 20
