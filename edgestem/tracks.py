"""What ffprobe says of a file, and which files it may look at.

A playlist names other files, and ffmpeg would read them: only formats that hold their
own sound are let in, and only files.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Any

from edgestem.errors import AudioError
from edgestem.grid import GRIDS, Grid
from edgestem.song import unreadable
from edgestem.source import STALL_S, Source

# ffmpeg's names of containers; no hls, concat, dash, sdp, rtsp, imf, image2 ...
_FORMATS = (
    "3dostr,4xm,aa,aac,aax,ac3,ac4,aea,aiff,alp,amr,amrnb,amrwb,ape,apm,aptx,aptx_hd,"
    "asf,asf_o,ast,au,avi,avr,bink,binka,boa,brstm,bfstm,bcstm,bonk,caf,codec2,dff,"
    "dsf,dsicin,dts,dtshd,dv,eac3,ea,ffm,film_cpk,flac,flv,live_flv,fsb,fwse,g722,g723_1,"
    "g726,g726le,g728,g729,gsm,gxf,hca,hcom,iamf,idcin,iff,ilbc,ircam,iss,ivf,kux,kvag,"
    "laf,lc3,loas,lvf,lxf,matroska,webm,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,"
    "mpeg,mpegts,mpegtsraw,mpegvideo,msf,msp,mtaf,mtv,musx,mv,mxf,nistsphere,nsp,nut,"
    "nuv,ogg,oma,osq,paf,pva,pvf,qcp,qoa,rm,rso,sbc,sds,sdr2,sln,smjpeg,smk,sol,sox,"
    "spdif,svag,svs,swf,tak,thp,truehd,tta,ty,usm,vag,vividas,vivo,voc,vpk,vqf,w64,wav,"
    "wc3movie,wsaud,wsd,wsvqa,wtv,wv,wve,xa,xmv,xvag,xwma,yop"
)
GUARDS = ("-protocol_whitelist", "file", "-format_whitelist", _FORMATS)
_STREAM = (
    "codec_name,codec_type,sample_rate,channels,bits_per_raw_sample,sample_fmt,"
    "duration,time_base"
)
_SHOW = (
    f"stream={_STREAM}:stream_tags:stream_disposition=attached_pic"
    ":format=duration,format_name:format_tags"
)
_IS_GUESS = b"Estimating duration from bitrate"
_CODEC_FRAME = 4608  # samples of the longest usual frame
_NAMES = {  # ffmpeg's names of tags -> libsndfile's
    "title": "title",
    "artist": "artist",
    "album": "album",
    "album_artist": "albumartist",
    "albumartist": "albumartist",
    "date": "date",
    "year": "date",
    "track": "tracknumber",
    "tracknumber": "tracknumber",
    "genre": "genre",
    "comment": "comment",
    "copyright": "copyright",
}


@dataclass(slots=True)
class Found:
    """The first audio stream of a file."""

    sample_rate: int
    n_channels: int
    grid: Grid
    is_lossy: bool
    n_samples: int | None
    """What the container promises, to its end; None when it only guesses."""
    slack: int
    """Samples by which that may be too many."""
    has_picture: bool
    remarks: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def probe(source: Source, name: str) -> Found:
    """Ask ffprobe for the first audio stream.

    Raises
    ------
    AudioError
        `ffmpeg_missing`, or `unreadable`: no sound in it, or no answer.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise AudioError(
            f"{name} is not a sound file that libsndfile reads; for m4a, mp4, webm "
            "and others install ffmpeg (apt install ffmpeg)",
            code="ffmpeg_missing",
            path=name,
        )
    output, said = _ask(source, name)
    try:
        answer = json.loads(output)
        tracks = [s for s in answer["streams"] if s.get("codec_type") == "audio"]
        return _found(answer, tracks, is_guess=_IS_GUESS in said)
    except (ValueError, KeyError, IndexError, TypeError) as cause:
        raise unreadable(
            name, "is no song: neither libsndfile nor ffmpeg finds sound in it"
        ) from cause


