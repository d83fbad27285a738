"""What all sessions and jobs of a daemon share, and the list of who is there."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from edgestem.daemon.jobs.cache import Cache
from edgestem.daemon.jobs.nursery import Nursery
from edgestem.daemon.jobs.paths import AllowedFolders
from edgestem.daemon.jobs.queue import JobQueue
from edgestem.daemon.jobs.work import Job
from edgestem.daemon.pool.engine import Engine, foreign_models
from edgestem.daemon.pool.models import try_models
from edgestem.daemon.system.config import DaemonConfig
from edgestem.daemon.system.listener import Peer
from edgestem.daemon.system.notes import Notes
from edgestem.daemon.turns import Turns
from edgestem.errors import EdgestemError


class Door(Protocol):
    """What others see of a session's stream."""

    memory: int
    """Bytes that it takes, as estimated."""


class Member(Protocol):
    """What others see of a session."""

    peer: Peer
    n_requests: int
    """That it has made."""

    @property
    def door(self) -> Door:
        """Of its stream."""

    @property
    def stream(self) -> object | None:
        """Its open stream."""

    def event(self, name: str, **fields: Any) -> None:
        """Tell its client, if that subscribed."""

    def hears(self, name: str) -> bool:
        """Say whether its client subscribed to an event."""

    def describe(self) -> dict[str, Any]:
        """Say for `status` what it does."""

    def end_stream(self) -> None:
        """Close its stream, after the block at hand."""

    def end(self) -> None:
        """Say goodbye: the daemon ends."""

    def dismiss(self) -> None:
        """Say goodbye: its user may stay no longer."""

    def join(self, wait_s: float | None = None) -> None:
        """Wait for its end."""


class Shared:
    """The state that all sessions share.

    Parameters
    ----------
    config : DaemonConfig
    nursery : Nursery
        Starts the jobs' children.
    do_job : callable
        Does one job with this object.
    """

    def __init__(
        self,
        config: DaemonConfig,
        nursery: Nursery,
        do_job: Callable[[Shared, Job], None],
    ) -> None:
        self.config, self.nursery = config, nursery
        self.hold_folders(config)
        self.turns, self.notes = Turns(), Notes()
        try_models(nursery, foreign_models(config), config.stall_s)
        self.engine = Engine(config, self.event)
        limit = config.cache_mb << 20
        self.cache = Cache(config.cache_folder(), limit) if limit else None
        self.jobs = JobQueue(lambda job: do_job(self, job), lambda: self.config)
        self.opening = threading.Lock()
        """Held while a stream is opened."""
        self.started = time.monotonic()
        self.is_ending = False
        self.has_freed = False
        """Somebody has left: memory may go back to the system."""
        self.n_served = self.n_xruns = 0
        self._lock = threading.Lock()
        self._members: set[Member] = set()
        self._n_requests = 0  # of those who have left
        self._listeners: dict[Member, int] = {}  # replaced whole, never changed
        self._numbers = itertools.count(1)

    def hold_folders(self, config: DaemonConfig) -> None:
        """Open the allowed folders.

        Raises
        ------
        ConfigError
            One is not there; nothing has changed.
        """
        inputs = AllowedFolders("input_dirs", config.input_dirs)
        try:
            outputs = AllowedFolders("output_dirs", config.output_dirs)
        except EdgestemError:
            inputs.close()
            raise
        self.input_dirs, self.output_dirs = inputs, outputs

    def add(self, session: Member) -> None:
        """Put a session on the list."""
        with self._lock:
            self._members.add(session)
        self.n_served += 1

    def forget(self, session: Member, reason: str) -> None:
        """Take a session off the list."""
        with self._lock:
            if session in self._members:
                self._members.remove(session)
                self._n_requests += session.n_requests
        self.count_listeners()
        self.has_freed = True
        pid, uid, _ = session.peer
        self.notes.say(logging.INFO, uid, "pid %d: %s", pid, reason)
        self.event("session", state="closed", pid=session.peer.pid)

    def sessions(self) -> list[Member]:
        """List the sessions."""
        with self._lock:
            return list(self._members)

    def n_requests(self) -> int:
        """Count the requests that were ever made."""
        with self._lock:
            return self._n_requests + sum(m.n_requests for m in self._members)

    def event(self, name: str, **fields: Any) -> None:
        """Tell everybody who subscribed."""
        if name == "xrun":
            self.n_xruns += fields["n_dropped"] + fields.get("n_late", 0)
        for session in self.sessions():
            session.event(name, **fields)

    def count_listeners(self) -> None:
        """See anew who hears of activity: somebody has subscribed, or left."""
        with self._lock:
            hearing = [m for m in self._members if m.hears("activity")]
            known = self._listeners
            self._listeners = {m: known.get(m) or next(self._numbers) for m in hearing}

    def latest_listener(self, uid: int) -> int:
        """Return the number of who came last to hear of a user's streams; 0: nobody.

        Who comes later has a higher number.  One look, no lock.
        """
        listeners = self._listeners.items()
        return max((n for m, n in listeners if m.peer.uid in (uid, 0)), default=0)

    def tell_activity(self, peer: Peer, numbers: range, **fields: Any) -> None:
        """Tell listeners of these numbers, if they are the stream's user or root.

        Who sings is nobody else's business.
        """
        for session, number in self._listeners.items():
            if number in numbers and session.peer.uid in (peer.uid, 0):
                session.event("activity", pid=peer.pid, **fields)
