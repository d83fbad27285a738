"""Jobs that wait, one turn for each client, and the threads that do them."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from edgestem.daemon_cache import Cache
from edgestem.daemon_channel import Outbox
from edgestem.daemon_config import DaemonConfig
from edgestem.daemon_engine import Engine
from edgestem.daemon_files import check_apart
from edgestem.daemon_requests import Separate
from edgestem.daemon_work import (
    MAX_NOTE,
    MAX_NOTES,
    Job,
    JobSeparator,
    claim_input,
    claim_outputs,
    job_options,
    without_proc,
)
from edgestem.errors import EdgestemError, ModelError, ProtocolError
from edgestem.protocol import encode

log = logging.getLogger(__name__)


class JobQueue:
    """Jobs that wait, and the workers that do them.

    Parameters
    ----------
    engine : Engine
    cache : Cache, optional
        Where results are kept.
    n_workers : int
        Jobs at the same time.
    max_hours : callable
        Returns the greatest length of a song.
    """

    def __init__(
        self,
        engine: Engine,
        cache: Cache | None,
        n_workers: int,
        max_hours: Callable[[], float],
    ) -> None:
        self._engine, self._cache, self._max_hours = engine, cache, max_hours
        self._changed = threading.Condition()
        self._waiting: dict[object, deque[Job]] = {}
        self._running: list[Job] = []
        self._numbers = itertools.count(1)
        self._is_ending = False
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{i}", daemon=True)
            for i in range(n_workers)
        ]
        for thread in self._threads:
            thread.start()

    def number(self) -> int:
        """Take the next job's number."""
        return next(self._numbers)

    def add(self, job: Job, max_jobs: int, max_own: int) -> None:
        """Queue a job and tell its client.

        Raises
        ------
        EdgestemError
            `queue_full` or `shutting_down`; the job was not taken.
        """
        with self._changed:
            if self._is_ending:
                raise EdgestemError("the daemon is ending", code="shutting_down")
            n_own = sum(other.owner is job.owner for other in self.all())
            if len(self.all()) >= max_jobs or n_own >= max_own:
                raise EdgestemError(
                    f"{len(self.all())} jobs wait or run, {n_own} of this client; "
                    f"the limits are {max_jobs} and {max_own}: try again later",
                    code="queue_full",
                )
            job.tell("queued", n_before=len(self.all()))
            self._waiting.setdefault(job.owner, deque()).append(job)
            self._changed.notify_all()

    def all(self) -> list[Job]:
        """List the jobs, those that run first."""
        with self._changed:
            return self._running + [j for q in self._waiting.values() for j in q]

    def cancel(self, owner: object, number: int | None = None) -> bool:
        """Cancel one of a client's jobs, or all; say whether there was one."""
        with self._changed:
            mine = [j for j in self.all() if j.owner is owner]
            wanted = [j for j in mine if number in (None, j.number)]
            for job in wanted:
                job.is_cancelled = True
            waiting = [j for j in wanted if j not in self._running]
            kept = [j for j in self._waiting.get(owner, ()) if j not in waiting]
            self._waiting.pop(owner, None)
            if kept:
                self._waiting[owner] = deque(kept)
        for job in waiting:
            self._drop(job)
        return bool(wanted)

    def cancel_all(self) -> None:
        """Cancel what runs."""
        for job in self.all():
            job.is_cancelled = True

    def _drop(self, job: Job) -> None:
        """End a job that never began."""
        job.close()
        job.tell("error", code="cancelled", text="the job was cancelled")
        with self._changed:
            self._changed.notify_all()

    def n_of(self, owner: object) -> int:
        """Count a client's jobs."""
        return sum(job.owner is owner for job in self.all())

    def wait(self, owner: object, wait_s: float) -> bool:
        """Wait a while for the end of a client's jobs; say whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.n_of(owner) == 0, wait_s)

    def end(self, drain_s: float) -> None:
        """Cancel what waits; what runs has `drain_s` to finish before it is, too."""
        with self._changed:
            self._is_ending = True
            waiting = [job for queue in self._waiting.values() for job in queue]
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            self._drop(job)
        deadline = time.monotonic() + drain_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.cancel_all()
        for thread in self._threads:
            thread.join()

    # ---- the workers ----------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._run(job)
            finally:
                job.close()
                with self._changed:
                    self._running.remove(job)
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        """Take the next client's oldest job."""
        with self._changed:
            while not self._waiting:
                if self._is_ending:
                    return None
                self._changed.wait()
            owner = next(iter(self._waiting))
            queue = self._waiting.pop(owner)
            job = queue.popleft()
            if queue:  # behind the others
                self._waiting[owner] = queue
            self._running.append(job)
            job.state = "running"
            return job

    def _run(self, job: Job) -> None:
        """Do a job and tell how it ended."""
        try:
            job.check()
            job.tell("done", **self._separate(job))
        except EdgestemError as error:
            job.tell("error", code=error.code, text=without_proc(job, str(error)))
        except Exception:
            log.exception("job %d failed", job.number)
            job.tell("error", code="internal", text="a bug: the daemon's log has it")

    def _separate(self, job: Job) -> dict[str, Any]:
        """Do a job; where its device is lost begin it again, on what there is then."""
        try:
            return JobSeparator(job, self._engine, self._cache).run(self._max_hours())
        except ModelError as error:
            if error.code != "device_lost":
                raise
            log.warning("job %d begins again: %s", job.number, error)
            done = JobSeparator(job, self._engine, self._cache).run(self._max_hours())
            note = f"the song was begun again: {error}"
            return done | {"warnings": [note[:MAX_NOTE], *done["warnings"]][:MAX_NOTES]}


