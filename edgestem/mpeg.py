"""What an MP3 file holds, counted by its frames.

A decoder that believes a Xing header, or that guesses a length from the first bit
rate, stops where the guess ends.  Every frame's header says how long the frame is:
walking them costs no decoding and leaves nothing to guess.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

from edgestem.tails import n_id3, n_unknown

# kbit/s of layer III: MPEG 1, and MPEG 2 and 2.5 (where layer II is the same).
_BITRATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
_LAYER_II = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_HEAD = 4  # bytes of a frame that say what it is
_LITTLE = 1024  # bytes behind the last frame that are not worth a word
_RATES = (44100, 48000, 32000)
_XING_AT = {(0, False): 36, (0, True): 21, (1, False): 21, (1, True): 13}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame's header."""

    n_bytes: int
    n_samples: int
    sample_rate: int
    n_channels: int
    bitrate: int
    is_low: bool
    """MPEG 2 or 2.5."""


@dataclass(slots=True)
class Survey:
    """What all frames say together."""

    n_frames: int = 0
    """Without the frame that only informs."""
    n_samples: int = 0
    """Of all frames; the encoder's delay and padding are among them."""
    n_promised: int | None = None
    """Frames by the file's own Xing, Info or VBRI header."""
    n_lost_bytes: int = 0
    """Bytes between frames that are none."""
    n_torn_bytes: int = 0
    """Bytes of a last frame that is not whole."""
    n_per_frame: int = 1152
    """Samples of the first frame."""
    is_vbr: bool = False
    is_mixed: bool = False
    """The rate or the channels change on the way."""
    end: int = 0
    """Where the last frame ends."""
    cut: int | None = None
    """The same where so much follows that libmpg123 would complain."""

    @property
    def is_plain(self) -> bool:
        """A decoder that believes headers and first bit rates reads all of it."""
        if self.n_lost_bytes or self.is_mixed:
            return False
        if self.n_promised is None:
            return not self.is_vbr
        return abs(self.n_promised - self.n_frames) <= 1

    @property
    def n_missing(self) -> int:
        """Samples that were promised and are not there."""
        if self.n_promised is None or self.n_frames >= self.n_promised - 1:
            return 0
        return (self.n_promised - self.n_frames) * self.n_per_frame


def survey(fd: int) -> Survey | None:
    """Walk the frames of an MP3 file; None when it does not begin as one.

    The descriptor's place does not move.
    """
    with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as data:
        at = _past_id3(data, 0)
        first = _frame(data, at)
        if first is None or not _frame(data, at + first.n_bytes):
            return None
        found = Survey(n_per_frame=first.n_samples)
        promised = _promise(data, at, first)
        if promised is not None:
            found.n_promised, at = promised or None, at + first.n_bytes
        _walk(data, at, first, found)
        n_tail = len(data) - found.end - found.n_torn_bytes
    if n_tail > found.end // 100:
        found.cut = found.end
    n_behind = n_unknown(fd, found.end) - found.n_torn_bytes
    if n_behind > _LITTLE:
        found.n_lost_bytes += n_behind
    return found


def _walk(data: mmap.mmap, at: int, first: Frame, found: Survey) -> None:
    size, bitrate = len(data), 0
    while True:
        frame = _frame(data, at)
        if frame is None or at + frame.n_bytes > size:
            found.end = at
            if frame is not None and not _is_tag(data, at):
                found.n_torn_bytes = size - at
                return
            after = _next(data, at)
            if after < 0:
                found.n_torn_bytes = size - at if 0 < size - at < _HEAD else 0
                return
            found.n_lost_bytes += after - _past_id3(data, at)
            at = after
            continue
        bitrate = bitrate or frame.bitrate
        found.is_vbr |= frame.bitrate != bitrate
        found.is_mixed |= frame.sample_rate != first.sample_rate
        found.is_mixed |= frame.n_channels != first.n_channels
        found.n_frames += 1
        found.n_samples += frame.n_samples
        at += frame.n_bytes


def _is_tag(data: mmap.mmap, at: int) -> bool:
    return data[at : at + 3] in (b"TAG", b"ID3", b"APE")


def _next(data: mmap.mmap, at: int) -> int:
    """Find the next two frames behind what is none; -1 when none comes."""
    at = _past_id3(data, at)
    while (at := data.find(b"\xff", at)) >= 0:
        frame = _frame(data, at)
        if frame is not None and _frame(data, at + frame.n_bytes):
            return at
        at += 1
    return -1


def _past_id3(data: mmap.mmap, at: int) -> int:
    while n_bytes := n_id3(data[at : at + 10]):
        at += n_bytes
    return at


def _frame(data: mmap.mmap, at: int) -> Frame | None:
    """Read the header of a frame of layer II or III; None when it is none."""
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, rate_at, rate_index = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    layer = 4 - (head[1] >> 1 & 3)
    if layer not in (2, 3) or version == 1 or rate_index == 3 or rate_at in (0, 15):
        return None
    is_low = version != 3
    bitrate = (_LAYER_II if layer == 2 and not is_low else _BITRATES[is_low])[rate_at]
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    n_samples = 576 if is_low and layer == 3 else 1152
    n_bytes = n_samples // 8 * bitrate * 1000 // rate + (head[2] >> 1 & 1)
    n_channels = 1 if head[3] >> 6 == 3 else 2
    return Frame(n_bytes, n_samples, rate, n_channels, bitrate, is_low)


def _promise(data: mmap.mmap, at: int, first: Frame) -> int | None:
    """Frames by a Xing, Info or VBRI header; 0 when it does not say; None: no header.

    The header lies where the side information would be, VBRI's behind 32 bytes.
    """
    mark = at + _XING_AT[int(first.is_low), first.n_channels == 1]
    if data[mark : mark + 4] in (b"Xing", b"Info"):
        has_count = data[mark + 7] & 1
        return int.from_bytes(data[mark + 8 : mark + 12], "big") if has_count else 0
    if data[at + 36 : at + 40] == b"VBRI":
        return int.from_bytes(data[at + 50 : at + 54], "big")
    return None
