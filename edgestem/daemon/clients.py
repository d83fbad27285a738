"""One client's side of the job queue: what it asks for, and what it is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from edgestem.daemon.channel import Outbox
from edgestem.daemon.jobs.files import check_apart
from edgestem.daemon.jobs.work import Job, claim_input, claim_outputs, job_output
from edgestem.daemon.requests import Separate
from edgestem.daemon.shared import Shared
from edgestem.daemon.system.listener import Peer
from edgestem.errors import ProtocolError
from edgestem.wire.protocol import encode_reply


class ClientJobs:
    """One client's jobs."""

    def __init__(self, shared: Shared, outbox: Outbox, peer: Peer) -> None:
        self._shared, self._outbox, self._peer = shared, outbox, peer
        self._jobs = shared.jobs

    def submit(self, request: Separate, fds: list[int]) -> None:
        """Queue a job; the descriptors it takes are taken out of `fds`.

        Raises
        ------
        EdgestemError
            It cannot be done, or the queue is full.
        """
        shared, output = self._shared, job_output(request)
        self._outbox.wait_for_room()  # for what is told about the jobs
        with ExitStack() as held:
            source = claim_input(request, fds, shared.config, shared.input_dirs)
            held.callback(source.close)
            sink = claim_outputs(request, fds, shared.config, shared.output_dirs)
            held.callback(sink.close)
            check_apart(source, sink)
            number = self._jobs.number()
            job = Job(
                number,
                self,
                self._peer.uid,
                request.input or "the song",
                request.model,
                output,
                source,
                sink,
                self._teller(number, request.seq),
                self._jobs.give_way,
                request.tags,
            )
            self._jobs.add(job)
            held.pop_all()

    def _teller(self, number: int, seq: int | None) -> Callable[..., None]:
        def tell(kind: str, **fields: Any) -> None:
            data = encode_reply(kind, seq=seq, job=number, **fields)
            self._outbox.put_soon(data, is_event=kind == "progress")
            if kind != "progress":
                state = fields.get("code", kind)
                self._shared.event("job", job=number, state=state)

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
