"""What a sound file holds besides its samples: chunks, tags and padding.

A decoder that ends before its file does has left something unread.  These functions
tell music from what may stand behind it, by looking at the bytes themselves.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from edgestem.sound.wav import WavFormat, is_open_end, parse_format

TRIFLE = 1024  # bytes: less is dirt behind a file, not music
_TAG_V1, _APE_FOOTER = 128, 32


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a RIFF file."""

    name: bytes
    start: int
    """Place of its first byte."""
    size: int
    """Bytes that its header promises."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the samples of a WAV file really are."""

    wav: WavFormat
    """Format; `n_samples` is what is there."""
    parts: tuple[tuple[int, int], ...]
    """(place, bytes) of each run of samples."""
    note: str = ""
    """What is odd about the file, for a person; empty: nothing."""
    is_plain: bool = True
    """One run of samples, as long as the header says."""


def riff_chunks(fd: int, at: int, order: str = "<") -> Iterator[Chunk]:
    """Walk chunks from a place to the end, or to what is none."""
    size = os.fstat(fd).st_size
    while at + 8 <= size:
        head = os.pread(fd, 8, at)
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if not _is_name(name):
            return
        yield Chunk(name, at + 8, length)
        at += 8 + length + length % 2


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name) and name != b"    "


def wav_layout(fd: int) -> Layout | None:
    """Find the samples of a WAV file of a plain sample format; None: no such file.

    A header that promises less than there is, nothing at all, or several runs of
    samples is not believed.
    """
    size = os.fstat(fd).st_size
    start = os.pread(fd, 12, 0)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        return None
    found: WavFormat | None = None
    long_size, parts, promised = None, [], 0
    for chunk in riff_chunks(fd, 12):
        if chunk.name == b"fmt " and chunk.size <= 1 << 16:
            found = parse_format(os.pread(fd, chunk.size, chunk.start))
        elif chunk.name == b"ds64":
            long_size = int.from_bytes(os.pread(fd, 8, chunk.start + 8), "little")
        elif chunk.name == b"data" and found is not None:
            n_bytes = _data_size(fd, chunk, long_size)
            parts.append((chunk.start, min(n_bytes, size - chunk.start)))
            promised += chunk.size
            if n_bytes != chunk.size:
                break
    if found is None or not parts:
        return None
    return _judge(found, parts, size, promised, fd)


def _data_size(fd: int, chunk: Chunk, long_size: int | None) -> int:
    """Bytes of a data chunk: until the end where its header cannot know."""
    rest = os.fstat(fd).st_size - chunk.start
    if long_size not in (None, 0, (1 << 64) - 1) and chunk.size == 0xFFFFFFFF:
        return min(int(long_size or 0), rest)
    if chunk.size == 0 and unread_bytes(fd, chunk.start) == 0:
        return 0  # honestly empty: only notes follow
    return rest if is_open_end(chunk.size) else min(chunk.size, rest)


def _judge(
    wav: WavFormat, parts: list[tuple[int, int]], size: int, promised: int, fd: int
) -> Layout:
    """Add what stands behind the last run, and say what is odd."""
    start, n_bytes = parts[-1]
    n_behind = unread_bytes(fd, start + n_bytes)
    note = ""
    if n_behind > max(TRIFLE, wav.sample_rate * wav.bytes_per_sample // 20):
        parts[-1] = (start, size - start)
        note = "its header promises less than there is; all of it was read"
    elif len(parts) > 1:
        note = f"it holds {len(parts)} runs of samples; all of them were read"
    elif promised == 0 and n_bytes:
        note = "its header gives no length; all of it was read"
    step = wav.bytes_per_sample
    whole = tuple((at, n // step * step) for at, n in parts if n >= step)
    n_samples = sum(n for _, n in whole) // step
    exact = WavFormat(wav.grid, wav.sample_rate, wav.n_channels, n_samples)
    return Layout(exact, whole, note, is_plain=not note)


def unread_bytes(fd: int, at: int) -> int:
    """Count bytes from a place to the end that are no chunk, tag or padding."""
    end = before_tags(fd, at, os.fstat(fd).st_size)
    if end - at < 8:  # a pad byte, or half of a header
        return 0
    for order in "<>":
        for first in {at, at + at % 2}:
            last = first
            for chunk in riff_chunks(fd, first, order):
                last = chunk.start + chunk.size
            if last > first and end - 2 <= last <= end + 1:
                return 0
    return 0 if _is_zero(fd, at, end) else end - at


def before_tags(fd: int, at: int, end: int) -> int:
    """Where the tags at the end of a file begin: ID3v1, APE, Lyrics3."""
    while end > at:
        tail = os.pread(fd, min(_TAG_V1, end - at), max(at, end - _TAG_V1))
        if len(tail) == _TAG_V1 and tail[:3] == b"TAG":
            end -= _TAG_V1
        elif tail[-_APE_FOOTER:-24] == b"APETAGEX":
            size, _, flags = struct.unpack("<III", tail[-20:-8])
            end -= size + _APE_FOOTER * bool(flags >> 31)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            end -= int(tail[-15:-9]) + 15
        else:
            break
    return max(end, at)


def tag_bytes(fd: int, at: int) -> int:
    """Bytes of the tag that begins at a place: ID3v2, ID3v1, APE; 0 of none."""
    head = os.pread(fd, _APE_FOOTER, at)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = 0
        for byte in head[6:10]:  # seven bits a byte
            size = size << 7 | byte & 0x7F
        return 10 + size + 10 * bool(head[5] & 0x10)
    if head[:3] == b"TAG":
        return _TAG_V1
    if head[:8] == b"APETAGEX" and len(head) == _APE_FOOTER:
        return _APE_FOOTER + int(struct.unpack("<I", head[12:16])[0])
    return 0


def _is_zero(fd: int, at: int, end: int) -> bool:
    while at < end:
        block = os.pread(fd, min(1 << 20, end - at), at)
        if not block or block.count(0) != len(block):
            return not block
        at += len(block)
    return True


def has_end_mark(fd: int) -> bool:
    """Say whether the last page of an Ogg file ends its stream, and is whole."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, 1 << 17, max(0, size - (1 << 17)))
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if len(page) < 27 or not page[5] & 4:
        return False
    sizes = page[27 : 27 + page[26]]
    return len(sizes) == page[26] and len(page) >= 27 + len(sizes) + sum(sizes)


def is_voc_cut(fd: int) -> bool:
    """Say whether a Creative Voice file ends within one of its blocks."""
    size = os.fstat(fd).st_size
    at = int.from_bytes(os.pread(fd, 2, 20), "little")
    while at < size:
        head = os.pread(fd, 4, at)
        if head[:1] == b"\0":
            return False
        at += 4 + int.from_bytes(head[1:], "little")
    return at > size


def shift(file: BinaryIO, start: int, n_bytes: int) -> None:
    """Move all from `start` to the end of a file by `n_bytes` towards its end."""
    end = file.seek(0, 2)
    while end > start:
        begin = max(start, end - (1 << 20))
        file.seek(begin)
        data = file.read(end - begin)
        file.seek(begin + n_bytes)
        file.write(data)
        end = begin
