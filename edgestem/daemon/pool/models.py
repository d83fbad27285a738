"""Networks from elsewhere are tried in a child before the daemon loads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgestem.daemon.jobs.child import Child, nothing
from edgestem.daemon.jobs.nursery import Nursery
from edgestem.errors import EdgestemError, ModelError

LOADING_S = 60.0  # a slow board, or a busy one; `stall_s` is about clients' files


def try_models(
    nursery: Nursery, models: Iterable[tuple[str, Path]], stall_s: float
) -> None:
    """Load networks from elsewhere in a child first: a network is code.

    Raises
    ------
    ModelError
        `model_mismatch`: one of them crashes, hangs or cannot be loaded.
    """
    for name, path in models:
        patience_s = max(stall_s, LOADING_S)
        child = Child(nursery, name, nothing, patience_s, word="try")
        try:
            child.ask("loaded", "model", path=str(path))
        except EdgestemError as cause:
            if cause.code not in ("died", "stalled", "internal", "too_large"):
                raise ModelError(str(cause), code=cause.code, path=str(path)) from None
            raise ModelError(
                f"the model {path} cannot be used: it was tried in a child process "
                f"first, and {cause}; get it again from where it comes",
                code="model_mismatch",
                path=str(path),
            ) from cause
        finally:
            child.end()
