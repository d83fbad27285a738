"""One song of a catalogue: claimed, separated, published, receipted.

    look -> claim -> look again -> separate -> stems get their names -> receipt

The claim's file becomes the receipt by one rename, the last thing that happens.  A
receipt that no longer fits is put aside (`.edgestem.old`) before its stems are
replaced, so that no moment has a receipt beside stems of another making.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgestem.catalogue import receipt
from edgestem.catalogue.claim import LOST, Claim, Claims, is_claimed, lost
from edgestem.catalogue.decoding import Listener
from edgestem.catalogue.identity import Identity, Recipe, described
from edgestem.errors import AudioError
from edgestem.files.output import FileReport
from edgestem.files.separate import FileSeparator
from edgestem.sound.commit import is_there
from edgestem.sound.formats import target_paths
from edgestem.sound.parts import wrap

OLD = ".edgestem.old"
DONE, BEFORE, BUSY, STALE = "done", "before", "busy", "stale"
_NOTES = 20  # warnings that a receipt keeps
_STREAMS = 3  # 44.1 and 48 kHz, and mono: what a catalogue mixes
_TRIES = 5  # to get hold of a folder that others make and remove


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a song."""

    state: str
    """DONE now; BEFORE: it was; BUSY: somebody else works on it; STALE: its receipt
    differs, and nobody asked to do it again."""
    receipt: receipt.Receipt


@dataclass(slots=True)
class _Job:
    """A song that is being published."""

    source: str
    name: str
    place: str
    """Its folder."""
    redo: bool
    is_open: bool = False
    """Its stems have no receipt yet: the claim stays and says whose they are."""


class Publisher:
    """Publishes one song after the other with one loaded model.

    Parameters
    ----------
    out : str
        Folder of the catalogue.
    recipe, known : Recipe and Identity
        What is asked for, and what that means here.
    claims : Claims
    host : str
        For receipts.
    """

    def __init__(
        self,
        out: str,
        recipe: Recipe,
        known: Identity,
        claims: Claims,
        *,
        host: str,
    ) -> None:
        self._out, self._recipe, self._known = out, recipe, known
        self._claims, self._host = claims, host
        self._listener = Listener()
        self._separator = FileSeparator(
            recipe.output(),
            recipe.model,
            recipe.compute(),
            opener=self._listener.open,
            reader=self._listener.read,
            n_kept=_STREAMS,
        )

    def publish(self, source: str, name: str, folder: str, *, redo: bool) -> Outcome:
        """Bring one song to its receipt.

        Parameters
        ----------
        source, name, folder : str
            The song, its name in the catalogue, its folder below `out`.
        redo : bool
            Replace what has a receipt that differs.

        Raises
        ------
        EdgestemError, OSError
            The song failed; what was published before is as it was.
        """
        job = _Job(source, name, f"{self._out}/{folder}", redo)
        found = self._look(job)
        if found is not None and not is_claimed(job.place):
            return found
        claim = self._claim(job.place)
        if claim is None:
            return Outcome(BUSY, {})
        try:
            with self._claims.kept_alive(claim) as check:
                return self._look(job, claim) or self._do(job, claim, check)
        finally:
            if not job.is_open:
                self._claims.release(claim)
            with contextlib.suppress(OSError):  # it holds something
                Path(job.place).rmdir()

    def _claim(self, place: str) -> Claim | None:
        for _ in range(_TRIES):
            with wrap(Path(place)):
                Path(place).mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # a failure removed it
                    return self._claims.take(place)
        return None

    def _look(self, job: _Job, claim: Claim | None = None) -> Outcome | None:
        """Find out whether a song is done; with a claim nobody else is at it."""
        old = receipt.read(job.place)
        if old is None or not receipt.is_whole(job.place, old):
            return None
        if self._known.difference(old):
            return None if job.redo else Outcome(STALE, old)
        status = _status(job.source)
        if receipt.is_same_file(status, old):
            return Outcome(BEFORE, old)
        is_same = receipt.sha256(job.source) == old["source"].get("sha256")
        if claim is None or not is_same:
            return None
        old["source"] |= _when(status)
        self._finish(job, claim, old)
        return Outcome(BEFORE, old)

    def _do(self, job: _Job, claim: Claim, check: Callable[[], None]) -> Outcome:
        status, started = _status(job.source), time.time()
        with _put_aside(job.place) as aside:
            is_ours = claim.was_begun or Path(job.place, OLD).exists()
            self._refuse_strangers(job.place, is_ours)
            self._separator.output = self._recipe.output(is_forced=is_ours)
            report = self._separate(job, check)
            aside.clear()
            job.is_open = True
        _check_source(job.source, status, report)
        digest = self._listener.source
        made = self._receipt(job, report) | {
            "source": {"path": job.source, **_when(status), "sha256": digest},
            "started": round(started, 3),
            "seconds": round(time.time() - started, 3),
        }
        if not self._claims.touch(claim):
            raise lost(job.source)
        _remove_others(job.place, made)
        self._finish(job, claim, made)
        return Outcome(DONE, made)

    def _finish(self, job: _Job, claim: Claim, made: receipt.Receipt) -> None:
        """Turn the claim into the receipt, when nothing else is left to do."""
        job.is_open = True  # the claim's name may be somebody else's in a moment
        self._claims.clear(claim)
        receipt.write(job.place, made, claim.path)

    def _refuse_strangers(self, place: str, is_ours: bool) -> None:
        """Do not replace stems that no catalogue has written."""
        r = self._recipe
        for path in target_paths(Path(place), r.stems, r.file_format).values():
            if not is_ours and is_there(path):
                raise AudioError(
                    f"{path} is there without a receipt: move it away, or choose "
                    "another -o",
                    code="exists",
                    path=str(path),
                )

    def _separate(self, job: _Job, check: Callable[[], None]) -> FileReport:
        place = Path(job.place)
        try:
            return self._separator.to_folder(job.source, place, lambda *_: check())
        except AudioError as error:
            if error.code == "exists" and receipt.read(job.place):
                raise lost(job.source) from error
            raise

    def _receipt(self, job: _Job, report: FileReport) -> receipt.Receipt:
        outputs = {
            Path(path).name: {
                "size": Path(path).stat().st_size,
                "sha256": self._listener.outputs[stem],
                "samples": report.n_samples,
            }
            for stem, path in report.outputs.items()
        }
        return {
            "receipt": receipt.FORM,
            **described(self._known),
            "model_name": Path(self._recipe.model).stem,
            "song": job.name,
            "decoded": self._listener.heard(),
            "outputs": outputs,
            "grid": report.subtype,
            "warnings": [text[:400] for text in report.warnings[:_NOTES]],
            "host": self._host,
        }


