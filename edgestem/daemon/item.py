"""What waits in a stream's queue, in the order of the wire."""

from __future__ import annotations

from typing import NamedTuple

from edgestem.daemon.requests import Set

OVERHEAD = 256  # bytes of a queued item besides its audio


class Item(NamedTuple):
    """Something to do."""

    kind: str
    seq: int | None
    data: bytes = b""
    levels: Set | None = None
    arrived: float = 0.0
    n_gap: int = 0

    @property
    def cost(self) -> int:
        """Bytes it takes in the queue."""
        return len(self.data) + OVERHEAD
