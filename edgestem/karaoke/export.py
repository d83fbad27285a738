"""Items into a layout, one after the other: what is there and current is passed over.

Nothing that edgestem did not make is ever replaced, unless that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgestem.errors import AudioError
from edgestem.files.loop import Progress
from edgestem.files.spelling import Owners
from edgestem.karaoke.items import ZIP, Item
from edgestem.karaoke.layouts.layout import Layout, Targets, is_own
from edgestem.karaoke.makers import Maker


@dataclass(slots=True)
class Job:
    """One item and its files."""

    item: Item
    targets: Targets = field(default_factory=dict)
    problem: AudioError | None = None
    """Why nothing can be made of it."""
    is_done: bool = False
    """All is there."""


class Export:
    """A layout, and who makes the stems.

    Parameters
    ----------
    layout : Layout
    maker : Maker
    is_forced : bool
        Make everything anew, and replace what others made.
    """

    def __init__(
        self, layout: Layout, maker: Maker, *, is_forced: bool = False
    ) -> None:
        self.layout, self._maker, self._is_forced = layout, maker, is_forced

    def plan(
        self, items: list[Item], owners: Owners[Path] | None = None
    ) -> Iterator[Job]:
        """Yield a job for each item that the layout takes, in their order.

        Two items that would write one file are a problem of the second; `owners` are
        files of items that were planned before.
        """
        owners = Owners() if owners is None else owners
        for item in items:
            try:
                if not self.layout.takes(item):
                    continue
                job = Job(item, self.layout.targets(item))
                self._check(job, owners)
            except AudioError as problem:
                yield Job(item, problem=problem)
                continue
            for target in job.targets.values():
                owners.add(target, item.path)
            yield job

    def _check(self, job: Job, owners: Owners[Path]) -> None:
        """See what is there already.

        Raises
        ------
        AudioError
            `same_name`, or `exists`: somebody else's.
        """
        item, targets = job.item, job.targets
        for target in targets.values():
            owner = owners.find(target)
            if owner is not None and owner != item.path:
                raise _same_name(owner, item.path, target)
            if target.exists() and target.samefile(item.path):
                raise _own_song(item.path)
        job.is_done = not self._is_forced and self.layout.is_done(item, targets)
        if job.is_done or self._is_forced:
            return
        there = [target for target in targets.values() if target.exists()]
        others = [target for target in there if not is_own(target)]
        if others and len(there) == len(targets):
            job.is_done = True  # somebody's own instrumental, older than the song
        elif others:
            raise _exists(others[0])

    def write(self, job: Job, progress: Progress | None = None) -> list[str]:
        """Make the files of a job; return what a person should know of the song.

        Raises
        ------
        EdgestemError
            Nothing was written.
        """
        self._maker.warnings.clear()
        self.layout.write(job.item, job.targets, self._maker, progress)
        path = job.item.path
        if job.item.kind != ZIP:
            return list(self._maker.warnings)
        inside = re.compile(rf"\S*/{re.escape(path.stem)}\.mp3")  # unpacked, and gone
        return [inside.sub(lambda _: str(path), w) for w in self._maker.warnings]


def _same_name(owner: Path, path: Path, target: Path) -> AudioError:
    return AudioError(
        f"{owner} and {path} would both be written to {target}: choose --layout "
        "folders, or export them to two folders",
        code="same_name",
        path=str(path),
    )


def _own_song(path: Path) -> AudioError:
    return AudioError(
        f"{path} would be replaced by what is made of it: choose another -o",
        code="exists",
        path=str(path),
    )


def _exists(target: Path) -> AudioError:
    return AudioError(
        f"{target} exists and edgestem did not make it; use --force to replace it",
        code="exists",
        path=str(target),
    )
