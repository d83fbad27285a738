"""WAV on pipes, and WAV that may pass 4 GiB.

libsndfile reads and writes WAV files; it cannot write one whose length is not
known yet to a pipe, nor turn one into RF64 when it has grown, and its blocking
reads of a pipe cannot be interrupted.  These few functions can.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgestem.sound.grid import GRIDS, Grid, GridSamples

UNKNOWN = 0xFFFFFFFF  # "until the end": what ffmpeg writes to pipes
ROOM = 36  # bytes of a ds64 chunk
MAX_RIFF = 0xFFFFFFFF - 4096  # bytes of samples that leave room for the chunks
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {
    (_PCM, 8): "8",
    (_PCM, 16): "16",
    (_PCM, 24): "24",
    (_PCM, 32): "32",
    (_FLOAT, 32): "float",
    (_FLOAT, 64): "double",
}


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What a WAV header says."""

    grid: Grid
    """Sample format."""
    sample_rate: int
    """Hz."""
    n_channels: int
    """Channels."""
    n_samples: int | None = None
    """Length; None when the header does not know."""

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of one sample, all channels."""
        return self.grid.bits // 8 * self.n_channels


def header(wav: WavFormat, *, with_room: bool = False) -> bytes:
    """Make a header of a length that does not depend on `n_samples`.

    Parameters
    ----------
    wav : WavFormat
        An unknown length gives the header of a stream, and so does one beyond
        4 GiB without room.
    with_room : bool
        Reserve the `ROOM` that turns the file into RF64 beyond 4 GiB.
    """
    step = wav.bytes_per_sample
    tag, extra = (_FLOAT, b"\0\0") if wav.grid.is_float else (_PCM, b"")
    rate, bits = wav.sample_rate, wav.grid.bits
    fmt = struct.pack("<HHIIHH", tag, wav.n_channels, rate, rate * step, step, bits)
    chunks = _chunk(b"fmt ", fmt + extra)
    n_samples = UNKNOWN if wav.n_samples is None else wav.n_samples
    if wav.grid.is_float:
        chunks += _chunk(b"fact", struct.pack("<I", min(n_samples, UNKNOWN)))
    room = _chunk(b"JUNK", bytes(ROOM - 8)) if with_room else b""
    n_bytes = n_samples * step
    if wav.n_samples is None or (n_bytes > MAX_RIFF and not with_room):
        return _riff(b"RIFF", UNKNOWN, room + chunks, UNKNOWN)
    size = 4 + ROOM * with_room + len(chunks) + 8 + n_bytes + n_bytes % 2
    if n_bytes <= MAX_RIFF:
        return _riff(b"RIFF", size, room + chunks, n_bytes)
    sizes = _chunk(b"ds64", struct.pack("<QQQI", size, n_bytes, n_samples, 0))
    return _riff(b"RF64", UNKNOWN, sizes + chunks, UNKNOWN)


def parse(read: Callable[[int], bytes]) -> WavFormat | None:
    """Read a header up to the first sample.

    Parameters
    ----------
    read : callable
        Gives exactly as many bytes as asked for, fewer only at the end.

    Returns
    -------
    WavFormat or None
        None when this is no WAV file of a plain sample format.
    """
    start = read(12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        return None
    found: WavFormat | None = None
    long_size = None
    while len(head := read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return _with_length(found, size, long_size)
        if size > 1 << 24:  # nobody's notes; memory stays bounded
            return None
        body = read(size + size % 2)
        if name == b"fmt ":
            found = parse_format(body)
        elif name == b"ds64" and len(body) >= 16:
            long_size = struct.unpack("<Q", body[8:16])[0]
    return None


def pack(x: GridSamples, grid: Grid) -> bytes:
    """Turn grid samples into the bytes of a WAV file."""
    if grid.is_float:
        return x.astype(f"<f{grid.bits // 8}").tobytes()
    if grid.bits == 8:
        return (x + 128).astype(np.uint8).tobytes()
    if grid.bits == 24:
        wide = np.ascontiguousarray(x, "<i4").view(np.uint8)
        return wide.reshape(-1, 4)[:, :3].tobytes()
    return x.astype(f"<i{grid.bits // 8}").tobytes()


def unpack(data: bytes, wav: WavFormat) -> GridSamples:
    """Turn the bytes of a WAV file into grid samples; a torn last one is dropped."""
    n_samples = len(data) // wav.bytes_per_sample
    data = data[: n_samples * wav.bytes_per_sample]
    grid = wav.grid
    if grid.is_float:
        x = np.frombuffer(data, f"<f{grid.bits // 8}")
    elif grid.bits == 8:
        x = np.frombuffer(data, np.uint8).astype(np.int32) - 128
    elif grid.bits == 24:
        wide = np.zeros((n_samples * wav.n_channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        x = wide.view("<i4") >> 8
    else:
        x = np.frombuffer(data, f"<i{grid.bits // 8}")
    return x.astype(grid.dtype).reshape(n_samples, wav.n_channels)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _riff(name: bytes, size: int, chunks: bytes, n_bytes: int) -> bytes:
    start = name + struct.pack("<I", size) + b"WAVE"
    return start + chunks + b"data" + struct.pack("<I", n_bytes)


def parse_format(body: bytes) -> WavFormat | None:
    """Read the body of a `fmt ` chunk; None: no plain sample format."""
    if len(body) < 16:
        return None
    tag, n_channels, rate, _, step, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack("<H", body[24:26])[0]
    name = _KINDS.get((tag, bits))
    if name is None or n_channels == 0 or step != bits // 8 * n_channels:
        return None
    return WavFormat(GRIDS[name], rate, n_channels)


def _with_length(
    found: WavFormat | None, size: int, long_size: int | None
) -> WavFormat | None:
    """Add the length, unless the header is one of a stream."""
    if found is None:
        return None
    if size == UNKNOWN and long_size not in (None, 0, (1 << 64) - 1):
        size = long_size or 0  # a writer that cannot seek leaves 0 there, or the top
    elif is_open_end(size):
        return found
    n_samples = size // found.bytes_per_sample
    return WavFormat(found.grid, found.sample_rate, found.n_channels, n_samples)


def is_open_end(size: int) -> bool:
    """Say whether a chunk size means "until the end".

    Writers to pipes put the greatest number there, signed or not, less the
    header or rounded to whole samples; ffmpeg, sox and arecord all differ.
    """
    return size == 0 or any(0 <= top - size <= 1 << 16 for top in (UNKNOWN, 1 << 31))
