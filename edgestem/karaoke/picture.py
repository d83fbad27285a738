"""A picture of both stems: their levels as waveforms, the spans of singing behind.

SVG is exact at every size; PNG is what chats, issue trackers and file managers show.
Times run from left to right, vocals are above, the louder the wider.
"""

from __future__ import annotations

import struct
import zlib
from html import escape

import numpy as np
from numpy.typing import NDArray

from edgestem.karaoke.activity import Activity, Levels
from edgestem.sound.singing import DEFAULT, Thresholds

_WIDTH, _HEIGHT = 1200, 200  # of the picture, each waveform half of it
_FLOOR_DB = -60.0  # where a waveform is flat
_VOCALS, _INSTRUMENTAL, _SPAN = "#d55e00", "#0072b2", "#f6dfc6"  # safe for the blind
_MIDDLES = (_HEIGHT // 4, 3 * _HEIGHT // 4)
_SUB = 4  # columns that are averaged to one, for smooth edges

Picture = NDArray[np.uint8]


def svg(activity: Activity, thresholds: Thresholds = DEFAULT, title: str = "") -> str:
    """Draw it as SVG."""
    n = max(activity.n_samples, 1)
    spans = [
        f'<rect x="{_WIDTH * a / n:.1f}" width="{_WIDTH * (b - a) / n:.1f}" '
        f'height="{_HEIGHT}" fill="{_SPAN}"/>'
        for a, b in activity.spans(thresholds)
    ]
    waves = [
        _polygon(activity.vocals_db, _MIDDLES[0], _VOCALS),
        _polygon(activity.instrumental_db, _MIDDLES[1], _INSTRUMENTAL),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">\n'
        f"<title>{escape(title, quote=False)}</title>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    )
    return "\n".join([head, *spans, *waves, "</svg>", ""])


def png(activity: Activity, thresholds: Thresholds = DEFAULT) -> bytes:
    """Draw it as PNG."""
    return encode(draw(activity, thresholds))


def draw(activity: Activity, thresholds: Thresholds = DEFAULT) -> Picture:
    """Draw it as pixels, (height, width, 3), red, green and blue."""
    columns = (np.arange(_WIDTH * _SUB) + 0.5) / _SUB  # their middles, in pixels
    picture = np.full((_HEIGHT, _WIDTH, 3), 255.0)
    is_sung = np.zeros(len(columns))
    for a, b in activity.spans(thresholds):
        x = columns * activity.n_samples / _WIDTH
        is_sung[(x >= a) & (x < b)] = 1.0
    _paint(picture, np.broadcast_to(is_sung, (_HEIGHT, len(is_sung))), _SPAN)
    rows = np.arange(_HEIGHT)[:, None] + 0.5
    levels = (activity.vocals_db, activity.instrumental_db)
    for level_db, y, ink in zip(
        levels, _MIDDLES, (_VOCALS, _INSTRUMENTAL), strict=True
    ):
        if len(level_db):
            x, size = _wave(level_db)
            reach = np.interp(columns, x, size) - np.abs(rows - y)
            _paint(picture, np.clip(reach + 0.5, 0.0, 1.0), ink)
    whole: Picture = np.rint(picture).astype(np.uint8)
    return whole


def encode(picture: Picture) -> bytes:
    """Write pixels, (height, width, 3), as PNG: eight bits, no filters."""
    height, width, _ = picture.shape
    lines = np.zeros((height, 1 + 3 * width), np.uint8)  # each begins with its filter
    lines[:, 1:] = picture.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (
        (b"IHDR", head),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def _paint(picture: NDArray[np.float64], cover: NDArray[np.float64], ink: str) -> None:
    """Lay a colour over a picture where `cover` is 1, (height, width * _SUB)."""
    share = cover.reshape(_HEIGHT, _WIDTH, _SUB).mean(axis=2)[:, :, None]
    colour = np.frombuffer(bytes.fromhex(ink[1:]), np.uint8)
    picture += share * (colour - picture)


def _wave(level_db: Levels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give where a waveform's frames are and how far it reaches there, in pixels."""
    size = np.clip(1 - level_db / _FLOOR_DB, 0, 1) * _HEIGHT / 4.2
    return np.linspace(0, _WIDTH, max(len(size), 2))[: len(size)], size


def _polygon(level_db: Levels, middle: int, colour: str) -> str:
    """Draw a level as a band around a line."""
    x, size = _wave(level_db)
    upper = [f"{a:.1f},{middle - b:.1f}" for a, b in zip(x, size, strict=True)]
    lower = [f"{a:.1f},{middle + b:.1f}" for a, b in zip(x, size, strict=True)]
    points = " ".join(upper + lower[::-1])
    return f'<polygon points="{points}" fill="{colour}"/>'
