"""ffmpeg and ffprobe for what is more than sound: pictures are copied, never touched.

Files go in by `file:` names and as a whitelisted container, so that no playlist can
name other files; what comes out goes into an open file of ours that can be sought in.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.errors import AudioError
from edgestem.sound.ffprobe import LOSSLESS, ONLY_THE_FILE

_PATIENCE_S = 3600.0  # a film is copied in seconds; a NAS may be slow
_LATE_S = 0.1  # sound that starts later has silence in front, made by `sound.ffmpeg`


@dataclass(frozen=True, slots=True)
class Media:
    """What is in a file."""

    n_pictures: int
    """Video streams that are no covers."""
    n_sounds: int
    """Audio streams."""
    lead_s: float
    """How much later than the file the samples of the first audio stream begin, less
    the silence that `sound.ffmpeg` puts in front of late sound."""
    codec: str
    """ffprobe's name of the first audio stream's codec."""


def probe(path: Path) -> Media:
    """Ask what is in a file.

    Raises
    ------
    AudioError
        `ffmpeg_missing` or `unreadable`.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise AudioError(
            f"{path} is a video: ffmpeg is needed (apt install ffmpeg)",
            code="ffmpeg_missing",
            path=str(path),
        )
    line = ("ffprobe", "-v", "error", *ONLY_THE_FILE, "-of", "json", "-show_format")
    try:
        done = subprocess.run(
            (*line, "-show_streams", f"file:{path}"),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        found = json.loads(done.stdout)
        streams: list[dict[str, Any]] = found["streams"]
    except (ValueError, KeyError, subprocess.TimeoutExpired) as cause:
        raise _unreadable(path, "is no song or video that ffmpeg reads") from cause
    sounds = [s for s in streams if s.get("codec_type") == "audio"]
    if not sounds:
        raise _unreadable(path, "has no sound: there is nothing to separate")
    pictures = [
        s
        for s in streams
        if s.get("codec_type") == "video"
        and not s.get("disposition", {}).get("attached_pic")
    ]
    form = found.get("format", {})
    is_placed = sounds[0].get("codec_name") in LOSSLESS  # by `sound.ffmpeg`
    lead = 0.0 if is_placed or not pictures else _lead(path, sounds[0], form)
    return Media(len(pictures), len(sounds), lead, str(sounds[0].get("codec_name")))


def _lead(path: Path, sound: dict[str, Any], form: dict[str, Any]) -> float:
    """Find when the first sample sounds: packets may begin before (Opus, AAC)."""
    start = _seconds(form, "start_time")
    first = _first(f"file:{path}", "a:0") - start
    late = _seconds(sound, "start_time") - start
    return max(first - late if late >= _LATE_S else first, 0.0)


def slip(path: Path, fd: int, stream: str) -> float:
    """Say by how much a copied stream of a file of ours has come too early.

    Seconds, against the picture: ffmpeg 5.1 writes Opus into Matroska without its
    delay, and reads it with.
    """
    before = _first(f"file:{path}", "a:0") - _first(f"file:{path}", "v:0")
    url = f"file:/dev/fd/{fd}"
    after = _first(url, stream, fd) - _first(url, "v:0", fd)
    return before - after


def _first(url: str, stream: str, *fds: int) -> float:
    """Find when the first decoded frame of a stream is shown or heard; 0: unknown."""
    line = ("ffprobe", "-v", "quiet", *ONLY_THE_FILE, "-select_streams", stream)
    what = ("-read_intervals", "%+#8", "-show_entries", "frame=pts_time", "-of", "csv")
    try:
        done = subprocess.run(
            (*line, *what, url),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            text=True,
            pass_fds=fds,
        )
        return float(done.stdout.replace("\n", ",").split(",")[1])
    except (IndexError, ValueError, subprocess.TimeoutExpired):
        return 0.0


def _seconds(found: dict[str, Any], key: str) -> float:
    try:
        return float(found.get(key, 0.0))
    except (TypeError, ValueError):
        return 0.0


def source(path: Path, *, start_s: float = 0.0) -> tuple[str, ...]:
    """Name an input that begins later by so much."""
    shift = ("-itsoffset", f"{start_s:.6f}") if start_s else ()
    return (*ONLY_THE_FILE, *shift, "-i", f"file:{path}")


def mux(path: Path, inputs: tuple[str, ...], words: tuple[str, ...], fd: int) -> None:
    """Run ffmpeg into an open file.

    Parameters
    ----------
    path : Path
        Of the song, for the message.
    words : tuple of str
        Everything between the inputs and the output.

    Raises
    ------
    AudioError
        `unwritable`: ffmpeg gave up, and says why.
    """
    line = ("ffmpeg", "-nostdin", "-v", "error", "-y", *inputs, *words)
    try:
        done = subprocess.run(
            (*line, f"file:/dev/fd/{fd}"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(fd,),
            timeout=_PATIENCE_S,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as cause:
        raise _unreadable(path, "takes ffmpeg more than an hour to copy") from cause
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
        raise AudioError(
            f"{path}: ffmpeg cannot write this file: {reason}; try another container",
            code="unwritable",
            path=str(path),
        )


def _unreadable(path: Path, what: str) -> AudioError:
    return AudioError(f"{path} {what}", code="unreadable", path=str(path))
