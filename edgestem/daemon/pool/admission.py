"""Who may come in, open a stream or take more memory: the answers, with the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgestem.daemon.pool.budget import room_for
from edgestem.daemon.system.listener import Peer, is_allowed
from edgestem.errors import EdgestemError

if TYPE_CHECKING:
    from edgestem.daemon.server import Daemon


def refusal(daemon: Daemon, peer: Peer) -> tuple[str, str] | None:
    """Say why a user may not connect, as code and text; None: it may."""
    uid, config = peer.uid, daemon.config
    if not is_allowed(peer, config.allow_users):
        return "forbidden", f"user {uid} may not use this daemon (allow_users)"
    held = [(session.peer.uid, 1) for session in daemon.sessions()]
    if room_for(uid, held, config.max_clients, config.user_share) >= 1:
        return None
    return "too_many_clients", (
        f"{len(held)} clients are connected, {_own(uid, held)} of this user; "
        f"max_clients {config.max_clients} and user_share {config.user_share:g} are "
        "the limits"
    )


def check_streams(daemon: Daemon, uid: int) -> None:
    """Refuse a stream beyond the limits.

    Raises
    ------
    EdgestemError
        `too_many_streams`.
    """
    held = [(s.peer.uid, 1) for s in daemon.sessions() if s.stream is not None]
    limit, share = daemon.config.max_streams, daemon.config.user_share
    if room_for(uid, held, limit, share) < 1:
        raise EdgestemError(
            f"{len(held)} streams are open, {_own(uid, held)} of this user; "
            f"max_streams {limit} and user_share {share:g} are the limits",
            code="too_many_streams",
        )


def check_memory(daemon: Daemon, uid: int) -> None:
    """Refuse what was just noted down if it is more than a user may take.

    Raises
    ------
    EdgestemError
        `overloaded`.
    """
    held = [(s.peer.uid, s.door.memory) for s in daemon.sessions()]
    held += [(j.uid, j.memory) for j in daemon.jobs.all()]
    limit, share = daemon.config.max_memory_mb << 20, daemon.config.user_share
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
