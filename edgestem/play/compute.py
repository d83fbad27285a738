"""Who separates, and what is known of it before it is loaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgestem.engine.separator import Separator
from edgestem.network.catalogue import DEFAULT, model_path
from edgestem.network.sidecar import read_config
from edgestem.store.receipt import digest_of_model
from edgestem.store.store import Store


@dataclass(frozen=True)
class Compute:
    """Who separates; see `Separator`."""

    model: str = DEFAULT
    threads: int | None = None
    runtime: str | None = None
    device: str = "auto"
    device_options: tuple[tuple[str, str], ...] = ()
    fallback: bool = True

    def separator(self, sample_rate: int, n_channels: int) -> Separator:
        """Make one."""
        return Separator(
            sample_rate, n_channels, model=self.model, threads=self.threads,
            runtime=self.runtime, device=self.device,
            device_options=dict(self.device_options), fallback=self.fallback,
        )  # fmt: skip

    def digest(self) -> str:
        """Tell the digest of the network, for receipts; it is not loaded."""
        return digest_of_model(read_config(model_path(self.model)))


class Places:
    """On which device and runtime the last show's network ran, kept in the store.

    A song that is in the store starts without loading the network to find out.
    """

    def __init__(self, store: Store | None, compute: Compute) -> None:
        c = compute
        text = f"{c.digest()} {c.device} {c.device_options} {c.runtime} {c.fallback}"
        self._name = "place-" + hashlib.sha256(text.encode()).hexdigest()[:24]
        self._store = store

    def note(self, place: str) -> None:
        """Remember the place of a network that was loaded."""
        if self._store is not None and self.noted() != place:
            self._store.note(self._name, place)

    def noted(self) -> str:
        """Tell the last place; empty: nobody knows."""
        return self._store.noted(self._name) if self._store is not None else ""
