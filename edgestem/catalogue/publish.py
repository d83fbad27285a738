"""One song of a catalogue: claimed, separated, published, receipted.

    claim -> look again -> separate -> stems get their names -> receipt -> release

A receipt that no longer fits is put aside (`.edgestem.old`) before its stems are
replaced, so that no moment has a receipt beside stems of another making.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.catalogue import receipt
from edgestem.catalogue.claim import LEASE_S, TOUCHES, Claim, Claims
from edgestem.catalogue.decoding import Listener
from edgestem.catalogue.identity import Identity, Recipe, described
from edgestem.errors import AudioError, EdgestemError
from edgestem.files.output import FileReport
from edgestem.files.separate import FileSeparator
from edgestem.sound.commit import is_there
from edgestem.sound.writing import target_paths

OLD = ".edgestem.old"
LOST = "claim_lost"
DONE, BEFORE, BUSY, STALE = "done", "before", "busy", "stale"
_NOTES = 20  # warnings that a receipt keeps
_TRIES = 5  # to get hold of a folder that others make and remove


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a song."""

    state: str
    """DONE now; BEFORE: it was; BUSY: somebody else works on it; STALE: its receipt
    differs, and nobody asked to do it again."""
    receipt: receipt.Receipt


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
    lease_s : float
        How long others wait before they take a claim over.
    """

    def __init__(
        self,
        out: str,
        recipe: Recipe,
        known: Identity,
        claims: Claims,
        *,
        host: str,
        lease_s: float = LEASE_S,
    ) -> None:
        self._out, self._recipe, self._known = out, recipe, known
        self._claims, self._host, self._lease_s = claims, host, lease_s
        self._listener = Listener()
        self._separator = FileSeparator(recipe.options(), self._listener.open)

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
        place = f"{self._out}/{folder}"
        claim = self._claim(place)
        if claim is None:
            return Outcome(BUSY, {})
        try:
            with self._kept_alive(claim) as check:
                return self._do(source, name, place, claim, redo, check)
        finally:
            self._claims.release(claim)
            with contextlib.suppress(OSError):  # it holds something
                Path(place).rmdir()

    def _claim(self, place: str) -> Claim | None:
        for _ in range(_TRIES):
            Path(place).mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # whoever failed removed it
                return self._claims.take(place)
        return None

    def _do(
        self, source: str, name: str, place: str, claim: Claim, redo: bool, check: Any
    ) -> Outcome:
        status = _status(source)
        old = receipt.read(place)
        found = self._look(source, status, place, old, redo)
        if found is not None:
            return found
        started = time.time()
        digest = receipt.sha256(source)
        with _put_aside(place) as aside:
            before = old or receipt.read(place, OLD)
            is_ours = claim.was_begun or Path(place, OLD).exists()
            self._refuse_strangers(place, is_ours)
            self._separator.options = self._recipe.options(is_forced=is_ours)
            report = self._separate(source, Path(place), check)
            aside.clear()
            made = self._receipt(source, name, status, digest, report, started)
            self._check_source(source, status, report)
            if not self._claims.touch(claim):
                raise _lost(source)
            _remove_others(place, before, made)
            receipt.write(place, made, f"{self._host}.{os.getpid()}")
            Path(place, OLD).unlink(missing_ok=True)
        return Outcome(DONE, made)

    def _look(
        self,
        source: str,
        status: os.stat_result,
        place: str,
        old: receipt.Receipt | None,
        redo: bool,
    ) -> Outcome | None:
        """Find out whether the song is done, now that nobody else is at it."""
        if old is None or not receipt.is_whole(place, old):
            return None
        if self._known.difference(old):
            return None if redo else Outcome(STALE, old)
        if receipt.is_same_file(status, old):
            return Outcome(BEFORE, old)
        if receipt.sha256(source) != old["source"].get("sha256"):
            return None  # another song under the same name
        old["source"] |= _when(status)
        receipt.write(place, old, f"{self._host}.{os.getpid()}")
        return Outcome(BEFORE, old)

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

    def _separate(self, source: str, place: Path, check: Any) -> FileReport:
        try:
            return self._separator.to_folder(source, place, lambda *_: check())
        except AudioError as error:
            if error.code == "exists" and receipt.read(str(place)):
                raise _lost(source) from error
            raise

    @contextlib.contextmanager
    def _kept_alive(self, claim: Claim) -> Iterator[Any]:
        """Touch a claim while the song is worked on; `check` raises once it is lost."""
        over, lost = threading.Event(), threading.Event()

        def touch() -> None:
            while not over.wait(self._lease_s / TOUCHES):
                with contextlib.suppress(OSError):  # a drive that stumbles
                    if not self._claims.touch(claim):
                        lost.set()

        def check() -> None:
            if lost.is_set():
                raise _lost(claim.folder)

        thread = threading.Thread(target=touch, daemon=True)
        thread.start()
        try:
            yield check
        finally:
            over.set()
            thread.join()

    def _receipt(
        self,
        source: str,
        name: str,
        status: os.stat_result,
        digest: str,
        report: FileReport,
        started: float,
    ) -> receipt.Receipt:
        outputs = {
            Path(path).name: {
                "size": Path(path).stat().st_size,
                "sha256": receipt.sha256(path),
                "samples": report.n_samples,
            }
            for path in report.outputs.values()
        }
        return {
            "receipt": receipt.FORM,
            **described(self._known),
            "model_name": Path(self._recipe.model).stem,
            "song": name,
            "source": {"path": source, **_when(status), "sha256": digest},
            "decoded": self._listener.heard(),
            "outputs": outputs,
            "grid": report.subtype,
            "warnings": [text[:400] for text in report.warnings[:_NOTES]],
            "host": self._host,
            "started": round(started, 3),
            "seconds": round(time.time() - started, 3),
        }

    def _check_source(
        self, source: str, status: os.stat_result, report: FileReport
    ) -> None:
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


def _lost(what: str) -> EdgestemError:
    return EdgestemError(f"{what}: another machine has taken this song over", code=LOST)


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


def _remove_others(
    place: str, before: receipt.Receipt | None, made: receipt.Receipt
) -> None:
    """Remove what an earlier receipt has published and this one does not."""
    old = before or {}
    names = {*old.get("outputs", ()), *old.get("restored", ())}
    for name in names - set(made["outputs"]):
        if "/" not in name:
            Path(place, name).unlink(missing_ok=True)
