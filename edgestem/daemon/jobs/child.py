"""A job's child, as the job sees it: a song and stems on the other end of a socket.

Whatever the child does, hang, crash or talk nonsense, becomes an error of this job;
while it is waited for, the job can be cancelled and gives way to others.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any

from edgestem.daemon.jobs.decoder import BLOCK, new_digest
from edgestem.daemon.jobs.nursery import Nursery
from edgestem.errors import AudioError, EdgestemError, ProtocolError
from edgestem.sound.grid import GRIDS, GridSamples
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat, pack, unpack
from edgestem.sound.writing import StemFiles
from edgestem.wire.protocol import Decoder, Message, encode

log = logging.getLogger(__name__)
LOOK_S = 0.2  # between looks whether the job is still wanted
COMMIT = 10  # times the limit of a block: a whole song goes to a slow disk
RECEIVE = 1 << 20
GIVE_UP_S = 2.0  # to remove what was not committed; the next job there does it, too
_STATUS_S = 2.0  # a dead child is reaped within milliseconds


class Child:
    """One child process.

    Parameters
    ----------
    nursery : Nursery
    name : str
        Of the song, for messages.
    check : callable
        Called while it is waited for; may raise to give up, or wait itself.
    stall_s : float
        It has to answer within this time.
    word : str
        What the nursery is asked: `start` a job, or `try` a model.
    note : callable
        Takes a line of the log as `Logger.log` does.

    Raises
    ------
    EdgestemError
        `overloaded`: there is no process for it.
    """

    def __init__(
        self,
        nursery: Nursery,
        name: str,
        check: Callable[[], None],
        stall_s: float,
        *,
        word: str = "start",
        note: Callable[..., None] = log.log,
    ) -> None:
        self._nursery, self._name, self._note = nursery, name, note
        self._check, self._stall_s = check, stall_s
        self._number, self._socket, self._status = nursery.start(word)
        self._socket.setblocking(False)
        self._decoder = Decoder()
        self._poll = select.poll()
        self._has_given_up = False
        self._what = "unreadable" if word == "start" else "model_mismatch"

    def end(self) -> None:
        """Let go of it, alive or not."""
        self._nursery.kill(self._number)
        self._socket.close()
        os.close(self._status)

    def give_up(self) -> None:
        """Wait for an end in order only, and not for long.

        The job may be cancelled, and replies to what was asked before may come.
        """
        self._check, self._stall_s, self._has_given_up = nothing, GIVE_UP_S, True

    def song(self, fd: int) -> ChildSong:
        """Open the song of a descriptor.

        Raises
        ------
        AudioError
            `unreadable`.
        """
        fields = self.ask("song", "open", fds=[fd], name=self._name[:500]).fields
        return ChildSong(self, self._name, fields)

    def sink(self, wav: WavFormat, fds: list[int], **fields: Any) -> ChildSink:
        """Begin the stems in a folder or in descriptors.

        Raises
        ------
        AudioError
            `exists`, `unwritable` or `unsupported_format`.
        """
        self._what = "unwritable"
        shape: dict[str, Any] = {
            "grid": wav.grid.name,
            "sample_rate": wav.sample_rate,
            "channels": wav.n_channels,
            "n_samples": wav.n_samples,
        }
        self.ask("ready", "sink", fds=fds, **shape, **fields)
        return ChildSink(self, fields["stems"], wav)

    def ask(
        self,
        reply: str,
        kind: str,
        payload: bytes = b"",
        *,
        fds: list[int] | None = None,
        patience: float = 1.0,
        **fields: Any,
    ) -> Message:
        """Send a request and wait for its reply.

        Raises
        ------
        EdgestemError
            What the child said, or what became of it.
        """
        self.tell(kind, payload, fds=fds, **fields)
        while True:
            message = self._receive(patience)
            if message.type == reply:
                return message
            if message.type != "moved" and not self._has_given_up:
                raise self._error(message)

    def tell(
        self, kind: str, payload: bytes = b"", *, fds: list[int] | None = None, **f: Any
    ) -> None:
        """Send a request."""
        left = memoryview(encode(kind, payload, **f))
        while left:
            self._wait(select.POLLOUT, 1.0)
            with contextlib.suppress(BlockingIOError):
                try:
                    if fds:
                        n_sent = socket.send_fds(self._socket, [left], fds)
                    else:
                        n_sent = self._socket.send(left, socket.MSG_NOSIGNAL)
                except (BrokenPipeError, ConnectionResetError):
                    raise self._died() from None
                left, fds = left[n_sent:], None

    def _receive(self, patience: float) -> Message:
        try:
            while (message := self._decoder.next_message()) is None:
                self._wait(select.POLLIN, patience)
                data = b""
                with contextlib.suppress(ConnectionResetError):
                    data = self._socket.recv(RECEIVE)
                if not data:
                    raise self._died()
                self._decoder.feed(data)
        except ProtocolError as cause:
            raise self._error(Message("nonsense", {})) from cause
        return message

    def _wait(self, event: int, patience: float) -> None:
        """Wait until the socket is ready; count only time that the child had."""
        self._poll.register(self._socket, event)
        n_looks = max(1, round(self._stall_s * patience / LOOK_S))
        for _ in range(n_looks):
            if self._poll.poll(LOOK_S * 1000):
                return
            self._check()
        raise EdgestemError(
            f"{self._name}: its file did not move for "
            f"{self._stall_s * patience:g} s (stall_s); copy it to a disk first",
            code="stalled",
        )

    def _error(self, message: Message) -> EdgestemError:
        code, text = message.fields.get("code"), message.fields.get("text")
        if message.type != "error" or not isinstance(code, str):
            self._note(logging.ERROR, "job's child %d talks nonsense", self._number)
            return self._audio_error("its decoder went wrong")
        if code == "internal":
            detail = message.fields.get("detail")
            self._note(logging.ERROR, "job's child %d: %s", self._number, detail)
        return EdgestemError(str(text), code=code)

    def _died(self) -> EdgestemError:
        """Say what a child's end means to its job."""
        text = ""
        with contextlib.suppress(OSError):
            ready, _, _ = select.select([self._status], [], [], _STATUS_S)
            text = os.read(self._status, 200).decode() if ready else ""
        how = text or "no status"
        self._note(logging.WARNING, "job's child %d ended: %s", self._number, how)
        if not text.lstrip("-").isdigit():
            return EdgestemError(
                "no process can be started for the job: try again later",
                code="overloaded",
            )
        if self._what == "model_mismatch":
            return EdgestemError(f"the runtime ended with status {text}", code="died")
        if int(text) == -signal.SIGXCPU:
            return self._audio_error("it takes the decoder too long")
        return self._audio_error("the sound library crashed on it")

    def _audio_error(self, why: str) -> AudioError:
        way = (
            "convert it to wav or flac first"
            if self._what == "unreadable"
            else "ask for format wav or flac"
        )
        return AudioError(f"{self._name}: {why}; {way}", code=self._what)


