"""The layouts by their names."""

from __future__ import annotations

from collections.abc import Callable

from edgestem.karaoke.layouts.layout import Layout, Settings
from edgestem.karaoke.layouts.ni_stems import NiStems
from edgestem.karaoke.layouts.pikaraoke import PiKaraoke
from edgestem.karaoke.layouts.sounds import Flat, Folders, OpenHome, Performous
from edgestem.karaoke.layouts.tracks import Tracks
from edgestem.karaoke.layouts.ultrastar import UltraStar

LAYOUTS: dict[str, Callable[[Settings], Layout]] = {
    "folders": Folders,
    "flat": Flat,
    "ultrastar": UltraStar,
    "openhome": OpenHome,
    "pikaraoke": PiKaraoke,
    "performous": Performous,
    "yarg": Performous,
    "tracks": Tracks,
    "stems": NiStems,
}


def make_layout(name: str, settings: Settings) -> Layout:
    """Make a layout.

    Raises
    ------
    ValueError
        The settings do not fit it; the sentence says why.
    """
    if settings.name is not None and name not in ("folders", "flat"):
        raise ValueError(f"the layout {name} has names of its own: leave out --name")
    if settings.with_vocals and name != "tracks":
        raise ValueError("--with-vocals belongs to the layout tracks")
    return LAYOUTS[name](settings)
