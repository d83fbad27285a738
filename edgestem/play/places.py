"""What is known of who separates before the network is loaded."""

from __future__ import annotations

import hashlib

from edgestem.network.catalogue import model_path
from edgestem.network.compute import Compute
from edgestem.network.reading import read_config
from edgestem.store.receipt import digest_of_model
from edgestem.store.store import Store


def digest_of(model: str) -> str:
    """Tell the digest of a network, for receipts; it is not loaded."""
    return digest_of_model(read_config(model_path(model)))


class Places:
    """On which device and runtime the last show's network ran, kept in the store.

    A song that is in the store starts without loading the network to find out.

    Parameters
    ----------
    store : Store, optional
    model : str
        Digest of the network.
    compute : Compute
    """

    def __init__(self, store: Store | None, model: str, compute: Compute) -> None:
        c, options = compute, sorted(compute.device_options.items())
        text = f"{model} {c.device} {options} {c.runtime} {c.fallback}"
        self._name = "place-" + hashlib.sha256(text.encode()).hexdigest()[:24]
        self._store = store

    def note(self, place: str) -> None:
        """Remember the place of a network that was loaded."""
        if self._store is not None and self.noted() != place:
            self._store.note(self._name, place)

    def noted(self) -> str:
        """Tell the last place; empty: nobody knows."""
        return self._store.noted(self._name) if self._store is not None else ""
