"""One run over a catalogue: what is to do, doing it, and what that comes to."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgestem.catalogue import failures
from edgestem.catalogue.claim import LEASE_S, new_token
from edgestem.catalogue.cluster import Cluster
from edgestem.catalogue.crew import Crew
from edgestem.catalogue.failure import AGAIN, FULL, SONG, Failure
from edgestem.catalogue.failures import Failures
from edgestem.catalogue.identity import Recipe, described, identity
from edgestem.catalogue.ledger import Ledger, Result
from edgestem.catalogue.listing import List, Song, make_list
from edgestem.catalogue.process import first_message
from edgestem.catalogue.publish import DONE
from edgestem.catalogue.publish import STALE as FOUND_STALE
from edgestem.catalogue.shard import other_count
from edgestem.catalogue.survey import STALE, TO_DO, Survey, survey
from edgestem.errors import AudioError
from edgestem.sound.parts import wrap

# Exit statuses; 1 and 2 are every command's.
ALL_DONE = 0
SOME_FAILED = 3  # another run may mend at least one of them
DISK_FULL = 4
USELESS = 5  # another run of the same command would end the same way
_BUSY_S = 30.0  # at most, before somebody else's song is looked at again


@dataclass(frozen=True, slots=True)
class Settings:
    """What `edgestem batch` was told."""

    paths: tuple[str, ...]
    """Songs and folders."""
    out: Path
    """Folder of the catalogue."""
    recipe: Recipe
    n_jobs: int = 1
    """Worker processes."""
    retries: int = 3
    """Times that a song is done again where that may help."""
    is_redone: bool = False
    """Replace what has a receipt that differs."""
    only_failed: bool = False
    """Try the songs on the lists of failures, and no others."""
    shard: tuple[int, int] | None = None
    """(index, count); None: all songs."""
    is_shared: bool = False
    """Other machines work in the same folder."""
    lease_s: float = LEASE_S
    """After which a claim of another machine is taken over."""
    scheduler: str = ""
    """Address of a Dask scheduler whose workers do the songs."""

    @property
    def word(self) -> str:
        """What tells this run's files from those of other machines."""
        if self.is_shared:
            return socket.gethostname()
        return "{}-of-{}".format(*self.shard) if self.shard else ""


def look(settings: Settings) -> tuple[List, Survey]:
    """List the songs of a catalogue and look at their receipts.

    Raises
    ------
    ModelError
        There is no such model or runtime.
    """
    known = identity(settings.recipe)
    listing = make_list(settings.paths, settings.out, settings.shard)
    return listing, survey(str(settings.out), listing.songs, known)


