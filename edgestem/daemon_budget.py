"""What one user may take of what the daemon has.

Limits in all keep the daemon alive, shares keep it useful to the others: a user may
hold `share` of what the others leave, so that one more user always finds something.
root and the daemon's own user could end the daemon anyway; they may take all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from edgestem.separator import Separator

BASE = 8 << 20  # bytes of a stream besides what follows: queues, threads, plans
_MODEL = 3  # a network's weights, its arena, the delegate's copy; measured
_LATENCY = 5  # blocks of the latency's length: spectra, delay lines; measured


def room_for(
    uid: int, held: Iterable[tuple[int, int]], limit: int, share: float
) -> int:
    """Return how much more of a limit a user may take.

    Parameters
    ----------
    uid : int
    held : of (uid, amount)
        Who holds what.
    limit : int
        Of all together.
    share : float
        Part of what the others leave, 0..1.
    """
    own = others = 0
    for other, amount in held:
        if other == uid:
            own += amount
        else:
            others += amount
    left = max(limit - others, 0)
    if uid not in (0, os.geteuid()):
        left = math.ceil(left * share)
    return left - own


def memory_of(separator: Separator) -> int:
    """Estimate the bytes of a stream with this separator; measured to be enough."""
    block = 4 * separator.n_channels * separator.latency_samples
    model = separator.config.path.stat().st_size
    return BASE + _MODEL * model + _LATENCY * block
