"""edgestem behind a UNIX socket: one process owns the accelerator, many use it.

The main thread accepts connections, feeds the watchdog and obeys signals; each
client has a reader and a writer thread, each stream a thread, and jobs have a few.
`docs/protocol.md` says what goes over the socket.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable

from edgestem.daemon.jobs.nursery import Nursery
from edgestem.daemon.jobs.separate import do_job
from edgestem.daemon.pool.admission import refusal
from edgestem.daemon.session import Session
from edgestem.daemon.shared import Shared
from edgestem.daemon.system.config import RESTART_ONLY, DaemonConfig
from edgestem.daemon.system.listener import (
    bound_socket,
    is_allowed,
    notify,
    passed_sockets,
    peer_of,
    watchdog_s,
)
from edgestem.daemon.system.process import drain, prepare, trim, wakeups
from edgestem.errors import EdgestemError
from edgestem.wire.protocol import encode_error

log = logging.getLogger(__name__)
TICK_S = 2.0  # between looks at the status when nothing happens
TRIM_S = 5.0  # between two times that memory is given back: it stops every thread
GOODBYE_S = 5.0  # for all sessions to end, whatever their files do


class Daemon:
    """The main loop, around what the sessions share.

    Parameters
    ----------
    config : DaemonConfig
    reload : callable
        Reads the configuration anew, on SIGHUP.
    nursery : Nursery
        Starts the jobs' children.
    """

    def __init__(
        self,
        config: DaemonConfig,
        reload: Callable[[], DaemonConfig] | None,
        nursery: Nursery,
    ) -> None:
        self._reload = reload
        self.shared = Shared(config, nursery, do_job)
        self._n_signals = 0
        self._wants_reload = False
        self._trimmed = 0.0

    def serve(self, listeners: list[socket.socket]) -> None:
        """Accept clients until SIGTERM or SIGINT, then drain."""
        with wakeups() as wakeup, selectors.DefaultSelector() as selector:
            signal.signal(signal.SIGHUP, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
            selector.register(wakeup, selectors.EVENT_READ)
            for listener in listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, listener)
            notify("READY=1", f"MAINPID={os.getpid()}")
            places = ", ".join(str(listener.getsockname()) for listener in listeners)
            log.info("ready on %s, listening at %s", self.shared.engine.device, places)
            while not self._n_signals:
                for key, _ in selector.select(self._tick()):
                    if key.data is None:
                        drain(wakeup)
                    else:
                        self._accept(key.data)
                if self._wants_reload:
                    self._reload_config()

    def end(self) -> None:
        """Drain: streams stop after their block, running jobs get `drain_s`."""
        notify("STOPPING=1", "STATUS=draining")
        log.info("ending: %d sessions", len(self.shared.sessions()))
        for session in self.shared.sessions():
            session.end_stream()
        draining = threading.Thread(
            target=self.shared.jobs.end, args=(self.shared.config.drain_s,)
        )
        draining.start()
        while draining.is_alive():
            draining.join(0.2)
            self._tick()
            if self._n_signals > 1:  # asked twice: at once
                self.shared.jobs.cancel_all()
        for session in self.shared.sessions():
            session.end()
        deadline = time.monotonic() + GOODBYE_S
        for session in self.shared.sessions():
            session.join(max(0.0, deadline - time.monotonic()))

    # ---- the main loop ------------------------------------------------------------

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            self._wants_reload = True
        else:
            self._n_signals += 1
            self.shared.is_ending = True

    def _tick(self) -> float:
        """Do what is due and return how long to wait for more."""
        if self.shared.has_freed and time.monotonic() > self._trimmed + TRIM_S:
            self.shared.has_freed, self._trimmed = False, time.monotonic()
            trim()
        n_streams = sum(s.stream is not None for s in self.shared.sessions())
        lines = [f"STATUS={n_streams} streams, {len(self.shared.jobs.all())} jobs"]
        limit_s = watchdog_s()
        if limit_s is not None and self._is_alive(limit_s):
            lines.append("WATCHDOG=1")
        notify(*lines)
        return min(TICK_S, (limit_s or TICK_S) / 3)

    def _is_alive(self, limit_s: float) -> bool:
        """Say whether delegates answer, and jobs move or are ended in time."""
        is_moving = (
            self.shared.jobs.longest_silence() < limit_s + self.shared.config.stall_s
        )
        return is_moving and self.shared.engine.scheduler.longest_call() < limit_s

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # no descriptors left: others will be given back
            log.warning("cannot accept: %s", error.strerror)
            time.sleep(0.1)
            return
        peer, say = peer_of(connection), self.shared.notes.say
        reason = refusal(self.shared, peer)
        if reason:
            text = "pid %d, uid %d refused: %s"
            say(logging.WARNING, peer.uid, text, peer.pid, peer.uid, reason[0])
            with contextlib.suppress(OSError), connection:
                connection.send(encode_error(*reason), socket.MSG_DONTWAIT)
            return
        say(logging.INFO, peer.uid, "pid %d, uid %d, gid %d connects", *peer)
        session = Session(self.shared, connection, peer)
        self.shared.add(session)
        # Before it runs: it could subscribe and be told of itself, or close first.
        self.shared.event("session", state="opened", pid=peer.pid)
        try:
            session.start()
        except RuntimeError as error:
            self.shared.forget(session, f"refused: {error}")

    def _reload_config(self) -> None:
        self._wants_reload = False
        if self._reload is None:
            return
        old = (self.shared.input_dirs, self.shared.output_dirs)
        try:
            new = self._reload()
            self.shared.hold_folders(new)
        except EdgestemError as error:
            log.error("the configuration stays as it was: %s", error)
            return
        fixed = [
            n for n in RESTART_ONLY if getattr(new, n) != getattr(self.shared.config, n)
        ]
        if fixed:
            log.warning("a restart is needed to change: %s", ", ".join(fixed))
        self.shared.config = new
        for folders in old:  # who has just looked one up has an error, no other folder
            folders.close()
        for session in self.shared.sessions():
            if not is_allowed(session.peer, new.allow_users):
                log.warning("pid %d: its user may stay no longer", session.peer.pid)
                session.dismiss()
        log.info("configuration loaded")


def run(config: DaemonConfig, reload: Callable[[], DaemonConfig] | None = None) -> None:
    """Be the daemon until a signal ends it.

    Raises
    ------
    EdgestemError
        No model, no runtime, or the socket is another daemon's.
    """
    prepare(config)
    with contextlib.closing(Nursery()) as nursery, contextlib.ExitStack() as held:
        listeners = [held.enter_context(s) for s in passed_sockets()]
        if not listeners:
            listeners = [held.enter_context(bound_socket(config))]
        daemon = Daemon(config, reload, nursery)
        try:
            daemon.serve(listeners)
        finally:
            held.close()  # no new clients while it drains
            daemon.end()
