"""A running ffmpeg: its samples, the time of every frame, and what it says.

ffmpeg leaves out what it cannot decode.  Beside the samples it tells when each frame
begins, so a lost one is known, and silence can stand in its place.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
from collections import deque

from edgestem.song import unreadable
from edgestem.source import STALL_S, Source
from edgestem.tracks import GUARDS, Found
from edgestem.wav import WavFormat

_PIECE = 1 << 16
_MAX_LINES = 1000  # of what it says
_LEVEL = re.compile(r"^(?:\[[^\]]*\] )*?\[(warning|error|fatal|panic)\] (.*)")
_TORN = re.compile("corrupt|truncat|mismatch", re.I)  # in what are mere warnings
_LOSSLESS_GAP_S = 0.005  # containers round times to milliseconds
_LOSSY_GAP_S = 0.03  # Vorbis' blocks change places by up to 20 ms
_PICTURE_GAP_S = 0.1  # earlier starts are within what players put right
_OURS = re.compile("monoton", re.I)  # said of the times that we ask for
_SETTLED = 8  # frames after a gap, by which its times are in order again
_MAX_GAP_S = 3600.0  # greater jumps are damaged times


class Decoder:
    """ffmpeg decoding the first audio stream of a file.

    Parameters
    ----------
    source : Source
        The file.
    name : str
        For messages.
    found : Found
        What ffprobe said of it.
    raw : WavFormat
        How the samples are to come.
    """

    def __init__(self, source: Source, name: str, found: Found, raw: WavFormat) -> None:
        self._name, self._found, self._step = name, found, raw.bytes_per_sample
        self._data = bytearray()
        self._lines = b""
        self._n_stamped = self._n_given = 0  # samples
        self._next: int | None = None
        self._n_after = 0  # frames since the last gap
        self.gaps: deque[tuple[int, int]] = deque()  # place among samples, length
        self._said = b""
        try:
            self._stamps, sink = os.pipe()
        except OSError as cause:
            raise unreadable(name, f"cannot be read: {cause.strerror}") from cause
        try:
            self._process = self._start(source, raw, sink)
        except BaseException:
            os.close(self._stamps)
            raise
        finally:
            os.close(sink)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pcm, self._talk = (
            self._process.stdout.fileno(),
            self._process.stderr.fileno(),
        )
        self._open = {self._pcm, self._stamps, self._talk}

    def _start(
        self, source: Source, raw: WavFormat, sink: int
    ) -> subprocess.Popen[bytes]:
        kind = ("f" if raw.grid.is_float else "s") + f"{raw.grid.bits}le"
        track: tuple[str, ...] = (
            "-map",
            "0:a:0",
            "-c:a",
            f"pcm_{kind}",
            "-ar",
            str(raw.sample_rate),
        )
        track += ("-ac", str(raw.n_channels))
        return source.start(
            *("ffmpeg", "-nostdin", "-v", "level+warning", "-err_detect", "crccheck"),
            *(*GUARDS, "-i", source.url),
            *(*track, "-f", kind, "pipe:1"),
            *(*track, "-flush_packets", "1", "-f", "framecrc", f"pipe:{sink}"),
            stderr=subprocess.PIPE,
            fds=(sink,),
        )

    def read(self, n_samples: int) -> tuple[bytes, int]:
        """Read samples, or learn of a gap.

        Returns
        -------
        data : bytes of up to `n_samples`
        n_silent : samples that are missing before whatever comes next

        Nothing and no gap is the end.
        """
        while True:
            n_whole = min(
                self._n_stamped - self._n_given, len(self._data) // self._step
            )
            if self.gaps and self.gaps[0][0] == self._n_given and self._is_settled():
                return b"", self.gaps.popleft()[1]
            if self.gaps:
                n_whole = min(n_whole, self.gaps[0][0] - self._n_given)
            if n_whole >= n_samples or (n_whole and self._is_at_edge(n_whole)):
                return self._take(min(n_whole, n_samples)), 0
            if not self._open:
                # Without times the samples are still the song.
                return self._take(min(len(self._data) // self._step, n_samples)), 0
            self._pump()

    def _is_settled(self) -> bool:
        """Say whether the first gap will not change any more."""
        is_last = len(self.gaps) == 1 and self._stamps in self._open
        return not is_last or self._n_after >= _SETTLED

    def _is_at_edge(self, n_whole: int) -> bool:
        return bool(self.gaps) and self._n_given + n_whole == self.gaps[0][0]

    def _take(self, n_samples: int) -> bytes:
        n_bytes = n_samples * self._step
        data = bytes(self._data[:n_bytes])
        del self._data[:n_bytes]
        self._n_given += n_samples
        return data

    def _pump(self) -> None:
        """Wait for something to come, and take it."""
        waiting = select.poll()
        for fd in self._open:
            waiting.register(fd, select.POLLIN)
        ready = waiting.poll(STALL_S * 1000)
        if not ready:
            raise unreadable(
                self._name, f"cannot be read: ffmpeg has given nothing for {STALL_S} s"
            )
        for fd, _ in ready:
            data = os.read(fd, _PIECE)
            if not data:
                self._open.discard(fd)
            elif fd == self._pcm:
                self._data += data
            elif fd == self._talk:
                self._said = (self._said + data)[: _MAX_LINES * 100]
            else:
                self._stamp(data)

    def _stamp(self, data: bytes) -> None:
        """Note the frames: lines of stream, decoding time, time, samples, ..."""
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            if line[:1] == b"#" or not line.strip():
                continue
            fields = line.split(b",")
            self._note(int(fields[2]), int(fields[3]))

    def _note(self, time: int, n_samples: int) -> None:
        rate, found = self._found.sample_rate, self._found
        least = rate * (_LOSSY_GAP_S if found.is_lossy else _LOSSLESS_GAP_S)
        if self._next is None:
            self._next = 0 if found.has_picture else time
            least = _PICTURE_GAP_S * rate
        gap = time - self._next
        self._n_after += 1
        if least <= gap <= _MAX_GAP_S * rate:
            self.gaps.append((self._n_stamped, gap))
            self._n_after = 0
        elif gap <= -least and self.gaps and self._n_after < _SETTLED:
            # The first frame that was found again had the time of a later one.
            at, n_lost = self.gaps.pop()
            if n_lost + gap > 0:
                self.gaps.append((at, n_lost + gap))
        self._next = time + n_samples
        self._n_stamped += n_samples

    def finish(self) -> tuple[int, list[str]]:
        """Return ffmpeg's status and what it said of damage; after the end."""
        status = self._process.wait()
        lines = self._said.decode(errors="replace").strip().splitlines()
        found = [found for line in lines if (found := _LEVEL.match(line))]
        return status, [
            text
            for level, text in (f.groups() for f in found)
            if (level != "warning" or _TORN.search(text)) and not _OURS.search(text)
        ]

    def close(self) -> None:
        """End ffmpeg."""
        self._process.kill()
        self._process.communicate()
        os.close(self._stamps)
