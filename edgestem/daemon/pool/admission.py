"""Who may come in, open a stream or take more memory: the answers, with the numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgestem.daemon.pool.budget import room_for
from edgestem.daemon.shared import Shared
from edgestem.daemon.system.listener import Peer, is_allowed
from edgestem.errors import EdgestemError


def refusal(shared: Shared, peer: Peer) -> tuple[str, str] | None:
    """Say why a user may not connect, as code and text; None: it may."""
    uid, config = peer.uid, shared.config
    if not is_allowed(peer, config.allow_users):
        return "forbidden", f"user {uid} may not use this daemon (allow_users)"
    held = [(session.peer.uid, 1) for session in shared.sessions()]
    if room_for(uid, held, config.max_clients, config.user_share) >= 1:
        return None
    return "too_many_clients", (
        f"{len(held)} clients are connected, {_own(uid, held)} of this user; "
        f"max_clients {config.max_clients} and user_share {config.user_share:g} are "
        "the limits"
    )


def check_streams(shared: Shared, uid: int) -> None:
    """Refuse a stream beyond the limits.

    Raises
    ------
    EdgestemError
        `too_many_streams`.
    """
    held = [(s.peer.uid, 1) for s in shared.sessions() if s.stream is not None]
    limit, share = shared.config.max_streams, shared.config.user_share
    if room_for(uid, held, limit, share) < 1:
        raise EdgestemError(
            f"{len(held)} streams are open, {_own(uid, held)} of this user; "
            f"max_streams {limit} and user_share {share:g} are the limits",
            code="too_many_streams",
        )


@contextlib.contextmanager
def stream_place(shared: Shared, uid: int) -> Iterator[None]:
    """Open one stream at a time, if there is room for another of this user.

    Raises
    ------
    EdgestemError
        `too_many_streams` or `shutting_down`.
    """
    with shared.opening:
        if shared.is_ending:
            raise EdgestemError("the daemon is ending", code="shutting_down")
        check_streams(shared, uid)
        yield


def check_memory(shared: Shared, uid: int) -> None:
    """Refuse what was just noted down if it is more than a user may take.

    Raises
    ------
    EdgestemError
        `overloaded`.
    """
    held = [(s.peer.uid, s.door.memory) for s in shared.sessions()]
    held += [(j.uid, j.memory) for j in shared.jobs.all()]
    limit, share = shared.config.max_memory_mb << 20, shared.config.user_share
    if room_for(uid, held, limit, share) < 0:
        raise EdgestemError(
            f"with this, the user's streams and jobs would take "
            f"{_own(uid, held) >> 20} MiB of {sum(n for _, n in held) >> 20}; "
            f"max_memory_mb {limit >> 20} and user_share {share:g} are the limits: use "
            "a lower sample rate, a smaller model or fewer at a time",
            code="overloaded",
        )


def _own(uid: int, held: list[tuple[int, int]]) -> int:
    return sum(amount for other, amount in held if other == uid)
