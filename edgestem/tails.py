"""What may follow the sound in a file: tags, and padding."""

from __future__ import annotations

import os

_ID3V1 = 128
_APE = 32  # bytes of its footer
_LYRICS = 15  # bytes of its footer: six digits and nine letters
_ZEROS = 1 << 16


def n_unknown(fd: int, at: int) -> int:
    """Count the bytes from `at` to the end that are neither tags nor zeros."""
    end = os.fstat(fd).st_size
    while at < end:
        n_tag = _tag_before(fd, end)
        if n_tag == 0:
            break
        end -= n_tag
    at += _n_tag_behind(fd, at)
    while at < end and not any(os.pread(fd, min(_ZEROS, end - at), at)):
        at += _ZEROS
    return max(end - at, 0)


def _tag_before(fd: int, end: int) -> int:
    """Size of the tag that ends at `end`, 0 for none."""
    last = os.pread(fd, _ID3V1, max(end - _ID3V1, 0))
    if last[:3] == b"TAG":
        return _ID3V1
    if last[-_APE:][:8] == b"APETAGEX":
        has_head = last[-_APE:][23] & 0x80
        return int.from_bytes(last[-20:-16], "little") + (_APE if has_head else 0)
    if last[-9:] == b"LYRICS200" and last[-_LYRICS:-9].isdigit():
        return int(last[-_LYRICS:-9]) + _LYRICS
    if last[-10:-7] == b"3DI":
        return n_id3(b"ID3" + last[-7:]) + 10
    return 0


def _n_tag_behind(fd: int, at: int) -> int:
    """Size of the tags that begin at `at`."""
    n_bytes = 0
    while n_tag := n_id3(os.pread(fd, 10, at + n_bytes)):
        n_bytes += n_tag
    return n_bytes


def n_id3(head: bytes) -> int:
    """Size of the ID3v2 tag that begins with these 10 bytes, 0 for none."""
    if len(head) < 10 or head[:3] != b"ID3" or any(c & 0x80 for c in head[6:10]):
        return 0
    size = sum(c << shift for c, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return size + 10 + (10 if head[5] & 0x10 else 0)
