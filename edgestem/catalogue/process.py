"""A worker process as its owner sees it: a song goes in, an answer comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgestem.catalogue.failure import AGAIN, Failure
from edgestem.catalogue.identity import Recipe
from edgestem.catalogue.listing import Song
from edgestem.files.coworker import Coworker, Message


def first_message(
    out: Path,
    recipe: Recipe,
    token: str,
    *,
    lease_s: float,
    is_alone: bool,
    host: str,
) -> Message:
    """Say to a worker what is asked for, before its first song."""
    if recipe.model.endswith(".tflite"):  # the worker starts in another folder
        path = str(Path(recipe.model).absolute())
        recipe = Recipe.from_json(asdict(recipe) | {"model": path})
    return {
        "out": str(out.absolute()),
        "store": str((out / ".edgestem").absolute()),
        "recipe": asdict(recipe),
        "token": token,
        "lease_s": lease_s,
        "is_alone": is_alone,
        "host": host,
    }


class Worker(Coworker):
    """One process with one loaded model.

    Parameters
    ----------
    first : mapping
        What `first_message` gave.

    Attributes
    ----------
    song : Song or None
        What it works on.
    n_done : int
        Songs that it has answered.
    """

    def __init__(self, first: Mapping[str, Any]) -> None:
        super().__init__("edgestem.catalogue.worker", first)
        self.song: Song | None = None
        self.is_ready = False
        self.n_done = 0

    def give(self, song: Song, *, redo: bool) -> None:
        """Let it do a song."""
        self.song = song
        names = {"source": song.source, "name": song.name, "folder": song.folder}
        self.send({**names, "redo": redo})

    def obituary(self) -> Failure:
        """Say how a process ended that should not have."""
        return Failure("worker_died", self.last_words(), AGAIN)
