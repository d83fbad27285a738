"""What a job is: its files, what it becomes, and how it is told from others."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from edgestem.daemon.jobs.files import Descriptors, Folder, opened_input
from edgestem.daemon.jobs.passed import passed_input
from edgestem.daemon.jobs.paths import AllowedFolders
from edgestem.daemon.requests import Separate
from edgestem.daemon.system.config import DaemonConfig
from edgestem.errors import EdgestemError, ProtocolError
from edgestem.files.output import Output
from edgestem.stems import MIN_DB

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Job:
    """One song of one client."""

    number: int
    owner: object
    """Whose it is: clients take turns."""
    uid: int
    """Of its user: users take turns first."""
    name: str
    """Of its song, for messages."""
    model: str
    """One of the daemon's; empty: its first."""
    output: Output
    source: BinaryIO
    sink: Folder | Descriptors
    tell: Callable[..., None]
    """Sends a message about it to the client."""
    give_way: Callable[[Job], None]
    """Waits while others run, when it is their turn."""
    tags: Mapping[str, str] | None = None
    """Of its song, if the client knows better than the file."""
    state: str = "queued"
    percent: float = 0.0
    is_cancelled: bool = False
    memory: int = 0
    """Bytes that it takes while it runs, as estimated."""
    thread: threading.Thread | None = None
    """Since it first ran."""
    turn_began: float = 0.0
    moved: float = field(default_factory=time.monotonic)
    """When it last made progress."""

    def check(self) -> None:
        """Give up if nobody wants the result any more.

        Raises
        ------
        EdgestemError
            `cancelled`.
        """
        if self.is_cancelled:
            raise EdgestemError("the job was cancelled", code="cancelled")

    def pulse(self) -> None:
        """Note progress, let others run if it is their turn, then check."""
        self.give_way(self)
        self.check()

    def say(self, kind: str, **fields: Any) -> None:
        """Tell the client, whatever that meets: a job's end must not end a thread."""
        try:
            self.tell(kind, **fields)
        except Exception:
            log.exception("job %d: its client was not told", self.number)

    def close(self) -> None:
        """Let go of the files; the client's file system may take its time, or fail."""
        for held in (self.source, self.sink):
            self._let_go(held)

    def _let_go(self, held: BinaryIO | Folder | Descriptors) -> None:
        try:
            held.close()
        except Exception as error:
            log.warning("job %d: closing its files: %s", self.number, error)


def job_output(request: Separate) -> Output:
    """Say what a request's song becomes.

    Raises
    ------
    ProtocolError
        `bad_field`: its fields contradict each other.
    """
    level = request.vocals_db
    if level is not None and level < MIN_DB:
        level = -math.inf
    try:
        return Output(
            stems=request.stems,
            vocals_db=level,
            file_format=request.format,
            subtype=request.subtype,
            bitrate=request.bitrate,
            is_forced=request.replace,
        )
    except ValueError as cause:
        raise ProtocolError(str(cause), code="bad_field") from cause


def claim_input(
    request: Separate, fds: list[int], config: DaemonConfig, allowed: AllowedFolders
) -> BinaryIO:
    """Open the song of a request; a descriptor is taken out of `fds`.

    Raises
    ------
    EdgestemError
        One of its kinds; see `daemon_files`.
    """
    n_fds = (not request.input) + len(request.stems) * (not request.output_dir)
    if len(fds) != n_fds:
        raise ProtocolError(
            f"this job takes {n_fds} descriptors, fds says {len(fds)}",
            code="bad_field",
        )
    limit = config.max_file_mb << 20
    if request.input:
        return opened_input(request.input, allowed, limit)
    return passed_input(fds.pop(0), limit)


def claim_outputs(
    request: Separate, fds: list[int], config: DaemonConfig, allowed: AllowedFolders
) -> Folder | Descriptors:
    """Open the outputs of a request; all descriptors are taken out of `fds`.

    Raises
    ------
    EdgestemError
        One of its kinds; see `daemon_files`.
    """
    if request.output_dir:
        return Folder(request.output_dir, allowed, config.output_mode)
    taken, fds[:] = list(fds), []
    return Descriptors(request.stems, taken)