def _ask(source: Source, name: str) -> tuple[bytes, bytes]:
    process = source.start(
        *("ffprobe", "-v", "warning", "-of", "json"),
        *("-show_entries", _SHOW, *GUARDS, source.url),
        stderr=subprocess.PIPE,
    )
    try:
        return process.communicate(timeout=STALL_S)
    except subprocess.TimeoutExpired as cause:
        process.kill()
        process.communicate()
        raise unreadable(
            name, f"cannot be read: ffprobe gave no answer in {STALL_S} s"
        ) from cause


def _found(
    answer: dict[str, Any], tracks: list[dict[str, Any]], *, is_guess: bool
) -> Found:
    track, whole = tracks[0], answer.get("format", {})
    rate = int(track["sample_rate"])
    others = [s for s in answer["streams"] if s is not track and not _is_cover(s)]
    n_samples = _length(track, whole, rate, is_alone=not others, is_guess=is_guess)
    grid, is_lossy = _grid_of(track)
    found = Found(
        rate,
        int(track["channels"]),
        grid,
        is_lossy,
        n_samples,
        _slack(track, whole, rate, is_lossy=is_lossy),
        any(s.get("codec_type") == "video" for s in others),
    )
    found.tags = _tags({**track.get("tags", {}), **whole.get("tags", {})})
    if len(tracks) > 1:
        language = track.get("tags", {}).get("language")
        which = f", {language}," if language not in (None, "und") else ""
        found.remarks.append(
            f"it holds {len(tracks)} sound tracks; the first{which} was separated"
        )
    return found


def _is_cover(stream: dict[str, Any]) -> bool:
    return bool(stream.get("disposition", {}).get("attached_pic"))


def _length(
    track: dict[str, Any],
    whole: dict[str, Any],
    rate: int,
    *,
    is_alone: bool,
    is_guess: bool,
) -> int | None:
    """Count the samples to the track's end; a file is as long as its longest stream."""
    if is_guess:
        return None
    tag = next(
        (t for k, t in track.get("tags", {}).items() if k.startswith("DURATION")), None
    )
    length = _number(track.get("duration"))
    if length is None and tag is not None:
        length = _clock(tag)
    if length is None and is_alone:
        length = _number(whole.get("duration"))
    return None if length is None else round(length * rate)


def _number(text: Any) -> float | None:
    """Read a length; ffprobe says "N/A" too."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < 1e9 else None


def _clock(text: str) -> float | None:
    """Read Matroska's "hh:mm:ss.nnnnnnnnn"."""
    fields = [_number(f"{part}") or 0.0 for part in text.split(":")]
    return fields[0] * 3600 + fields[1] * 60 + fields[2] if len(fields) == 3 else None


def _slack(
    track: dict[str, Any], whole: dict[str, Any], rate: int, *, is_lossy: bool
) -> int:
    """One sample where the container counts samples; else a frame of the codec."""
    counts = track.get("time_base") == f"1/{rate}" and whole.get("format_name") != "caf"
    return 1 if counts and not is_lossy else max(rate // 10, _CODEC_FRAME)


def _tags(found: dict[str, str]) -> dict[str, str]:
    named = ((_NAMES.get(key.lower()), text) for key, text in found.items())
    return {name: str(text) for name, text in named if name and text}


def _grid_of(stream: dict[str, Any]) -> tuple[Grid, bool]:
    """Return the grid, and whether samples are floats without a grid of their own."""
    kind = str(stream.get("sample_fmt", "")).rstrip("p")
    bits = int(_number(stream.get("bits_per_raw_sample")) or 0)
    if kind == "s64":  # the widest integers that stems have
        return GRIDS["32"], False
    if kind in ("u8", "s16", "s32"):
        width = bits or int(kind[1:])
        # Odd widths (ALAC's 20 bits) lie on the next wider grid.
        return GRIDS[next(g for g in ("8", "16", "24", "32") if int(g) >= width)], False
    is_float_pcm = str(stream.get("codec_name")).startswith(("pcm_f", "wavpack"))
    if is_float_pcm and kind == "dbl":
        return GRIDS["double"], False
    return GRIDS["float"], not is_float_pcm
