"""Frames of MPEG audio (mp3, mp2): how many are promised, and where one is torn.

Decoders look for the next frame by themselves, and say nothing of what was between.
But each frame's header tells where the next one begins (ISO/IEC 11172-3, 2.4.2.3 and
2.4.3.1; 13818-3 for the low rates), so a walk from header to header finds every tear.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from edgestem.sound.chunks import before_tags, tag_bytes
from edgestem.sound.song import NO_END, Song

_SEARCH = 1 << 20  # bytes of a walk that may be looked through for the next frame
_WINDOW = 1 << 18
_KIND = 0xFFFE0C00  # sync, version, layer, sample rate: one stream keeps them
# kbit/s by (is version 1, layer) and index; index 0 is "free", 15 forbidden.
_LOW_23 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBITS = {
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): _LOW_23,
    (False, 3): _LOW_23,
}
_RATES = (44100, 48000, 32000)  # Hz of version 1; 2 has the half, 2.5 a quarter
_DIVIDED = {3: 1, 2: 2, 0: 4}  # by the version's two bits


class _Frame(NamedTuple):
    size: int
    """Bytes, header included."""
    n_samples: int
    """Samples that it is decoded to."""
    kind: int
    """What all frames of a stream have in common."""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk from frame to frame found."""

    tears: tuple[int, ...] = ()
    """Samples in front of each place where no frame follows a frame."""
    n_lead: int = 0
    """Bytes in front of the first frame that are no tag and no padding."""
    n_tail: int = 0
    """Bytes behind the last frame, likewise."""
    is_cut: bool = False
    """The last frame is not whole."""


@lru_cache(1 << 12)
def _parse(head: bytes) -> _Frame | None:
    """Read a frame's header; None: it is none, or one of a free bit rate."""
    bits = int.from_bytes(head, "big")
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    index, rate = bits >> 12 & 15, bits >> 10 & 3
    is_header = len(head) == 4 and bits >> 21 == 0x7FF and layer != 4
    if not is_header or version == 1 or rate == 3 or index in (0, 15):
        return None
    hz = _RATES[rate] // _DIVIDED[version]
    is_first = version == 3
    n_bits = _KBITS[is_first, layer][index - 1] * 1000
    padding = bits >> 9 & 1
    if layer == 1:
        return _Frame((12 * n_bits // hz + padding) * 4, 384, bits & _KIND)
    n_samples = 576 if layer == 3 and not is_first else 1152
    return _Frame(n_samples // 8 * n_bits // hz + padding, n_samples, bits & _KIND)


class _Walker:
    """Reads a file window by window, and knows the frames in it."""

    def __init__(self, fd: int) -> None:
        self._fd, self._at, self._window = fd, 0, b""
        self.end = before_tags(fd, 0, os.fstat(fd).st_size)
        self._may_search = _SEARCH

    def bytes(self, at: int, n: int) -> bytes:
        if not self._at <= at <= at + n <= self._at + len(self._window):
            self._at, self._window = at, os.pread(self._fd, max(n, _WINDOW), at)
        return self._window[at - self._at : at - self._at + n]

    def frame(self, at: int) -> _Frame | None:
        return _parse(self.bytes(at, 4)) if at + 4 <= self.end else None

    def is_followed(self, at: int, frame: _Frame) -> bool:
        """Say whether behind a frame stands one of its kind, a tag or the end."""
        behind = at + frame.size
        after = self.frame(behind)
        if after is not None:
            return after.kind == frame.kind
        return behind == self.end or tag_bytes(self._fd, behind) > 0

    def find(self, at: int, kind: int | None) -> int | None:
        """Find the next frame, of this kind, that another one follows."""
        while at + 4 <= self.end and self._may_search > 0:
            block = self.bytes(at, min(_WINDOW, self.end - at))
            i = block.find(b"\xff")
            while i >= 0:
                frame = self.frame(at + i)
                is_kind = frame is not None and kind in (None, frame.kind)
                if frame and is_kind and self.is_followed(at + i, frame):
                    return at + i
                i = block.find(b"\xff", i + 1)
            at, self._may_search = at + len(block), self._may_search - len(block)
        return None

    def behind_zeros(self, at: int) -> int:
        """Where the zeros that begin at a place end, as far as a window goes."""
        block = self.bytes(at, max(min(_WINDOW, self.end - at), 0))
        return at + len(block) - len(block.lstrip(b"\0"))


def walk(fd: int) -> Walk:
    """Go from frame to frame through a file.

    Whole frames that are missing leave no trace: a count in the file tells of them
    (`mp3_frames`).  Tags and zeros between frames are what joined files have.
    """
    walker, start = _Walker(fd), behind_id3(fd)
    first = walker.find(start, None)
    head = None if first is None else walker.frame(first)
    if first is None or head is None:
        return Walk()
    n_lead = first - walker.behind_zeros(start)
    tears: list[int] = []
    n_samples, at, kind = 0, first, head.kind
    while True:
        frame = walker.frame(at)
        if frame and (frame.kind == kind or walker.is_followed(at, frame)):
            kind = frame.kind
            if at + frame.size > walker.end:
                return Walk(tuple(tears), n_lead, is_cut=True)
            at, n_samples = at + frame.size, n_samples + frame.n_samples
        elif n_tag := tag_bytes(fd, at):
            at += n_tag
        elif (behind := walker.behind_zeros(at)) > at:
            at = behind
        elif (found := walker.find(at, kind)) is not None:
            tears.append(n_samples)
            at = found
        else:
            return Walk(tuple(tears), n_lead, max(walker.end - at, 0))


def say_tears(song: Song, fd: int) -> None:
    """Note what a walk through a song's file found."""
    found, size = walk(fd), os.fstat(fd).st_size
    if found.tears:
        more = len(found.tears) - 1
        also = f" and at {more} more place{'s'[: more > 1]}" if more else ""
        at = found.tears[0] / song.sample_rate
        song.lose(f"is damaged at {at:.2f} s{also}: what follows was read on")
    if found.is_cut:
        song.lose(NO_END)
    if found.n_lead:
        n_lead = found.n_lead
        song.note(f"begins with {n_lead} bytes that are no sound, as if it were cut")
    if found.n_tail >= 0.01 * size:
        share = f"{found.n_tail / size:.0%}"
        song.note(f"ends with {share} of the file that is no sound")


def mp3_frames(fd: int) -> int | None:
    """Frames that a Xing or Info header promises; None without one."""
    at = behind_id3(fd)
    head = os.pread(fd, 4096, at)
    frame = next((i for i in range(len(head) - 1) if _is_sync(head, i)), None)
    if frame is None:
        return None
    for name in (b"Xing", b"Info"):
        i = head.find(name, frame, frame + 64)
        if i >= 0 and len(head) >= i + 12 and head[i + 7] & 1:
            return int.from_bytes(head[i + 8 : i + 12], "big")
    return None


def _is_sync(head: bytes, i: int) -> bool:
    return head[i] == 0xFF and head[i + 1] & 0xE0 == 0xE0


def behind_id3(fd: int) -> int:
    """Where the ID3v2 tags at the start end; 0 without one."""
    at = 0
    while os.pread(fd, 3, at) == b"ID3" and (n_bytes := tag_bytes(fd, at)):
        at += n_bytes
    return at
