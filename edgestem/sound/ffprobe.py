"""What ffprobe tells of a song before ffmpeg reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.grid import GRIDS, Grid
from edgestem.sound.refusals import unreadable

_SHOW = (
    "stream=codec_type,codec_name,sample_rate,channels,bits_per_raw_sample,sample_fmt,"
    "duration,start_time:stream_tags:stream_disposition=attached_pic:"
    "format=duration,format_name,start_time:format_tags"
)
# Files with samples in them; playlists (hls, concat, dash, sdp ...) name other files,
# which whoever sent the song may not read himself.
_FORMATS = (
    "aac,ac3,aiff,aea,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,ircam,"
    "loas,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mlp,mp3,mpc,mpc8,mpeg,mpegts,mxf,nist,"
    "nut,ogg,oma,qcp,rm,rso,shn,sox,spdif,svx,tak,truehd,tta,voc,w64,wav,wsd,wv,wtv,xwma"
)
ONLY_THE_FILE = ("-format_whitelist", _FORMATS, "-protocol_whitelist", "file")
_GUESS = b"Estimating duration"
_NO_INDEX = (b"moov atom not found", b"Missing packet table")
LOSSLESS = ("flac", "alac", "tta", "wavpack", "ape", "truehd", "mlp", "tak", "shorten")
SILENT_S = 60.0  # without a byte from ffmpeg: it hangs


class Source:
    """What ffmpeg reads, and how to start it."""

    def __init__(self, file: BinaryIO, path: Path | None) -> None:
        self.file = file
        # "file:" keeps a colon or a dash in a name from meaning something.
        self.url = f"file:{os.fspath(path or f'/dev/fd/{file.fileno()}')}"

    def start(self, *command: str, stderr: Any) -> subprocess.Popen[bytes]:
        os.lseek(self.file.fileno(), 0, os.SEEK_SET)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            pass_fds=(self.file.fileno(),),
            start_new_session=True,  # Ctrl-C is ours to answer
        )


@dataclass(frozen=True, slots=True)
class AudioStream:
    """The first audio stream of a file."""

    codec: str
    """ffprobe's name of it."""
    sample_rate: int
    """Hz."""
    n_channels: int
    """Channels."""
    grid: Grid
    """What its samples lie on, or are decoded to."""
    is_lossy: bool
    """Its samples are floats without a grid of their own."""
    length_s: float | None
    """Seconds, as far as anybody knows."""
    is_exact: bool
    """The length is a promise, not a guess."""
    lead_s: float
    """Seconds that it starts after its file; 0 without a picture to be in step with."""
    container: str
    """ffprobe's name of it; "mov,mp4,m4a,3gp,3g2,mj2" is one."""
    n_tracks: int
    """Audio streams of the file."""
    tags: dict[str, str]
    """Of the file and of the stream, by libsndfile's names."""

    def n_samples(self, rate: int) -> int | None:
        """Return the length in samples at a rate in Hz."""
        return None if self.length_s is None else round(self.length_s * rate)


