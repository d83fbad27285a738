"""The sound card output: PortAudio in a child, which is killed when it hangs.

PortAudio may spin for ever when a USB card goes, and its list of devices is frozen
when it starts: so it lives in a process of its own, and every try to open is a new
process.  Samples pass through a ring in shared memory.  A card that goes is waited
for; another card is never taken.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edgestem import child
from edgestem.errors import EdgestemError
from edgestem.play.card_child import BEATS, HEADER, READ, STOP, WRITTEN, XRUNS, Shared
from edgestem.play.player import Player
from edgestem.play.routes import Routes

OPEN_S = 10.0  # for a child to say that it plays
STALL_S = 0.5  # without a callback: the card has gone
RETRY_S = 1.0
AHEAD = 4  # blocks in the ring: 23 ms of 256 at 44.1 kHz
RESUME_WITHIN_S = 2.0  # a gap that `is_resuming` goes on after by itself


class CardSink:
    """Plays a desk on a sound card.

    Parameters
    ----------
    player : Player
    routes : Routes
    name : str
        ALSA id (`U24`, `hw:CARD=U24`), or a part of PortAudio's name of it.
    block : int
        Frames of a callback.
    is_resuming : bool
        Go on by itself after a short loss; else it waits for a press.
    """

    def __init__(
        self,
        player: Player,
        routes: Routes,
        name: str,
        *,
        block: int = 256,
        is_resuming: bool = False,
    ) -> None:
        self._player, self._routes, self._name = player, routes, name
        self._block, self._is_resuming = block, is_resuming
        self._n_frames = 16 * block
        self._out = np.zeros((block, routes.n_outputs), np.float32)
        self._child: subprocess.Popen[bytes] | None = None
        self.n_losses = self.n_xruns = 0

    def open(self) -> str:
        """Start the child; return the device's name.

        Raises
        ------
        EdgestemError
            `no_sound_device` or `live_missing`.
        """
        size = HEADER * 8 + self._n_frames * self._routes.n_outputs * 4
        fd = os.memfd_create("edgestem-card")
        os.ftruncate(fd, size)
        self._shared = Shared(fd, self._n_frames, self._routes.n_outputs)
        said = {
            "name": self._name, "block": self._block, "n_frames": self._n_frames,
            "n_outputs": self._routes.n_outputs,
            "sample_rate": self._player.sample_rate,
        }  # fmt: skip
        words = [sys.executable, "-m", "edgestem.play.card_child", str(fd)]
        self._child = subprocess.Popen(
            [*words, json.dumps(said)], pass_fds=[fd], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=child.environment(), cwd=child.FOLDER,
            start_new_session=True,  # Ctrl-C is ours to hear
        )  # fmt: skip
        os.close(fd)
        answer = self._answer()
        if "device" not in answer:
            self._kill()
            text = answer.get("text", "it does not answer")
            raise EdgestemError(
                f"the sound card {self._name} cannot be used: {text}",
                code=answer.get("code", "no_sound_device"),
            )
        return str(answer["device"])

    def run(self, is_over: Callable[[], bool]) -> None:
        """Play until it is over; wait for a card that goes."""
        try:
            self._watch()
            while not is_over():
                if self._child is None or self._is_stalled():
                    self._wait_for_card(is_over)
                elif not self._pump():
                    time.sleep(self._block / self._player.sample_rate / 2)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the card."""
        if self._child is not None:
            self._shared.numbers[STOP] = 1
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(1.0)
            self._kill()

    @property
    def child_pid(self) -> int | None:
        """The process that has the card open."""
        return self._child.pid if self._child is not None else None

    def play_zeros(self, seconds: float) -> int:
        """Play silence and count the callbacks: a test that nobody hears."""
        end = time.monotonic() + seconds
        self._out.fill(0)
        while time.monotonic() < end:
            if not self._has_room():
                time.sleep(0.001)
                continue
            self._put()
        return int(self._shared.numbers[BEATS])

    # ---- the ring ------------------------------------------------------------

    def _has_room(self) -> bool:
        numbers = self._shared.numbers
        return int(numbers[WRITTEN] - numbers[READ]) <= AHEAD * self._block

    def _pump(self) -> bool:
        """Render a block if there is room."""
        if not self._has_room():
            return False
        self._routes.render(self._player.desk, self._out)
        self._put()
        return True

    def _put(self) -> None:
        shared, n = self._shared, self._block
        at = int(shared.numbers[WRITTEN]) % self._n_frames
        shared.ring[at : at + n] = self._out  # the ring is a multiple of a block
        shared.numbers[WRITTEN] += n

    # ---- loss ------------------------------------------------------------------

    def _watch(self) -> None:
        self._beats, self._beat_at = -1, time.monotonic()

    def _is_stalled(self) -> bool:
        """Say whether the card calls back no more."""
        beats, now = int(self._shared.numbers[BEATS]), time.monotonic()
        if beats != self._beats:
            self._beats, self._beat_at = beats, now
        has_ended = self._child is not None and self._child.poll() is not None
        return has_ended or now - self._beat_at > STALL_S

    def _wait_for_card(self, is_over: Callable[[], bool]) -> None:
        player, lost_at = self._player, time.monotonic()
        self.n_losses += 1
        self.n_xruns += int(self._shared.numbers[XRUNS])
        player.output = f"waiting for CARD={self._name}"
        player.lose_output()
        player.say(f"the sound card {self._name} has gone: the song waits where it is")
        self._kill()
        while not is_over():
            try:
                self.open()
                break
            except EdgestemError:
                time.sleep(RETRY_S)
        else:
            return
        is_short = time.monotonic() - lost_at < RESUME_WITHIN_S
        self._watch()
        player.regain_output(is_resumed=self._is_resuming and is_short)
        player.say(f"the sound card {self._name} is back")

    def _answer(self) -> dict[str, Any]:
        assert self._child is not None and self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], OPEN_S)
        line = self._child.stdout.readline() if ready else b""
        try:
            found = json.loads(line)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            if self._child.stdout is not None:
                self._child.stdout.close()
            self._child = None
