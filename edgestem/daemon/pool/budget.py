"""What one user may take of what the daemon has.

Limits in all keep the daemon alive, shares keep it useful to the others: a user may
hold `share` of what the others leave, so that one more user always finds something.
root and the daemon's own user could end the daemon anyway; they may take all.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable


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