class ClientJobs:
    """One client's side of the queue.

    Parameters
    ----------
    jobs : JobQueue
    outbox : Outbox
        Where its messages go.
    event : callable
        Tells everybody who subscribed.
    """

    def __init__(
        self, jobs: JobQueue, outbox: Outbox, event: Callable[..., None]
    ) -> None:
        self._jobs, self._outbox, self._event = jobs, outbox, event

    def submit(self, request: Separate, fds: list[int], config: DaemonConfig) -> None:
        """Queue a job; the descriptors it takes are taken out of `fds`.

        Raises
        ------
        EdgestemError
            It cannot be done, or the queue is full.
        """
        options = job_options(request)
        with ExitStack() as held:
            source = claim_input(request, fds, config)
            held.callback(source.close)
            sink = claim_outputs(request, fds, config)
            held.callback(sink.close)
            check_apart(source, sink)
            number = self._jobs.number()
            tell = self._teller(number, request.seq)
            name = request.input or "the song"
            job = Job(number, self, name, options, source, sink, tell)
            self._jobs.add(job, config.max_jobs, config.max_client_jobs)
            held.pop_all()

    def _teller(self, number: int, seq: int | None) -> Callable[..., None]:
        def tell(kind: str, **fields: Any) -> None:
            data = encode(kind, seq=seq, job=number, **fields)
            self._outbox.put_soon(data, is_event=kind == "progress")
            if kind != "progress":
                self._event("job", job=number, state=fields.get("code", kind))

        return tell

    def cancel(self, number: int) -> None:
        """Cancel one of the client's jobs.

        Raises
        ------
        ProtocolError
            `no_job`.
        """
        if not self._jobs.cancel(self, number):
            text = f"this connection has no job {number}"
            raise ProtocolError(text, code="no_job")

    def cancel_all(self) -> None:
        """Cancel all of them."""
        self._jobs.cancel(self)

    def count(self) -> int:
        """Count those that wait or run."""
        return self._jobs.n_of(self)

    def wait(self, wait_s: float) -> bool:
        """Wait a while for their end; say whether it came."""
        return self._jobs.wait(self, wait_s)