def _check_source(source: str, status: os.stat_result, report: FileReport) -> None:
    """Publish nothing of a song that changed meanwhile."""
    if _when(_status(source)) == _when(status):
        return
    for path in report.outputs.values():
        Path(path).unlink(missing_ok=True)
    raise AudioError(
        f"{source} was written to while it was separated: wait for its writer",
        code="source_changed",
        path=source,
    )


def _status(source: str) -> os.stat_result:
    try:
        return Path(source).stat()
    except OSError as cause:
        raise AudioError(
            f"{source} cannot be opened: {cause.strerror or cause}",
            code="unreadable",
            path=source,
        ) from cause


def _when(status: os.stat_result) -> dict[str, int]:
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns}


@contextlib.contextmanager
def _put_aside(place: str) -> Iterator[list[Path]]:
    """Put an old receipt aside; it comes back unless the list is emptied."""
    now, aside = Path(place, receipt.NAME), Path(place, OLD)
    moved: list[Path] = []
    with contextlib.suppress(FileNotFoundError):
        now.replace(aside)
        moved.append(aside)
    try:
        yield moved
    except BaseException as cause:
        for path in moved if getattr(cause, "code", "") != LOST else ():
            with contextlib.suppress(OSError):
                path.replace(now)
        raise


def _remove_others(place: str, made: receipt.Receipt) -> None:
    """Remove what the receipt before has published and this one does not."""
    old = receipt.read(place, OLD) or {}
    names = {*old.get("outputs", ()), *old.get("restored", ())}
    for name in names - set(made["outputs"]):
        if "/" not in name:
            Path(place, name).unlink(missing_ok=True)
    Path(place, OLD).unlink(missing_ok=True)
