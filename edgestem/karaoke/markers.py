"""Spans of singing in other programs' words: labels, lyrics, subtitles.

Times are seconds from the first sample.
"""

from __future__ import annotations

from collections.abc import Callable

from edgestem.karaoke.activity import Activity
from edgestem.sound.singing import DEFAULT, Thresholds


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


FORMATS: dict[str, Callable[[Activity, Thresholds], str]] = {
    "labels": labels,
    "lrc": lrc,
    "vtt": webvtt,
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
