"""Spans of singing in other programs' words: labels, lyrics, subtitles, a picture.

Times are seconds from the first sample.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np
from numpy.typing import NDArray

from edgestem.karaoke.activity import Activity, Levels
from edgestem.sound.singing import DEFAULT, Thresholds

_WIDTH, _HEIGHT = 1200, 200  # of the picture, each waveform half of it
_FLOOR_DB = -60.0  # where a waveform is flat
_VOCALS, _INSTRUMENTAL, _SPAN = "#d55e00", "#0072b2", "#f6dfc6"  # safe for the blind


def labels(activity: Activity, thresholds: Thresholds = DEFAULT) -> str:
    """Write Audacity's labels: start, end and a word, with tabs between."""
    return "".join(
        f"{a:.6f}\t{b:.6f}\tvocals\n" for a, b in _seconds(activity, thresholds)
    )


def lrc(activity: Activity, thresholds: Thresholds = DEFAULT) -> str:
    """Write LRC: a note where singing begins, an empty line where it ends."""
    lines = ["[re:edgestem]"]
    for start, end in _seconds(activity, thresholds):
        lines += [f"[{_lrc_time(start)}]\N{EIGHTH NOTE}", f"[{_lrc_time(end)}]"]
    return "\n".join([*lines, ""])


def webvtt(activity: Activity, thresholds: Thresholds = DEFAULT) -> str:
    """Write WebVTT: a cue for each span."""
    cues = [
        f"\n{_vtt_time(start)} --> {_vtt_time(end)}\n\N{EIGHTH NOTE}\n"
        for start, end in _seconds(activity, thresholds)
    ]
    return "WEBVTT\n" + "".join(cues)


def svg(activity: Activity, thresholds: Thresholds = DEFAULT, title: str = "") -> str:
    """Draw both stems' levels, vocals above, and the spans behind them."""
    n = max(activity.n_samples, 1)
    spans = [
        f'<rect x="{_WIDTH * a / n:.1f}" width="{_WIDTH * (b - a) / n:.1f}" '
        f'height="{_HEIGHT}" fill="{_SPAN}"/>'
        for a, b in activity.spans(thresholds)
    ]
    waves = [
        _wave(activity.vocals_db, _HEIGHT // 4, _VOCALS),
        _wave(activity.instrumental_db, 3 * _HEIGHT // 4, _INSTRUMENTAL),
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">\n'
        f"<title>{escape(title, quote=False)}</title>\n"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    )
    return "\n".join([head, *spans, *waves, "</svg>", ""])


FORMATS: dict[str, Callable[[Activity, Thresholds], str]] = {
    "labels": labels,
    "lrc": lrc,
    "vtt": webvtt,
    "svg": svg,
}


def _seconds(activity: Activity, thresholds: Thresholds) -> list[tuple[float, float]]:
    rate = activity.rate
    return [(a / rate, b / rate) for a, b in activity.spans(thresholds)]


def _lrc_time(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"


def _vtt_time(seconds: float) -> str:
    ms = round(seconds * 1000)
    minutes, hours = ms // 60_000 % 60, ms // 3_600_000
    return f"{hours:02}:{minutes:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"


def _wave(level_db: Levels, middle: int, colour: str) -> str:
    """Draw a level as a band around a line: the louder, the wider."""
    size: NDArray[np.float64] = np.clip(1 - level_db / _FLOOR_DB, 0, 1) * _HEIGHT / 4.2
    x = np.linspace(0, _WIDTH, max(len(size), 2))[: len(size)]
    upper = [f"{a:.1f},{middle - b:.1f}" for a, b in zip(x, size, strict=True)]
    lower = [f"{a:.1f},{middle + b:.1f}" for a, b in zip(x, size, strict=True)]
    points = " ".join(upper + lower[::-1])
    return f'<polygon points="{points}" fill="{colour}"/>'