@dataclass(slots=True)
class Run:
    """A run that has looked at all receipts and has not begun.

    Raises
    ------
    ModelError
        There is no such model or runtime.
    """

    settings: Settings
    warn: Callable[[str], None]
    """Told what happens to workers."""
    counts: Counter[str] = field(default_factory=Counter)
    """done, before, failed, stale, untried -> songs."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind of failure -> songs."""
    audio_s: float = 0.0
    """Length of the songs that were done in this run."""
    stopped_by: Failure | None = None
    """Why the rest was not tried."""
    listing: List = field(init=False)
    differences: Counter[str] = field(init=False)
    """What differs in receipts that do not fit -> songs."""

    def __post_init__(self) -> None:
        s = self.settings
        self.listing, found = look(s)
        songs = found.unfinished[TO_DO] + (
            found.unfinished[STALE] if s.is_redone else []
        )
        if s.only_failed:
            failed = failures.read(s.out)
            songs = [song for song in songs if song.name in failed]
        self.listing.songs = _turned(songs) if s.is_shared else songs
        self.counts["before"] = found.counts["done"]
        self.counts["stale"] = 0 if s.is_redone else found.counts[STALE]
        self.differences = found.differences

    @property
    def n_to_do(self) -> int:
        """Songs that this run will try."""
        return len(self.listing.songs)

    def plan(self) -> str:
        """Say what is to do."""
        return f"{self.counts['before']} done before, {self.n_to_do} to do"

    def stale(self) -> str:
        """Say how many receipts do not fit, and why; or nothing."""
        if not self.counts["stale"]:
            return ""
        n = self.counts["stale"]
        what = " and ".join(sorted(self.differences))
        return (
            f"{n} {'song was' if n == 1 else 'songs were'} published with another "
            f"{what or 'making'}, and stay as they are: --redo does them again"
        )

    def other_count(self) -> int:
        """Say how many shards this catalogue had before, if that was another number."""
        s = self.settings
        if s.shard is None or not self.n_to_do:
            return 0
        return other_count(s.out / ".edgestem", s.shard[1])

    def work(self) -> Iterator[Result]:
        """Do what is to do; give each song once, as it ends."""
        s = self.settings
        if not (self.n_to_do or self.listing.problems or s.out.is_dir()):
            return
        with wrap(s.out):
            s.out.mkdir(parents=True, exist_ok=True)
        listed = Failures(s.out, s.word)
        for problem in self.listing.problems:
            self._note(listed, _line_of(problem))
        ledger = Ledger(retries=s.retries, busy_s=min(_BUSY_S, s.lease_s / 2))
        results = self._crew(ledger).run(self.listing.songs)
        try:
            for result in results:
                self._count(listed, result)
                yield result
        finally:
            results.close()  # type: ignore[attr-defined] # a generator
            listed.settle()
        self.stopped_by = ledger.stopped_by
        ended = ("done", "failed", "found_done", "found_stale")
        tried = sum(self.counts[word] for word in ended) - len(self.listing.problems)
        self.counts["untried"] = self.n_to_do - tried

    def _crew(self, ledger: Ledger) -> Crew | Cluster:
        s = self.settings
        first = first_message(
            s.out,
            s.recipe,
            new_token(),
            lease_s=s.lease_s,
            is_alone=not s.is_shared,
            host=socket.gethostname(),
        )
        if not s.scheduler:
            return Crew(first, ledger, n_jobs=s.n_jobs, redo=s.is_redone)
        return Cluster(
            *(s.scheduler, first, ledger),
            known=described(identity(s.recipe)),
            redo=s.is_redone,
            warn=self.warn,
        )

    def _count(self, listed: Failures, result: Result) -> None:
        if result.failure is not None:
            self._note(listed, line(result))
            return
        listed.forget(result.song.name)
        if result.state == DONE:
            self.counts["done"] += 1
            self.audio_s += result.answer["audio_s"]
        else:
            word = "stale" if result.state == FOUND_STALE else "done"
            self.counts[f"found_{word}"] += 1

    def _note(self, listed: Failures, found: dict[str, Any]) -> None:
        listed.add(found)
        self.counts["failed"] += 1
        self.kinds[found["kind"]] += 1

    @property
    def status(self) -> int:
        """Exit status of what was done."""
        kinds = set(self.kinds) | ({self.stopped_by.kind} if self.stopped_by else set())
        n_stale = self.counts["stale"] + self.counts["found_stale"]
        if FULL in kinds:
            return DISK_FULL
        if AGAIN in kinds:
            return SOME_FAILED
        return USELESS if kinds or n_stale else ALL_DONE

    def summary(self) -> dict[str, Any]:
        """Count what became of all songs of the list."""
        c = self.counts
        return {
            "done": c["done"],
            "done_before": c["before"] + c["found_done"],
            "stale": c["stale"] + c["found_stale"],
            "failed": c["failed"],
            "not_tried": c["untried"],
            "audio_s": round(self.audio_s, 3),
            "status": self.status,
        }


def _turned(songs: list[Song]) -> list[Song]:
    """Begin somewhere: boards that begin together would meet at every song."""
    at = random.randrange(len(songs)) if songs else 0
    return songs[at:] + songs[:at]


def line(result: Result) -> dict[str, Any]:
    """Give what `failed.jsonl` says of a song."""
    assert result.failure is not None
    return {
        "song": result.song.name,
        "path": result.song.source,
        "code": result.failure.code,
        "kind": result.failure.kind,
        "text": result.failure.text,
        "host": result.host or socket.gethostname(),
        "attempts": result.attempts,
    }


def _line_of(problem: AudioError) -> dict[str, Any]:
    """Give the line of what could not even be listed: every run finds it anew."""
    return {
        "song": problem.path,
        "path": problem.path,
        "code": problem.code,
        "kind": SONG,
        "text": str(problem),
        "host": socket.gethostname(),
        "attempts": 0,
        "is_listed": False,
    }
