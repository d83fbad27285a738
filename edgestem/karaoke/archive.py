"""MP3+G in a zip: one .mp3 and one .cdg of the same name; nothing else is trusted."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from edgestem.errors import AudioError
from edgestem.sound.tags import MARK
from edgestem.version import __version__

MAX_SONG = 512 << 20  # bytes of what is unpacked: ten hours of mp3
MAX_CDG = 256 << 20  # bytes: CD+G has 7,200 a second, so that is ten hours as well
_MAX_MEMBERS = 1000  # a zip of songs is no song


@dataclass(frozen=True, slots=True)
class Pair:
    """The two members of an archive."""

    song: zipfile.ZipInfo
    cdg: zipfile.ZipInfo


def find_pair(path: Path) -> Pair:
    """Find the song and its picture in a zip.

    Raises
    ------
    AudioError
        `unreadable`: no such pair, several of them, or a bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as cause:
        raise _unfit(path, f"is no zip that can be read: {cause}") from cause
    if len(members) > _MAX_MEMBERS:
        raise _unfit(path, f"holds {len(members)} files, not an MP3+G song")
    songs = [m for m in members if _suffix(m) == ".mp3"]
    pictures = [m for m in members if _suffix(m) == ".cdg"]
    if len(songs) != 1 or len(pictures) != 1:
        raise _unfit(path, "does not hold one .mp3 and one .cdg: unpack it")
    pair = Pair(songs[0], pictures[0])
    if pair.song.file_size > MAX_SONG or pair.cdg.file_size > MAX_CDG:
        raise _unfit(path, "would unpack to hundreds of megabytes: it was left alone")
    return pair


def unpack_song(path: Path, pair: Pair, target: Path) -> None:
    """Write the song of an archive to a file of ours.

    Raises
    ------
    AudioError
        `unreadable`: damaged, encrypted, or longer than it says.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(pair.song) as source,
            target.open("wb") as file,
        ):
            _copy(source, file, MAX_SONG)
    except (OSError, ValueError, RuntimeError, EOFError) as cause:
        raise _unfit(path, f"cannot be unpacked: {cause}") from cause
    except Exception as cause:  # zlib.error, BadZipFile: the archive is a stranger's
        raise _unfit(path, f"is damaged: {cause}") from cause


def write_pair(
    file: BinaryIO, source: Path, pair: Pair, song: Path, base: str, stem: str
) -> None:
    """Write an archive of a new song and the old picture, both named `base`.

    Raises
    ------
    AudioError
        `unreadable`: the old archive is damaged.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with song.open("rb") as sound:
            member = _member(f"{base}.mp3", zipfile.ZIP_STORED, pair.song)
            with archive.open(member, "w") as copy:
                _copy(sound, copy, MAX_SONG)
        try:
            with (
                zipfile.ZipFile(source) as old,
                old.open(pair.cdg) as picture,
                archive.open(
                    _member(f"{base}.cdg", zipfile.ZIP_DEFLATED, pair.cdg), "w"
                ) as copy,
            ):
                _copy(picture, copy, MAX_CDG)
        except zipfile.BadZipFile as cause:
            raise _unfit(source, f"is damaged: {cause}") from cause
        archive.comment = f"{MARK}{__version__}, {stem}".encode("ascii")


def is_marked_zip(path: Path) -> bool:
    """Say whether an archive is one of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.startswith(MARK.encode("ascii"))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def _member(name: str, kind: int, like: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Make the head of a member, with the old one's time: equal runs are equal."""
    member = zipfile.ZipInfo(name, like.date_time)
    member.compress_type = kind
    return member


def _suffix(member: zipfile.ZipInfo) -> str:
    name = PurePosixPath(member.filename)
    hidden = name.name.startswith(".") or "__MACOSX" in name.parts
    return "" if member.is_dir() or hidden else name.suffix.lower()


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    """Copy at most `limit` bytes, whatever the archive says of itself."""
    n_left = limit
    while data := source.read(1 << 20):
        n_left -= len(data)
        if n_left < 0:
            raise ValueError("it is longer than it says")
        target.write(data)


def _unfit(path: Path, what: str) -> AudioError:
    return AudioError(f"{path} {what}", code="unreadable", path=str(path))
