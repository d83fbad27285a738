"""A folder that is kept in a layout: what is new or changed, once it has settled.

A look finds what is new, whoever says when to look (`changes`).  An item is ready when
its files have not moved for a while and no download of its name goes on beside it.
Nothing is ever deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.files.loop import Progress
from edgestem.files.spelling import Owners
from edgestem.karaoke.export import Export, Job
from edgestem.karaoke.items import TEXT, Item, find_items, time_of
from edgestem.karaoke.layouts.ultrastar import sibling, song_name
from edgestem.karaoke.state import Entry, Sign, State

# How programs call a download beside its place.
_PARTIAL = (".part", ".ytdl", ".crdownload", ".tmp", ".filepart", "~")
_FEW = 4  # known songs, below which a vanished half means nothing
# Faults of an item, which stay until it changes; all others are tried again.
_LASTING = frozenset(
    "unreadable exists same_name unsupported_format unsupported_sample_rate "  # noqa: SIM905
    "unsupported_channels stems_differ no_stems".split()
)
Tell = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Scan:
    """What one look at the folder showed."""

    ready: list[tuple[Item, Sign]] = field(default_factory=list)
    n_items: int = 0
    n_settling: int = 0
    """New or changed, and not at rest yet."""
    n_gone: int = 0
    """Known, and not there any more."""
    is_held: bool = False
    """So much is gone that the disk may be: nothing is done."""
    folders: list[Path] = field(default_factory=list)
    """Those that were looked into."""


class Watch:
    """Looks, and does what is ready.

    Parameters
    ----------
    export : Export
    root : Path
        The folder.
    out_dir : Path
        Where stems of earlier runs are known by their names; see `find_items`.
    state : State
    settle_s : float
        How long an item has to rest; it may be set anew between two looks.
    tell : callable
        Called with events: scan, begin, written, there, failed, trouble, hold.
    """

    def __init__(
        self,
        export: Export,
        root: Path,
        out_dir: Path,
        state: State,
        *,
        settle_s: float,
        tell: Tell,
    ) -> None:
        self._export, self._root, self._out_dir = export, root, out_dir
        self._state, self.settle_s, self._tell = state, settle_s, tell
        self._seen: dict[Path, tuple[Sign, float]] = {}
        self._owners: Owners[Path] = Owners()
        for path, entry in state.entries.items():
            for output in entry.outputs:
                self._owners.add(Path(output), Path(path))

    def look(self) -> Scan:
        """Look at the folder once."""
        scan = Scan()
        try:
            library = find_items([str(self._root)], self._out_dir)
        except OSError:
            library = None
        items = library.items if library is not None else []
        scan.folders = library.folders if library is not None else []
        there = {str(item.path) for item in items}
        known = {path for path, e in self._state.entries.items() if not e.problem}
        scan.n_items, scan.n_gone = len(items), len(known - there)
        is_broken = library is None or bool(library.problems)
        is_much = len(known) >= _FEW and 2 * scan.n_gone > len(known)
        scan.is_held = not self._root.is_dir() or is_much
        if not scan.is_held:
            if not is_broken:
                self._forget(there)
            self._sort(items, scan)
        said = {"items": scan.n_items, "ready": len(scan.ready), "gone": scan.n_gone}
        said["settling"] = scan.n_settling
        self._tell({"event": "hold" if scan.is_held else "scan", **said})
        return scan

    def _forget(self, there: set[str]) -> None:
        for path in [p for p in self._state.entries if p not in there]:
            for output in self._state.entries[path].outputs:
                self._owners.remove(Path(output))
            self._state.forget(path)

    def _sort(self, items: list[Item], scan: Scan) -> None:
        now, seen = time.monotonic(), self._seen
        self._seen = {}
        for item in items:
            sign = sign_of(item)
            entry = self._state.entries.get(str(item.path))
            if entry is not None and entry.sign == sign:
                continue
            before, since = seen.get(item.path, (None, now))
            since = since if before == sign else now
            self._seen[item.path] = sign, since
            if self._is_settled(item, sign, now - since):
                scan.ready.append((item, sign))
            else:
                scan.n_settling += 1

    def _is_settled(self, item: Item, sign: Sign, rested_s: float) -> bool:
        """See that nothing moved, by our own clock or by the disk's."""
        if not sign or any(_is_partial(item.path, end) for end in _PARTIAL):
            return False
        age_s = time.time() - max(sign[1::2]) / 1e9
        return rested_s >= self.settle_s or age_s >= self.settle_s

    def do(self, item: Item, sign: Sign, progress: Progress | None = None) -> str:
        """Do one item; return "written", "there", "failed", "later" or "other".

        Raises
        ------
        AudioError
            `unwritable`: the state cannot be kept.
        """
        if sign_of(item) != sign:
            return "later"  # it changed while it waited
        job = next(self._export.plan([item], self._owners), None)
        if job is None:
            self._state.add(item.path, Entry(sign))
            return "other"
        error: EdgestemError | None = job.problem
        warnings: list[str] = []
        try:
            if error is None and not job.is_done:
                self._tell({"event": "begin", "input": str(item.path)})
                warnings = self._export.write(job, progress)
        except EdgestemError as cause:
            error = cause
        return self._keep(job, sign, error, warnings)

    def give_up(self, item: Item, sign: Sign, error: EdgestemError) -> None:
        """Leave an item alone until it changes: what came of it was unexpected."""
        self._state.add(item.path, Entry(sign, (), str(error)))
        said = {"input": str(item.path), "code": error.code, "text": str(error)}
        self._tell({"event": "failed", **said})

    def _keep(
        self, job: Job, sign: Sign, error: EdgestemError | None, warnings: list[str]
    ) -> str:
        path, outputs = job.item.path, tuple(map(str, job.targets.values()))
        if error is not None:
            is_lasting = error.code in _LASTING
            if is_lasting:
                self._state.add(path, Entry(sign, (), str(error)))
            words = {"input": str(path), "code": error.code, "text": str(error)}
            self._tell({"event": "failed" if is_lasting else "trouble", **words})
            return "failed" if is_lasting else "later"
        word = "there" if job.is_done else "written"
        # An UltraStar text is changed by what is done with it.
        sign = sign_of(job.item) if job.item.kind == TEXT else sign
        self._state.add(path, Entry(sign, outputs))
        said: dict[str, Any] = {"event": word, "input": str(path), "outputs": outputs}
        self._tell(said | ({"warnings": warnings} if warnings else {}))
        return word


def sign_of(item: Item) -> Sign:
    """Give sizes and times of an item's files; empty: it is gone.

    The time is that of the last change of any kind: copies that keep the old time of
    their original have a new one of those.
    """
    found: list[int] = []
    for path in _files(item):
        try:
            status = path.stat()
        except OSError:
            return ()
        found += (status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)


def _files(item: Item) -> Iterator[Path]:
    yield item.path
    if item.cdg is not None:
        yield item.cdg
    if item.kind == TEXT and (name := _song_name(item.path, time_of(item.path))):
        song = sibling(item.path, name)
        if song is not None:
            yield song


@lru_cache(maxsize=1 << 16)
def _song_name(text: Path, _: int) -> str:
    """Look into a text; kept until it changes."""
    return song_name(text)


def _is_partial(path: Path, end: str) -> bool:
    names = (path.with_name(path.name + end), path.with_name(path.stem + end))
    return any(other != path and other.exists() for other in names)
