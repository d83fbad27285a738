"""Native Instruments' `.stem.mp4`, for Mixxx and Traktor: one mix and four stems.

Five stereo streams of one rate and length; only the mix is a default track.  What the
four are is said as JSON in the box moov/udta/stem.  Two slots are silent: there are
two stems.
"""

from __future__ import annotations

import json
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
from edgestem.sound.covers import read_covers
from edgestem.sound.extras import boxes, read_extras, with_artists
from edgestem.sound.reading import open_song
from edgestem.sound.tags import stem_tags
from edgestem.stems import STEMS

_MAX_RATE = 48_000  # Hz: Traktor's
_SILENT = "-"
# Names and colours of the slots; the colours are stemgen's.
_SLOTS = (
    (_SILENT, "#009E73"),
    (_SILENT, "#D55E00"),
    ("Instrumental", "#CC79A7"),
    ("Vocals", "#56B4E9"),
)
# What stem players do to the sum unless they are told not to.
_DSP = {
    "compressor": {
        "enabled": False,
        "ratio": 3,
        "output_gain": 0.5,
        "release": 0.3,
        "attack": 0.003,
        "input_gain": 0.5,
        "threshold": 0,
        "hp_cutoff": 300,
        "dry_wet": 50,
    },
    "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
}
# The mix is the sum of both stems: that is the song, to the bit (the mixture law).
_GRAPH = (
    "[0:a]aformat=channel_layouts=stereo,asplit=3[v0][v][v1];"
    "[1:a]aformat=channel_layouts=stereo,asplit=2[i0][i];"
    "[v0][i0]amix=inputs=2:normalize=0[mix];"
    "[v1]volume=0,asplit=2[s1][s2]"
)


class NiStems:
    """A layout of `.stem.mp4` files."""

    def __init__(self, settings: Settings) -> None:
        if settings.out is None:
            raise ValueError("this layout needs a folder to write to: -o DIR")
        if settings.file_format not in (None, "m4a", "alac"):
            raise ValueError(
                "this layout holds m4a (AAC), or alac, which Traktor on Windows "
                "does not open"
            )
        self._settings = settings

    def takes(self, item: Item) -> bool:
        """Take songs, and the sound of videos."""
        return item.kind in (SONG, CDG, VIDEO)

    def targets(self, item: Item) -> Targets:
        """Name the file."""
        folder = place(item, self._settings)
        return {"stems": folder / f"{item.path.stem}.stem.mp4"}

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
        with scratch() as folder:
            stems = wav_stems(folder, STEMS)
            maker.write(item.path, stems, "wav", item.relative, progress)
            rate = _rate_of(stems["vocals"])
            inputs = media.source(stems["vocals"])
            inputs += media.source(stems["instrumental"])
            words = self._words(min(rate, _MAX_RATE))
            with Outputs(targets) as files:
                media.mux(item.path, inputs, words, files.fileno("stems"))
                udta = user_data(item.path)
                mp4.replace_user_data(files.file("stems"), udta)
                files.commit()

    def _words(self, rate: int) -> tuple[str, ...]:
        is_alac = self._settings.file_format == "alac"
        codec = ("-c:a", "alac") if is_alac else ("-c:a", "aac", "-b:a", "256k")
        tracks = [word for n in range(1, 5) for word in (f"-disposition:a:{n}", "0")]
        return (
            *("-filter_complex", _GRAPH, "-map", "[mix]", "-map", "[s1]"),
            *("-map", "[s2]", "-map", "[i]", "-map", "[v]", "-map_metadata", "-1"),
            *("-ar", str(rate), "-ac", "2", *codec),
            *("-disposition:a:0", "default", *tracks, "-f", "ipod"),
        )


def user_data(song: Path) -> bytes:
    """Make the `udta` box: the song's tags and covers, and what the streams are."""
    opened = open_song(song)
    opened.close()
    tags = stem_tags(opened.tags, "stems")
    if "title" in opened.tags:
        tags["title"] = opened.tags["title"]  # it is the whole song
    tags["software"] = said("stems")
    covers = [(cover.mime, cover.data) for cover in read_covers(song)]
    extras = read_extras(song)  # tempo and key: it is a DJ's file
    tags = with_artists(tags, extras)
    return mp4.user_data(tags, covers, stem=manifest(), more=boxes(extras))


def manifest() -> bytes:
    """Make the JSON of the `stem` box."""
    stems = [{"name": name, "color": colour} for name, colour in _SLOTS]
    found = {"version": 1, "mastering_dsp": _DSP, "stems": stems}
    return json.dumps(found).encode("ascii")


def _rate_of(path: Path) -> int:
    song = open_song(path)
    song.close()
    return song.sample_rate
