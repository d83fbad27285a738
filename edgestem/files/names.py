"""Names of stems made from a template: `{artist} - {title} ({stem}).{ext}`.

A name lies below the output folder, whatever the tags of a song say; a template that
could leave it, or that gives one name to two stems, is refused before any work.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgestem.sound.formats import extension

FIELDS = ("song", "stem", "ext", "artist", "title", "album", "track", "folder")
_FROM_TAGS = {"artist", "title", "album", "track"}
_UNKNOWN = {"artist": "Unknown artist", "album": "Unknown album", "track": "00"}
# What FAT and Windows shares refuse in names; tags hold it often.
_UNFIT = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]')
# What Windows takes for a device, whatever stands behind a dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³]) *(\.|$)", re.I)
MAX_VALUE = 100  # bytes of a tag in a name: two, a stem and a format fit into 255


def song_name(path: str | Path) -> str:
    """Name of a song's folder: the file's name without its extension."""
    if str(path) == "-":
        return "stdin"
    path = Path(path)
    return path.name if path.stem in ("", ".", "..") else path.stem


class NameTemplate:
    """A checked template.

    Parameters
    ----------
    template : str
        With fields of `FIELDS` in braces; {{ and }} are braces.

    Raises
    ------
    ValueError
        The template makes no sense; the sentence says why.
    """

    def __init__(self, template: str) -> None:
        self.template = template
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as cause:
            raise ValueError(f"--name {template}: {cause}") from cause
        self.fields = {name for _, name, _, _ in parts if name is not None}
        for name in sorted(self.fields - set(FIELDS)):
            raise _wrong(template, f"no field {{{name}}}; there are {_listed()}")
        if any(spec or conversion for _, _, spec, conversion in parts):
            raise _wrong(template, "a field is a word in braces, nothing more")
        if not template.endswith(".{ext}"):
            raise _wrong(template, "it has to end with .{ext}")
        pieces = template.split("/")
        if template.startswith("/") or {"", ".", ".."} & set(pieces):
            raise _wrong(template, "it would leave the output folder")
        if template.startswith("."):
            raise _wrong(template, "the files would be hidden")

    def check(self, stems: Iterable[str]) -> None:
        """Refuse to give one name to several stems.

        Raises
        ------
        ValueError
            There is no {stem} in it.
        """
        if len(tuple(stems)) > 1 and "stem" not in self.fields:
            raise _wrong(self.template, "both stems would have one name: add {stem}")

    def targets(
        self,
        out_dir: Path,
        path: str,
        *,
        folder: Path,
        stems: tuple[str, ...],
        file_format: str,
    ) -> dict[str, Path]:
        """Name the file of each stem of a song.

        Parameters
        ----------
        folder : Path
            Where the song lies in the folder that was named: {folder}.
        """
        song = path if path == "-" else Path(path).stem or Path(path).name
        values = {
            "song": _clean("stdin" if song == "-" else song, is_tag=False),
            "ext": extension(file_format),
            **self._values(path),
        }
        values.setdefault("title", values["song"])
        place = "/".join(p for p in folder.parts if p not in (".", "..", "/"))
        return {
            stem: _below(out_dir, self._render(values | {"stem": stem}, place))
            for stem in stems
        }

    def _values(self, path: str) -> dict[str, str]:
        """Read the tags that the template asks for."""
        if path == "-" or not self.fields & _FROM_TAGS:
            return dict(_UNKNOWN)
        from edgestem.sound.reading import open_song

        song = open_song(path)
        song.close()
        return dict(_UNKNOWN) | tag_values(song.tags)

    def _render(self, values: Mapping[str, str], folder: str) -> str:
        """Fill the fields; a {folder} of nothing leaves no empty part."""
        text = self.template.format_map({**values, "folder": folder or "."})
        return "/".join(map(_no_device, os.path.normpath(text).split("/")))


def tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    """Give the fields that a song's tags have, fit for names."""
    found = {name: tags.get(name, "") for name in ("artist", "title", "album")}
    track = re.match(r"\d+", tags.get("tracknumber", "").strip())
    found["track"] = f"{int(track[0]):02}" if track else ""
    return {name: text for name, v in found.items() if (text := _clean(v, is_tag=True))}


def _clean(text: str, *, is_tag: bool) -> str:
    """Make a part of a file's name; of a file's own name only what breaks paths."""
    if not is_tag:
        return text.replace("/", "_")
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _UNFIT.sub("_", " ".join(text.split()))
    # A character that is cut in the middle goes as a whole.
    return text.encode("utf-8")[:MAX_VALUE].decode("utf-8", "ignore").strip(" .")


def _no_device(part: str) -> str:
    """Keep a part of a path from being one of Windows' devices: Aux becomes Aux_."""
    match = _DEVICES.match(part)
    return f"{match[1]}_{part[match.end(1) :]}" if match else part


def _below(out_dir: Path, name: str) -> Path:
    """Put a name below a folder; the template was checked, so it stays there."""
    assert not name.startswith(("/", "../")), name
    return out_dir / name


def _wrong(template: str, why: str) -> ValueError:
    return ValueError(f"--name {template}: {why}")


def _listed() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)
