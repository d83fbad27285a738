"""What a job's child does: it reads the song and writes the stems, as it is asked.

The daemon speaks its own wire format with it: `open`, `digest`, `read`, `sink`,
`write`, `commit`.  Each is answered; what went wrong is an `error` with the code and
the text that the client gets.  The network stays with the daemon.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import socket
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile

from edgestem.daemon.jobs.disk import is_in_memory
from edgestem.daemon.jobs.files import Descriptors
from edgestem.errors import AudioError, EdgestemError
from edgestem.sound.containers import Details
from edgestem.sound.formats import target_paths
from edgestem.sound.grid import GRIDS, GridSamples
from edgestem.sound.refusals import unreadable
from edgestem.sound.sndfile import SndfileSong
from edgestem.sound.song import Song
from edgestem.sound.targets import check_targets
from edgestem.sound.wav import WavFormat, pack, unpack
from edgestem.sound.writing import StemFiles
from edgestem.wire.protocol import Decoder, Message, encode_error, encode_reply

BLOCK = 65536  # samples a reply; stereo doubles just fit a payload
PULSE_S = 0.5  # between two signs of life during long work
RECEIVE = 1 << 20


def serve(connection: socket.socket) -> None:
    """Serve one job until the daemon hangs up."""
    work, decoder, fds = Work(connection), Decoder(), []
    while True:
        data, new, _, _ = socket.recv_fds(connection, RECEIVE, 8)
        if not data:
            return
        fds += new
        decoder.feed(data)
        while (message := decoder.next_message()) is not None:
            reply = _answer(work, message, fds)
            if reply:
                connection.sendall(reply)


def _answer(work: Work, message: Message, fds: list[int]) -> bytes:
    try:
        found: bytes = getattr(work, f"do_{message.type}")(message, fds)
        return found
    except EdgestemError as error:
        return encode_error(error.code, work.with_name(str(error)))
    except soundfile.LibsndfileError as error:
        return encode_error(*work.library_says(str(error)))
    except MemoryError:
        text = "the song needs more memory than a job may take"
        return encode_error("too_large", text)
    except Exception:
        last = traceback.format_exc()[-2000:]
        return encode_error("internal", "a bug: the daemon's log has it", detail=last)


class Work:
    """One job's song and stems; `do_x` carries out the message x."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._held = contextlib.ExitStack()
        self._name, self._fd = "", -1
        self._song: Song | None = None
        self._wav: WavFormat | None = None
        self._files: StemFiles | None = None
        self._blocks: dict[str, GridSamples] = {}
        self._pulse = time.monotonic()
        self._folder = ("", "")

    def with_name(self, text: str) -> str:
        """Put the client's name for the folder in place of the descriptor's."""
        return text.replace(*self._folder) if self._folder[0] else text

    def library_says(self, text: str) -> tuple[str, str]:
        """Make an error, code and text, of what no table of ours foresaw."""
        code = "unreadable" if self._files is None else "unwritable"
        way = "convert the song to wav or flac, or ask for format wav"
        return code, f"{self._name}: the sound library says: {text} {way}"

    def do_open(self, message: Message, fds: list[int]) -> bytes:
        """Open the song: the first time its descriptor comes along."""
        self._name = message.fields["name"]
        self._fd = fds.pop(0)
        return self._open()

    def do_rewind(self, message: Message, fds: list[int]) -> bytes:
        """Open the song again."""
        assert self._song is not None
        self._song.close()
        return self._open()

    def _open(self) -> bytes:
        song = self._song = open_song(self._fd, self._name)
        self._wav = WavFormat(song.grid, song.sample_rate, song.n_channels)
        return encode_reply(
            "song",
            sample_rate=song.sample_rate,
            channels=song.n_channels,
            grid=song.grid.name,
            n_samples=song.n_samples,
            is_lossy=song.is_lossy,
            is_exact=song.is_exact,
        )

    def do_model(self, message: Message, fds: list[int]) -> bytes:
        """Load a network and run it once: where it crashes, it is only this child."""
        from edgestem.network.model import open_on_cpu

        open_on_cpu(message.fields["path"]).invoke()
        return encode_reply("loaded")

    def do_read(self, message: Message, fds: list[int]) -> bytes:
        """Read a block; an empty one is the end."""
        assert self._song is not None
        block = self._read()
        return encode_reply(
            "block",
            pack(block, self._song.grid),
            n_bad=self._song.n_bad_samples,
            notes=self._song.notes,
            is_damaged=self._song.is_damaged,
        )

    def _read(self) -> GridSamples:
        assert self._song is not None
        try:
            return self._song.read(BLOCK)
        except OSError as cause:
            raise unreadable(
                self._name, f"cannot be read: {cause.strerror or cause}"
            ) from cause

    def do_digest(self, message: Message, fds: list[int]) -> bytes:
        """Hash all samples of the song, up to a number of them."""
        assert self._song is not None and self._wav is not None
        found, n_samples = new_digest(self._wav), 0
        while len(block := self._read()) and n_samples <= message.fields["limit"]:
            n_samples += len(block)
            found.update(pack(block, self._song.grid))
            self._live()
        return encode_reply("digest", value=found.hexdigest())

    def _live(self) -> None:
        """Tell now and then that there is progress."""
        if time.monotonic() - self._pulse > PULSE_S:
            self._pulse = time.monotonic()
            self._connection.sendall(encode_reply("moved"))

    def do_sink(self, message: Message, fds: list[int]) -> bytes:
        """Begin the stems: in the folder or the descriptors that came along."""
        f = message.fields
        grid, stems = GRIDS[f["grid"]], tuple(f["stems"])
        wav = WavFormat(grid, f["sample_rate"], f["channels"], f.get("n_samples"))
        self._wav = wav
        taken, fds[:] = list(fds), []
        limit = f["limit"]
        if any(map(is_in_memory, taken)):
            limit = min(limit, f["memory_limit"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if f["folder"]:
            self._folder = (f"/proc/self/fd/{taken[0]}", f["folder"])
        sink = _folder_sink if f["folder"] else _descriptor_sink
        own = self._song.tags if self._song is not None else {}
        details = Details(f.get("bitrate"), f.get("tags", own))
        f["source"] = os.fstat(self._fd)
        self._files = self._held.enter_context(sink(f, stems, wav, taken, details))
        return encode_reply("ready")

    def do_write(self, message: Message, fds: list[int]) -> bytes:
        """Take a block of one stem; with the last of them they are written."""
        assert self._files is not None and self._wav is not None
        stem = message.fields["stem"]
        self._blocks[stem] = unpack(message.payload, self._wav)
        if not message.fields["is_last"]:
            return b""
        blocks, self._blocks = self._blocks, {}
        return encode_reply("written", n_clipped=self._files.write(blocks))

    def do_commit(self, message: Message, fds: list[int]) -> bytes:
        """Complete the stems."""
        assert self._files is not None
        self._files.commit()
        self._held.close()
        return encode_reply("committed")

    def do_discard(self, message: Message, fds: list[int]) -> bytes:
        """Remove what is unfinished."""
        self._held.close()
        return encode_reply("discarded")


def open_song(fd: int, name: str) -> Song:
    """Open a descriptor with libsndfile; ffmpeg stays out of the daemon.

    ffmpeg follows references in playlists to other files, with the daemon's rights.

    Raises
    ------
    AudioError
        `unreadable`.
    """
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        file = os.fdopen(os.dup(fd), "rb")
        return SndfileSong(file, name)
    except soundfile.LibsndfileError as cause:
        raise unreadable(
            name, "is nothing that libsndfile reads; convert it to wav or flac first"
        ) from cause
    except OSError as cause:
        what = f"cannot be read: {cause.strerror or cause}"
        raise unreadable(name, what) from cause


def new_digest(wav: WavFormat) -> Any:
    """Begin a digest of samples, which mean nothing without their format."""
    kind = f"{wav.grid.name} {wav.sample_rate} {wav.n_channels} "
    return hashlib.sha256(kind.encode())


@contextlib.contextmanager
def _descriptor_sink(
    fields: dict[str, Any],
    stems: tuple[str, ...],
    wav: WavFormat,
    fds: list[int],
    details: Details,
) -> Iterator[StemFiles]:
    outputs = Descriptors(stems, fds)
    try:
        with outputs.begin(fields["file_format"], wav, details) as files:
            yield files
    finally:
        outputs.close()


@contextlib.contextmanager
def _folder_sink(
    fields: dict[str, Any],
    stems: tuple[str, ...],
    wav: WavFormat,
    fds: list[int],
    details: Details,
) -> Iterator[StemFiles]:
    """Write below the descriptor of a folder, whatever its name leads to by now."""
    (fd,) = fds
    folder, path = Path(f"/proc/self/fd/{fd}"), fields["folder"]
    file_format, is_forced = fields["file_format"], fields["replace"]
    try:
        targets = target_paths(folder, stems, file_format)
        check_targets(path, targets, is_forced=is_forced, source=fields["source"])
        with StemFiles(
            targets, file_format, wav, details=details, is_forced=is_forced
        ) as files:
            for part in files.descriptors():
                os.fchmod(part, fields["mode"])
            yield files
    except AudioError as error:
        text = str(error).replace("use --force", "ask with replace")
        raise AudioError(text, code=error.code, path=path) from error
    except OSError as cause:
        raise AudioError(
            f"{path} cannot be written: {cause.strerror or cause}", code="unwritable"
        ) from cause
