"""Jobs that wait, and the threads that do them: users take turns, then connections.

A job has a thread while it runs, and so many run at a time as there are workers.  One
that has run for `job_turn_s` while another user waits gives way between two blocks
and goes on later.  Nothing that a job does can take a worker away: what hangs is
its child, or its own thread when it lets go of the client's files.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from edgestem.daemon.jobs.work import Job
from edgestem.daemon.pool.budget import room_for
from edgestem.daemon.system.config import DaemonConfig
from edgestem.daemon.system.process import lower_priority
from edgestem.errors import EdgestemError

log = logging.getLogger(__name__)
END_S = 5.0  # for cancelled jobs to notice


class JobQueue:
    """Jobs that wait, and those that run.

    Parameters
    ----------
    work : callable
        Does one job and tells how it ended.
    config : callable
        Returns the configuration as it is now.
    """

    def __init__(
        self, work: Callable[[Job], None], config: Callable[[], DaemonConfig]
    ) -> None:
        self._do, self._config = work, config
        self._changed = threading.Condition()
        # uid -> connection -> its jobs; whose turn is next comes first.
        self._waiting: dict[int, dict[object, deque[Job]]] = {}
        self._running: list[Job] = []
        self._leaving: list[Job] = []  # done, but not rid of the client's files
        self._numbers = itertools.count(1)
        self._is_ending = False

    def number(self) -> int:
        """Take the next job's number."""
        return next(self._numbers)

    def add(self, job: Job) -> None:
        """Queue a job and tell its client.

        Raises
        ------
        EdgestemError
            `queue_full` or `shutting_down`; the job was not taken.
        """
        config = self._config()
        with self._changed:
            if self._is_ending:
                raise EdgestemError("the daemon is ending", code="shutting_down")
            held = self.all()
            n_own = sum(other.owner is job.owner for other in held)
            room = room_for(
                *(job.uid, [(other.uid, 1) for other in held]),
                *(config.max_jobs, config.user_share),
            )
            if room < 1 or n_own >= config.max_client_jobs:
                n_user = sum(other.uid == job.uid for other in held)
                raise EdgestemError(
                    f"{len(held)} jobs wait or run, {n_user} of this user, {n_own} of "
                    f"this client; max_jobs {config.max_jobs}, user_share "
                    f"{config.user_share:g} and max_client_jobs "
                    f"{config.max_client_jobs} are the limits: try again later",
                    code="queue_full",
                )
            job.tell("queued", n_before=len(held))
            own = self._waiting.setdefault(job.uid, {})
            own.setdefault(job.owner, deque()).append(job)
            self._dispatch()

    def all(self) -> list[Job]:
        """List the jobs, those that run first."""
        with self._changed:
            queues = [q for own in self._waiting.values() for q in own.values()]
            waiting = [job for queue in queues for job in queue]
            return self._running + waiting + self._leaving

    def cancel(self, owner: object, number: int | None = None) -> bool:
        """Cancel one of a client's jobs, or all; say whether there was one."""
        dropped = []
        with self._changed:
            mine = [j for j in self.all() if j.owner is owner]
            wanted = [j for j in mine if number in (None, j.number)]
            for job in wanted:
                job.is_cancelled = True
                if job.thread is None:
                    self._take_out(job)
                    dropped.append(job)
            self._changed.notify_all()
        for job in dropped:
            self._drop(job)
        return bool(wanted)

    def _take_out(self, job: Job) -> None:
        """Take a waiting job out; the others keep their places."""
        own = self._waiting[job.uid]
        own[job.owner].remove(job)
        if not own[job.owner]:
            del own[job.owner]
        if not own:
            del self._waiting[job.uid]

    def cancel_all(self) -> None:
        """Cancel what runs or has given way."""
        with self._changed:
            for job in self.all():
                job.is_cancelled = True
            self._changed.notify_all()

    def _drop(self, job: Job) -> None:
        """End a job that never began."""
        job.say("error", code="cancelled", text="the job was cancelled")
        job.close()
        with self._changed:
            self._changed.notify_all()

    def n_of(self, owner: object) -> int:
        """Count a client's jobs that are not done."""
        with self._changed:
            left = self._leaving
            return sum(j.owner is owner and j not in left for j in self.all())

    def wait(self, owner: object, wait_s: float) -> bool:
        """Wait a while for the end of a client's jobs; say whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.n_of(owner) == 0, wait_s)

    def longest_silence(self) -> float:
        """Seconds that a running job has made no progress, for the watchdog."""
        with self._changed:
            now = time.monotonic()
            return max((now - job.moved for job in self._running), default=0.0)

    def end(self, drain_s: float) -> None:
        """Cancel what waits; what runs has `drain_s` to finish before it is, too."""
        with self._changed:
            self._is_ending = True
            waiting = [job for job in self.all() if job.thread is None]
            for job in waiting:
                self._take_out(job)
        for job in waiting:
            self._drop(job)
        for wait_s in (drain_s, END_S):
            with self._changed:
                self._changed.wait_for(lambda: not self._busy(), wait_s)
            self.cancel_all()

    def _busy(self) -> list[Job]:
        return [job for job in self.all() if job not in self._leaving]

    # ---- the jobs' threads ------------------------------------------------------

    def _dispatch(self) -> None:
        """Let the next jobs run, as far as there are workers."""
        while len(self._running) < self._config().job_workers and self._waiting:
            job = self._next()
            self._running.append(job)
            job.state, job.turn_began = "running", time.monotonic()
            job.moved = job.turn_began
            if job.thread is not None:  # it has given way, and waits
                self._changed.notify_all()
                continue
            job.thread = threading.Thread(
                target=self._work, args=[job], name=f"job-{job.number}", daemon=True
            )
            try:
                job.thread.start()
            except RuntimeError:
                self._running.remove(job)
                job.say(
                    "error",
                    code="overloaded",
                    text="the daemon has no thread left for a job: try again later",
                )
                job.close()

    def _next(self) -> Job:
        """Take the next user's next connection's oldest job; both go behind."""
        uid = next(iter(self._waiting))
        own = self._waiting.pop(uid)
        owner = next(iter(own))
        queue = own.pop(owner)
        job = queue.popleft()
        if queue:
            own[owner] = queue
        if own:
            self._waiting[uid] = own
        return job

    def _work(self, job: Job) -> None:
        lower_priority()
        try:
            self._do(job)
        except BaseException:
            log.exception("job %d failed", job.number)
            job.say("error", code="internal", text="a bug: the daemon's log has it")
        finally:
            with self._changed:
                if job in self._running:
                    self._running.remove(job)
                self._leaving.append(job)
                self._dispatch()
                self._changed.notify_all()
            job.close()  # as long as the client's file system likes
            with self._changed:
                self._leaving.remove(job)
                self._changed.notify_all()

    def give_way(self, job: Job) -> None:
        """Wait while others run, if this job has run long enough and others wait."""
        job.moved = now = time.monotonic()
        if now - job.turn_began < self._config().job_turn_s:
            return
        with self._changed:
            if not self._waiting or set(self._waiting) == {job.uid}:
                return
            self._running.remove(job)
            job.state = "waiting"
            own = self._waiting.setdefault(job.uid, {})
            own.setdefault(job.owner, deque()).appendleft(job)
            # Of this user it goes on first: one job at a time holds a network.
            own = self._waiting[job.uid]
            self._waiting[job.uid] = {job.owner: own.pop(job.owner)} | own
            self._waiting[job.uid] = self._waiting.pop(job.uid)  # behind the others
            self._dispatch()
            self._changed.wait_for(lambda: job in self._running or job.is_cancelled)
            if job not in self._running:
                self._take_out(job)
                self._running.append(job)  # to its end, which is near
