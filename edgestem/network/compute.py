"""Where and how networks run, as one thing that is handed down whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.network.choices import MAX_THREADS


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What users choose of the machine; each door makes it from its keywords.

    Raises
    ------
    EdgestemError
        `bad_threads`: not a whole number from 1 to MAX_THREADS.
    """

    threads: int | None = None
    """Threads of the networks; None: one, or what the door takes in its place."""
    fft: str = "auto"
    """Back end of the spectrogram stages and of levels in float."""
    runtime: str | None = None
    """TFLite distribution; default the fastest installed."""
    device: str = "auto"
    """Where networks run; see `devices.choice`."""
    device_options: Mapping[str, str] = field(default_factory=dict)
    """Handed to the device's delegate library."""
    fallback: bool = True
    """Go to the CPU, with a RuntimeWarning, when the device is refused."""

    def __post_init__(self) -> None:
        threads = self.n_threads
        if not isinstance(threads, int) or not 1 <= threads <= MAX_THREADS:
            raise EdgestemError(
                f"threads: expected 1 to {MAX_THREADS}, got {threads!r}",
                code="bad_threads",
            )

    @property
    def n_threads(self) -> int:
        """Threads of the networks."""
        return 1 if self.threads is None else self.threads

    def keywords(self) -> dict[str, Any]:
        """Give the keywords that `Separator` takes."""
        return {x.name: getattr(self, x.name) for x in fields(self)}


ANY = Compute()
CPU = Compute(device="cpu")
