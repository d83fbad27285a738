"""PiKaraoke: a sibling "<song> (Instrumental)" that it lists as a song of its own.

It knows no stems.  Videos keep their picture, copied bit by bit, and have one sound
track, the instrumental.  MP3+G, as a pair or in a zip, keeps its .cdg: the new mp3 has
the old one's length and its start, and a CDG has no other clock.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import BinaryIO

from edgestem.errors import AudioError
from edgestem.files.loop import Progress
from edgestem.karaoke import media
from edgestem.karaoke.archive import find_pair, write_pair
from edgestem.karaoke.items import CDG, VIDEO, ZIP, Item
from edgestem.karaoke.layouts.layout import (
    Settings,
    Targets,
    is_newer,
    place,
    scratch,
    sound_of,
    wav_stems,
)
from edgestem.karaoke.makers import Maker
from edgestem.karaoke.outputs import Outputs
from edgestem.sound import mp4
from edgestem.sound.tags import MARK
from edgestem.version import __version__

# The ways in which PiKaraoke writes YouTube's id behind a name.
_ID = re.compile(r"(---[\w-]{11}| \[[\w-]{11}\])$")
_MP4 = ("mp4", "m4v", "mov")  # what else there is becomes Matroska
_WORD = " (Instrumental)"  # PiKaraoke leaves it out of the title that it shows


class PiKaraoke:
    """A layout of siblings, or of a folder like the library."""

    def __init__(self, settings: Settings) -> None:
        if settings.file_format is not None:
            raise ValueError("this layout chooses its formats: leave out --format")
        self._settings = settings

    def takes(self, item: Item) -> bool:
        """Take what it plays; a song without a picture is not on its list."""
        return item.kind in (VIDEO, CDG, ZIP)

    def targets(self, item: Item) -> Targets:
        """Name the sibling; YouTube's id stays at the end."""
        stem = item.path.stem
        match = _ID.search(stem)
        tail = match[0] if match else ""
        base = place(item, self._settings) / (stem.removesuffix(tail) + _WORD + tail)
        if item.kind == CDG:
            return {"instrumental": _with(base, "mp3"), "cdg": _with(base, "cdg")}
        if item.kind == ZIP:
            return {"zip": _with(base, "zip")}
        is_mp4 = item.path.suffix[1:].lower() in _MP4
        return {"video": _with(base, "mp4" if is_mp4 else "mkv")}

    def is_done(self, item: Item, targets: Targets) -> bool:
        """Compare the times of the files."""
        return is_newer(item.path, targets)

    def write(
        self,
        item: Item,
        targets: Targets,
        maker: Maker,
        progress: Progress | None = None,
    ) -> None:
        """Write the sibling."""
        if item.kind == VIDEO:
            self._write_video(item, targets, maker, progress)
        else:
            self._write_cdg(item, targets, maker, progress)

    def _write_video(
        self,
        item: Item,
        targets: Targets,
        maker: Maker,
        progress: Progress | None,
    ) -> None:
        found = media.probe(item.path)
        if found.n_pictures == 0:
            raise AudioError(
                f"{item.path} has no picture: PiKaraoke would not play it",
                code="unsupported_format",
                path=str(item.path),
            )
        with scratch() as folder:
            stems = wav_stems(folder, ("instrumental",))
            maker.write(item.path, stems, "wav", item.relative, progress)
            target = targets["video"]
            inputs = media.source(item.path)
            inputs += media.source(stems["instrumental"], start_s=found.lead_s)
            with Outputs(targets) as files:
                words = video_words(is_mp4=target.suffix == ".mp4")
                media.mux(item.path, inputs, words, files.fileno("video"))
                if target.suffix == ".mp4":
                    mp4.mark(files.file("video"), said("instrumental"))
                files.commit()

    def _write_cdg(
        self,
        item: Item,
        targets: Targets,
        maker: Maker,
        progress: Progress | None,
    ) -> None:
        with scratch() as folder, sound_of(item) as song:
            stem = folder / "instrumental.mp3"
            made = {"instrumental": stem}
            maker.write(song, made, "mp3", item.relative, progress)
            with Outputs(targets) as files:
                if item.kind == ZIP:
                    zipped = files.file("zip")
                    base = targets["zip"].stem
                    pair = find_pair(item.path)
                    write_pair(zipped, item.path, pair, stem, base, "instrumental")
                else:
                    _copy(stem, files.file("instrumental"))
                    assert item.cdg is not None
                    _copy(item.cdg, files.file("cdg"))
                files.commit()


def video_words(*, is_mp4: bool) -> tuple[str, ...]:
    """Say to ffmpeg: the picture as it is, and one sound track.

    AAC at 256 kbit/s, for PiKaraoke encodes it once more; in Matroska Vorbis, as
    AAC and Opus would be 23 and 7 ms out of step there.
    """
    codec = ("-c:a", "aac", "-b:a", "256k", "-f", "mp4")
    if not is_mp4:
        codec = ("-c:a", "libvorbis", "-q:a", "7", "-f", "matroska")
    return (
        *("-map", "0:v", "-map", "1:a:0", "-map", "0:s?", "-map_chapters", "0"),
        *("-map_metadata", "0", "-c:v", "copy", "-c:s", "copy", *codec),
        *("-fflags", "+bitexact"),  # no random numbers: equal runs are equal
        *("-metadata:s:a:0", "title=Instrumental"),
        *("-metadata", f"ENCODED_BY={said('instrumental')}"),
    )


def said(stem: str) -> str:
    """Write the mark of what edgestem made."""
    return f"{MARK}{__version__}, {stem}"


def _with(base: Path, extension: str) -> Path:
    return base.with_name(f"{base.name}.{extension}")


def _copy(source: Path, file: BinaryIO) -> None:
    with source.open("rb") as opened:
        shutil.copyfileobj(opened, file, 1 << 20)
    file.flush()