def probe(source: Source, name: str) -> AudioStream:
    """Ask ffprobe for the first audio stream.

    Raises
    ------
    AudioError
        `ffmpeg_missing`, or `unreadable`: it finds none.
    """
    output, talk = _ask(source, name)
    try:
        found: dict[str, Any] = json.loads(output)
        streams = found["streams"]
        pictures = [s for s in streams if s["codec_type"] == "video"]
        covers = [s for s in pictures if s["disposition"].get("attached_pic")]
        tracks = [s for s in streams if s["codec_type"] == "audio"]
        first = tracks[0]
        rate, n_channels = int(first["sample_rate"]), int(first["channels"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as cause:
        what = "is no song: neither libsndfile nor ffmpeg finds sound in it"
        if any(word in talk for word in _NO_INDEX):
            what = "is incomplete: its index is missing, without which none of it can "
            what += "be read; fetch or record it again"
        raise unreadable(name, what) from cause
    form = found.get("format", {})
    grid, is_lossy = _grid_of(first)
    length_s, is_exact = _length_of(first, form, is_guess=_GUESS in talk)
    return AudioStream(
        codec=str(first.get("codec_name")),
        sample_rate=rate,
        n_channels=n_channels,
        grid=grid,
        is_lossy=is_lossy,
        length_s=length_s,
        is_exact=is_exact,
        lead_s=_lead_of(first, form) if len(pictures) > len(covers) else 0.0,
        container=str(form.get("format_name", "")),
        n_tracks=len(tracks),
        tags=_tags_of(first, form),
    )


def _ask(source: Source, name: str) -> tuple[bytes, bytes]:
    """Run ffprobe; return its answer, and what it says besides."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise AudioError(
            f"{name} is not a sound file that libsndfile reads; for m4a, mp4, webm "
            "and others install ffmpeg (apt install ffmpeg)",
            code="ffmpeg_missing",
            path=name,
        )
    process = source.start(
        *("ffprobe", "-v", "warning", *ONLY_THE_FILE, "-of", "json"),
        *("-show_entries", _SHOW, source.url),
        stderr=subprocess.PIPE,
    )
    try:
        return process.communicate(timeout=SILENT_S)
    except subprocess.TimeoutExpired as cause:
        process.kill()
        process.communicate()
        raise unreadable(name, "takes ffprobe too long: it gave no answer") from cause


def _length_of(
    stream: dict[str, Any], form: dict[str, Any], *, is_guess: bool
) -> tuple[float | None, bool]:
    """Return the seconds of a stream as far as known, and whether that is a promise.

    The length of the file is that of its longest stream, and a guess in formats
    without an index.
    """
    seconds = _number(stream.get("duration"))
    if seconds is None:
        seconds = _clock(stream.get("tags", {}).get("DURATION"))
    if seconds is not None and not is_guess:
        return seconds, True
    return _number(form.get("duration")), False


def _lead_of(stream: dict[str, Any], form: dict[str, Any]) -> float:
    """Return how many seconds a stream starts after its file."""
    start = _number(stream.get("start_time")) or 0.0
    return start - min(_number(form.get("start_time")) or 0.0, start)


def _clock(text: Any) -> float | None:
    """Read Matroska's 00:03:25.120000000 as seconds."""
    parts = str(text or "").split(":")
    numbers = [_number(part) for part in parts]
    if len(parts) != 3 or None in numbers:
        return None
    hours, minutes, seconds = (float(n or 0) for n in numbers)
    return 3600 * hours + 60 * minutes + seconds


def _number(text: Any) -> float | None:
    """Read a number; None of "N/A" and of what is not there."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _tags_of(stream: dict[str, Any], form: dict[str, Any]) -> dict[str, str]:
    """Tags of the file and of the stream, by libsndfile's names."""
    names = {"track": "tracknumber", "album_artist": "albumartist"}
    found: dict[str, str] = {}
    for tags in (stream.get("tags", {}), form.get("tags", {})):
        found |= {names.get(k.lower(), k.lower()): str(v) for k, v in tags.items()}
    known = "title artist album date tracknumber genre comment copyright albumartist"
    return {name: found[name] for name in known.split() if found.get(name)}


def _grid_of(stream: dict[str, Any]) -> tuple[Grid, bool]:
    """Return the grid, and whether samples are floats without a grid of their own."""
    kind = str(stream.get("sample_fmt", "")).removesuffix("p")
    bits = int(_number(stream.get("bits_per_raw_sample")) or 0)
    codec = str(stream.get("codec_name"))
    if kind in ("u8", "s16", "s32"):
        width = bits or int(kind[1:])
        # Odd widths (ALAC's 20 bits) lie on the next wider grid.
        return GRIDS[next(g for g in ("8", "16", "24", "32") if int(g) >= width)], False
    if codec in ("pcm_f64le", "pcm_f64be") or kind == "s64":
        return GRIDS["double"], False
    return GRIDS["float"], not codec.startswith(("pcm_f", "wavpack"))
