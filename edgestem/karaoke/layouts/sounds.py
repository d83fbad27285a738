"""Layouts of sound files alone: folders, flat, OpenHomeKaraoke, Performous, YARG."""

from __future__ import annotations

from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.loop import Progress
from edgestem.files.names import NameTemplate
from edgestem.karaoke.items import CDG, SONG, VIDEO, ZIP, Item
from edgestem.karaoke.layouts.layout import Settings, Targets, is_newer, sound_of
from edgestem.karaoke.makers import Maker
from edgestem.sound.formats import ALL_CONTAINERS, extension
from edgestem.stems import STEMS


class Sounds:
    """A layout whose files are stems under other names.

    Parameters
    ----------
    formats : tuple of str
        What its programs read; the first is the default.
    """

    def __init__(self, settings: Settings, formats: tuple[str, ...]) -> None:
        self.file_format = settings.file_format or formats[0]
        if self.file_format not in formats:
            raise ValueError(
                f"this layout is read as {', '.join(formats)}, not {self.file_format}"
            )
        self._settings = settings

    def takes(self, item: Item) -> bool:
        """Take whatever has sound; a text's song is an item of its own."""
        return item.kind in (SONG, VIDEO, CDG, ZIP)

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
        """Write the stems."""
        with sound_of(item) as song:
            maker.write(song, targets, self.file_format, item.relative, progress)

    def targets(self, item: Item) -> Targets:
        """Name the stems of an item."""
        raise NotImplementedError


class Folders(Sounds):
    """OUT/<folders>/<song>/instrumental.mp3 and vocals.mp3, or a template's names."""

    template = "{folder}/{song}/{stem}.{ext}"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, ("mp3", *(f for f in ALL_CONTAINERS if f != "mp3")))
        if settings.out is None:
            raise ValueError("this layout needs a folder to write to: -o DIR")
        self._template = NameTemplate(settings.name or self.template)
        self._template.check(STEMS)

    def targets(self, item: Item) -> Targets:
        """Name the stems of an item."""
        assert self._settings.out is not None
        return self._template.targets(
            self._settings.out,
            str(item.path),
            folder=item.relative,
            stems=STEMS,
            file_format=self.file_format,
        )


class Flat(Folders):
    """OUT/<song> (instrumental).mp3: thirty songs, thirty names."""

    template = "{song} ({stem}).{ext}"


class OpenHome(Sounds):
    """OpenHomeKaraoke: nonvocal/<file>.m4a and vocal/<file>.m4a in its song folder."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, ("m4a",))

    def targets(self, item: Item) -> Targets:
        """Name the stems of an item; the program looks for the file's whole name."""
        folder = self._settings.out or item.root
        name = f"{item.path.name}.m4a"
        return {
            "instrumental": folder / "nonvocal" / name,
            "vocals": folder / "vocal" / name,
        }


class Performous(Sounds):
    """Performous, YARG, Clone Hero: <song>/song.ogg and vocals.ogg, which sum to it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, ("ogg", "opus", "mp3"))
        if settings.out is None:
            raise ValueError("this layout needs a folder to write to: -o DIR")

    def targets(self, item: Item) -> Targets:
        """Name the stems of an item; a file song.* is named by its folder."""
        assert self._settings.out is not None
        folder = self._settings.out / item.relative
        if item.path.stem.lower() not in ("song", "songs"):
            folder /= item.path.stem
        elif item.relative == Path():
            raise AudioError(
                f"{item.path} is named by its folder: name the folder above it",
                code="same_name",
                path=str(item.path),
            )
        end = extension(self.file_format)
        return {
            "instrumental": folder / f"song.{end}",
            "vocals": folder / f"vocals.{end}",
        }
