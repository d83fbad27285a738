"""What ffprobe tells of a song before ffmpeg reads it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from edgestem.errors import AudioError
from edgestem.sound.grid import GRIDS, Grid
from edgestem.sound.song import unreadable

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
_GUESS = "Estimating duration"
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


def probe(source: Source, name: str) -> dict[str, Any]:
    """Ask ffprobe for the audio streams, the format and the number of pictures."""
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
        output, talk = process.communicate(timeout=SILENT_S)
    except subprocess.TimeoutExpired as cause:
        process.kill()
        process.communicate()
        raise unreadable(name, "takes ffprobe too long: it gave no answer") from cause
    try:
        found: dict[str, Any] = json.loads(output)
        streams = found["streams"]
        pictures = [s for s in streams if s["codec_type"] == "video"]
        covers = [s for s in pictures if s["disposition"].get("attached_pic")]
        found["n_pictures"] = len(pictures) - len(covers)
        found["streams"] = [s for s in streams if s["codec_type"] == "audio"]
        first = found["streams"][0]
        int(first["sample_rate"]), int(first["channels"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as cause:
        raise unreadable(
            name, "is no song: neither libsndfile nor ffmpeg finds sound in it"
        ) from cause
    found["is_guess"] = _GUESS.encode() in talk
    return found


def length_of(
    stream: dict[str, Any], found: dict[str, Any], rate: int
) -> tuple[int | None, bool]:
    """Return the samples of a stream as far as known, and whether that is a promise.

    The length of the file is that of its longest stream, and a guess in formats
    without an index.
    """
    seconds = number(stream.get("duration"))
    if seconds is None:
        seconds = _clock(stream.get("tags", {}).get("DURATION"))
    if seconds is not None and not found["is_guess"]:
        return round(seconds * rate), True
    whole = number(found.get("format", {}).get("duration"))
    return (None if whole is None else round(whole * rate)), False


def _clock(text: Any) -> float | None:
    """Read Matroska's 00:03:25.120000000 as seconds."""
    parts = str(text or "").split(":")
    numbers = [number(part) for part in parts]
    if len(parts) != 3 or None in numbers:
        return None
    hours, minutes, seconds = (float(n or 0) for n in numbers)
    return 3600 * hours + 60 * minutes + seconds


def number(text: Any) -> float | None:
    """Read a number; None of "N/A" and of what is not there."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def keep_places(stream: dict[str, Any]) -> tuple[str, ...]:
    """Let lost frames of a lossless codec leave silence at their place.

    10 ms is less than any frame, and more than containers round times to.
    """
    if stream.get("codec_name") not in LOSSLESS:
        return ()
    return ("-af", "aresample=async=1:min_hard_comp=0.01:first_pts=0")


def tags_of(stream: dict[str, Any], form: dict[str, Any]) -> dict[str, str]:
    """Tags of the file and of the stream, by libsndfile's names."""
    names = {"track": "tracknumber", "album_artist": "albumartist"}
    found: dict[str, str] = {}
    for tags in (stream.get("tags", {}), form.get("tags", {})):
        found |= {names.get(k.lower(), k.lower()): str(v) for k, v in tags.items()}
    known = "title artist album date tracknumber genre comment copyright albumartist"
    return {name: found[name] for name in known.split() if found.get(name)}


def grid_of(stream: dict[str, Any]) -> tuple[Grid, bool]:
    """Return the grid, and whether samples are floats without a grid of their own."""
    kind = str(stream.get("sample_fmt", "")).removesuffix("p")
    bits = int(number(stream.get("bits_per_raw_sample")) or 0)
    codec = str(stream.get("codec_name"))
    if kind in ("u8", "s16", "s32"):
        width = bits or int(kind[1:])
        # Odd widths (ALAC's 20 bits) lie on the next wider grid.
        return GRIDS[next(g for g in ("8", "16", "24", "32") if int(g) >= width)], False
    if codec in ("pcm_f64le", "pcm_f64be") or kind == "s64":
        return GRIDS["double"], False
    return GRIDS["float"], not codec.startswith(("pcm_f", "wavpack"))