class ChildSong(Song):
    """The song that a child decodes.

    What is read is hashed, so that the digest is that of what was heard.
    """

    def __init__(self, child: Child, name: str, fields: Mapping[str, Any]) -> None:
        grid, n_samples = GRIDS[fields["grid"]], fields.get("n_samples")
        rate, n_channels = int(fields["sample_rate"]), int(fields["channels"])
        wav = WavFormat(grid, rate, n_channels, n_samples)
        super().__init__(name, wav, is_lossy=bool(fields["is_lossy"]))
        self._child, self._wav = child, wav
        self._digest = new_digest(wav)
        self.bytes_per_sample = wav.bytes_per_sample

    def read(self, n_samples: int) -> GridSamples:
        """Read up to BLOCK samples; an empty array is the end."""
        assert n_samples >= BLOCK
        message = self._child.ask("block", "read")
        self._digest.update(message.payload)
        x = unpack(message.payload, self._wav)
        self.n_read += len(x)
        self.n_bad_samples = int(message.fields["n_bad"])
        self.notes = list(map(str, message.fields["notes"]))
        self.is_damaged = bool(message.fields["is_damaged"])
        return x

    def digest(self) -> str:
        """Digest of the samples that were read."""
        value: str = self._digest.hexdigest()
        return value

    def digest_of_all(self, limit: int) -> str:
        """Digest of the samples that reading will give, up to `limit` of them."""
        value: str = self._child.ask("digest", "digest", limit=limit).fields["value"]
        self._child.ask("song", "rewind")
        return value


class ChildSink(StemFiles):
    """What `StemFiles` is, in a child."""

    def __init__(self, child: Child, names: list[str], wav: WavFormat) -> None:
        self._child, self._names, self._wav = child, names, wav

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block to every output; count values that had to be clipped."""
        for name in self._names[:-1]:
            data = pack(stems[name], self._wav.grid)
            self._child.tell("write", data, stem=name, is_last=False)
        last = self._names[-1]
        data = pack(stems[last], self._wav.grid)
        written = self._child.ask("written", "write", data, stem=last, is_last=True)
        return int(written.fields["n_clipped"])

    def commit(self) -> None:
        """Complete the outputs."""
        self._child.ask("committed", "commit", patience=COMMIT)

    def discard(self) -> None:
        """Remove what was not committed."""
        with contextlib.suppress(EdgestemError):
            self._child.give_up()
            self._child.ask("discarded", "discard")


def nothing() -> None:
    """Check nothing: nobody waits who could want it to end."""
