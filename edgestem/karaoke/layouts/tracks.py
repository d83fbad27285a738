"""One file with the song as it was and its instrumental, to be switched in the player.

For Kodi, Jellyfin, VLC and KaraokeEternal: stream 0 is the instrumental and the only
default (players go by the order or by the flag), stream 1 the original sound, copied,
stream 2 the vocals by choice.  The picture is copied bit by bit.
"""

from __future__ import annotations

from pathlib import Path

from edgestem.files.loop import Progress
from edgestem.karaoke import media
from edgestem.karaoke.items import CDG, SONG, VIDEO, Item
from edgestem.karaoke.layouts.layout import (
    Settings,
    Targets,
    is_newer,
    place,
    scratch,
    wav_stems,
)
from edgestem.karaoke.layouts.pikaraoke import said
from edgestem.karaoke.makers import Maker
from edgestem.karaoke.outputs import Outputs
from edgestem.sound import mp4

_MP4 = ("mp4", "m4v", "mov")
# "No linguistic content": players that cannot switch within one language can then.
_NO_WORDS = "zxx"
_IN_STEP_S = 0.002  # Matroska counts milliseconds
_CODECS = {
    "m4a": ("-c:a:{n}", "aac", "-b:a:{n}", "256k"),
    "alac": ("-c:a:{n}", "alac"),
    "flac": ("-c:a:{n}", "flac"),
    "ogg": ("-c:a:{n}", "libvorbis", "-q:a:{n}", "7"),
}


class Tracks:
    """A layout of MKV and MP4 files with titled tracks."""

    def __init__(self, settings: Settings) -> None:
        if settings.out is None:
            raise ValueError("this layout needs a folder to write to: -o DIR")
        if settings.file_format not in (None, "m4a", "alac", "flac", "ogg"):
            raise ValueError("this layout holds m4a, alac, flac or ogg")
        self._settings = settings

    def takes(self, item: Item) -> bool:
        """Take songs and videos."""
        return item.kind in (SONG, VIDEO, CDG)

    def targets(self, item: Item) -> Targets:
        """Name the file: MP4 stays MP4, all else becomes Matroska."""
        end = "mka"
        if item.kind == VIDEO:
            end = "mp4" if self._is_mp4(item) else "mkv"
        return {"tracks": place(item, self._settings) / f"{item.path.stem}.{end}"}

    def _is_mp4(self, item: Item) -> bool:
        fits = self._settings.file_format in (None, "m4a", "alac")
        return fits and item.path.suffix[1:].lower() in _MP4

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
        """Write the file."""
        found = media.probe(item.path)
        target = targets["tracks"]
        is_mp4 = target.suffix == ".mp4"
        wanted = ("instrumental",) + ("vocals",) * self._settings.with_vocals
        with scratch() as folder:
            stems = wav_stems(folder, wanted)
            maker.write(item.path, stems, "wav", item.relative, progress)
            kind = self._settings.file_format or ("m4a" if is_mp4 else "ogg")
            inputs: tuple[str, ...] = ()
            for stem in stems.values():
                inputs += media.source(stem, start_s=found.lead_s)
            words = _words(kind, len(stems), is_mp4=is_mp4)
            with Outputs(targets) as files:
                fd = files.fileno("tracks")
                slips = found.codec == "opus" and found.n_pictures > 0
                _mux(item.path, inputs, words, fd, slips=slips)
                if is_mp4:
                    mp4.mark(files.file("tracks"), said("tracks"))
                files.commit()


def _mux(
    path: Path, stems: tuple[str, ...], words: tuple[str, ...], fd: int, *, slips: bool
) -> None:
    """Write the file; once more where the copied sound fell out of step."""
    media.mux(path, (*media.source(path), *media.source(path), *stems), words, fd)
    slip = media.slip(path, fd, "a:1") if slips else 0.0
    if abs(slip) > _IN_STEP_S:
        again = media.source(path) + media.source(path, start_s=slip)
        media.mux(path, again + stems, words, fd)


def _words(kind: str, n_stems: int, *, is_mp4: bool) -> tuple[str, ...]:
    """Say to ffmpeg what goes where, and what it is called."""
    words = ["-map", "0:v?", "-map", "2:a:0", "-map", "1:a:0"]
    words += ["-map", "3:a:0"] * (n_stems > 1) + ["-map", "0:s?"]
    words += [] if is_mp4 else ["-map", "0:t?"]
    words += ["-map_metadata", "0", "-map_chapters", "0", "-c", "copy"]
    for n in (0, *((2,) if n_stems > 1 else ())):
        words += [word.format(n=n) for word in _CODECS[kind]]
    titles = ("Instrumental", "With vocals", "Vocals")[: 1 + n_stems]
    for n, title in enumerate(titles):
        words += [f"-disposition:a:{n}", "default" if n == 0 else "0"]
        words += [f"-metadata:s:a:{n}", f"title={title}"]
        words += [f"-metadata:s:a:{n}", f"handler_name={title}"]
    words += ["-metadata:s:a:0", f"language={_NO_WORDS}"]
    words += ["-metadata", f"ENCODED_BY={said('tracks')}"]
    words += ["-fflags", "+bitexact"]  # no random numbers: equal runs are equal
    return (*words, "-f", "mp4" if is_mp4 else "matroska")
