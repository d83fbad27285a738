"""A song of a set, and which one of them is heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from edgestem.play.chain import Chain, SongSettings


@dataclass(slots=True)
class Item:
    """A song of the set."""

    path: Path
    settings: SongSettings = field(default_factory=SongSettings)
    title: str = ""
    """What the set list calls it; empty: what its tags or its file say."""
    is_followed: bool = False
    """The next song begins where it ends, without a gap."""
    vocals_db: float | None = None
    """Where the vocals' fader goes when it is selected; None: it stays."""
    instrumental_db: float | None = None
    """The same of the instrumental's fader."""
    midi: tuple[bytes, ...] = ()
    """Messages that are sent when it is selected."""
    number: int = 0
    """Which song of the set list's file it is, from 0."""


class Mark(NamedTuple):
    """From this frame of the ring on it is this chain that is heard."""

    frame: int
    chain: Chain
    song: int
