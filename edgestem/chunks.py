"""Where the samples of a WAV file are, by its chunks and by its size.

A recorder that died leaves a header that says less than there is, or nothing; the
samples then go on to the end of the file, or to the tags behind them.  What follows
the samples must be chunks that lead to the end: anything else is more samples.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

from edgestem.tails import n_unknown
from edgestem.wav import UNKNOWN, is_open_end

# What writers put behind the samples; "_" stands for a space here.
_NAMED = """
LIST INFO id3_ ID3_ bext cue_ smpl inst fact PEAK JUNK junk PAD_ FLLR iXML axml chna
cart levl acid strc afsp DISP plst labl note ltxt umid minf elm1 regn ovwf SAUR cdif
AFAn LGWV r64m mark slnt MEXT qlty tlst
"""
NOTES = frozenset(n.replace("_", " ").encode() for n in _NAMED.split()) | {b"_PMX"}
_RIFF = (b"RIFF", b"RF64")
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


@dataclass(slots=True)
class Layout:
    """Where the samples of a file are."""

    samples: list[tuple[int, int]] = field(default_factory=list)
    """Place and size in bytes of each run of samples."""
    n_told: int = 0
    """Bytes of samples that the chunks' own sizes promise."""
    is_odd: bool = False
    """The chunks do not say where the samples are: a decoder would miss some."""
    is_followed: bool = False
    """Another song's header follows."""

    @property
    def n_there(self) -> int:
        """Bytes of samples in the file."""
        return sum(size for _, size in self.samples)


def scan(fd: int) -> Layout | None:
    """Walk the chunks of a WAV, RF64, W64 or VOC file; None when it is none of them.

    The descriptor's place does not move.
    """
    start = os.pread(fd, 24, 0)
    size = os.fstat(fd).st_size
    if start[:16] == _W64:
        return _scan_w64(fd, size)
    if start[:19] == b"Creative Voice File":
        return _scan_voc(fd, int.from_bytes(start[20:22], "little"), size)
    if start[:4] in _RIFF and start[8:12] == b"WAVE":
        return _scan_riff(fd, size)
    return None


def _scan_riff(fd: int, size: int) -> Layout:
    found, at, long_size = Layout(), 12, 0
    while True:
        name, n_bytes = _head(fd, at)
        if name == b"ds64":
            long_size = int.from_bytes(os.pread(fd, 8, at + 16), "little")
        if name == b"data":
            if n_bytes == UNKNOWN and 0 < long_size < 1 << 63:
                n_bytes = long_size
            at = _take(fd, at + 8, n_bytes, size, found)
        elif not _is_chunk(fd, at, size, found):
            return found
        else:
            at += 8 + n_bytes + n_bytes % 2


def _is_chunk(fd: int, at: int, end: int, found: Layout) -> bool:
    """Say whether the walk can go on here; another song ends it."""
    name, n_bytes = _head(fd, at)
    if name in _RIFF and found.samples:
        found.is_followed = True
        return False
    return len(name) == 4 and at + 8 + n_bytes <= end + 1


def _take(fd: int, start: int, n_told: int, end: int, found: Layout) -> int:
    """Note the samples of a data chunk; return where the walk goes on."""
    found.n_told += n_told
    stop = start + n_told
    is_open = is_open_end(n_told)
    if n_told == 0 and _leads_on(fd, start, end):
        return start
    if stop > end or is_open:  # torn, or of unknown length
        n_there = max(end - start - _n_tail(fd, start, end), 0)
        found.samples.append((start, n_there))
        found.is_odd |= n_told == 0 and n_there > 0
        return end
    for after in (stop + n_told % 2, stop):  # some writers do not pad
        if _leads_on(fd, after, end):
            found.is_odd |= bool(found.samples)
            found.samples.append((start, n_told))
            return after
    n_there = end - start - _n_tail(fd, stop, end)
    is_more = n_there - n_told > n_told // 100 + 4096
    found.is_odd |= is_more or bool(found.samples)
    found.samples.append((start, n_there if is_more else n_told))
    return end


def _n_tail(fd: int, start: int, end: int) -> int:
    """Count the bytes of tags at the end."""
    return end - start - n_unknown(fd, start)


def _leads_on(fd: int, at: int, end: int) -> bool:
    """Say whether chunks begin here, or the file ends."""
    if end - at <= 8 or n_unknown(fd, at) == 0:
        return True
    name, n_bytes = _head(fd, at)
    if name in NOTES or name == b"data" or name in _RIFF:
        return True
    is_name = len(name) == 4 and all(0x20 <= c < 0x7F for c in name)
    after = at + 8 + n_bytes + n_bytes % 2
    return is_name and after <= end + 1 and _leads_on(fd, after, end)


def _head(fd: int, at: int) -> tuple[bytes, int]:
    head = os.pread(fd, 8, at)
    if len(head) < 8:
        return b"", 0
    return head[:4], int(struct.unpack("<I", head[4:])[0])


def _scan_w64(fd: int, size: int) -> Layout:
    """Walk Sony's chunks: 16 bytes of name, 8 of size, which counts itself."""
    found, at = Layout(), 40
    while len(head := os.pread(fd, 24, at)) == 24:
        n_bytes = max(int.from_bytes(head[16:], "little"), 24)
        if head[:4] == b"data":
            found.n_told = n_bytes - 24
            found.samples.append((at + 24, min(n_bytes - 24, size - at - 24)))
            break
        at += n_bytes + -n_bytes % 8
    return found


def _scan_voc(fd: int, at: int, size: int) -> Layout:
    """Walk Creative's blocks: 1 byte of kind, 3 of size; a zero ends them."""
    found = Layout()
    while (head := os.pread(fd, 4, at))[:1] not in (b"", b"\0"):
        n_bytes = int.from_bytes(head[1:], "little")
        found.n_told += n_bytes
        found.samples.append((at + 4, min(n_bytes, max(size - at - 4, 0))))
        at += 4 + n_bytes
    return found


def n_unread(fd: int, at: int) -> int:
    """Count the bytes from `at` to the end that are neither tags nor chunks."""
    start = os.pread(fd, 12, 0)
    end = os.fstat(fd).st_size
    if start[:4] in _RIFF or start[:4] == b"riff" or start[4:8] == b"ftyp":
        return 0  # `scan` has looked
    if start[:4] in (b"FORM", b"caff"):
        at = _past_chunks(fd, at, end, 4 if start[:4] == b"FORM" else 8)
    return n_unknown(fd, at)


def _past_chunks(fd: int, at: int, end: int, n_size: int) -> int:
    """Walk chunks with big-endian sizes of `n_size` bytes as far as they go."""
    at += at % 2 if n_size == 4 else 0
    while True:
        head = os.pread(fd, 4 + n_size, at)
        n_bytes = int.from_bytes(head[4:], "big")
        after = at + len(head) + n_bytes + (n_bytes % 2 if n_size == 4 else 0)
        is_name = len(head) > 4 and all(0x20 <= c < 0x7F for c in head[:4])
        if not is_name or after > end + 1:
            return at
        at = after
