"""What decides the bits of a stem: the model, the runtime and the options.

Two runs with one identity write the same samples; a receipt holds the identity that
it was made with, so that a later run can tell whether it fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgestem.errors import ModelError
from edgestem.files.output import Output
from edgestem.network.catalogue import model_path
from edgestem.network.choices import RUNTIMES
from edgestem.network.compute import Compute
from edgestem.network.reading import check_digest, read_config
from edgestem.network.runtime import installed
from edgestem.stems import STEMS
from edgestem.version import __version__


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a catalogue is made with, in words that travel to other machines."""

    stems: tuple[str, ...] = STEMS
    """Both, or the one that is kept."""
    file_format: str = "wav"
    """wav, flac, ogg or mp3."""
    subtype: str = "keep"
    """Sample format of the stems."""
    bitrate: int | None = None
    """kbit/s of ogg and mp3."""
    model: str = "karaoke"
    """Name, or path of a .tflite file."""
    runtime: str | None = None
    """TFLite distribution; None: the preferred one."""
    device: str = "cpu"
    """Where the network runs."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Recipe:
        """Read what `asdict` gave."""
        return cls(**{**found, "stems": tuple(found["stems"])})

    def output(self, *, is_forced: bool = False) -> Output:
        """Give what a song becomes.

        Raises
        ------
        ValueError
            The words contradict each other.
        """
        return Output(
            stems=self.stems,
            file_format=self.file_format,
            subtype=self.subtype,
            bitrate=self.bitrate,
            is_forced=is_forced,
        )

    def compute(self) -> Compute:
        """Give who computes; each process has one thread."""
        return Compute(threads=1, runtime=self.runtime, device=self.device)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a receipt has to agree with."""

    model: str
    """sha256 of everything about the model that changes a sample."""
    runtime: str
    """TFLite distribution and its version."""
    options: dict[str, Any]
    """Stems, container, sample format, bit rate, device."""

    def difference(self, made: Mapping[str, Any]) -> str:
        """Name what differs from a receipt's identity, or nothing."""
        words = ("model", "runtime", "options")
        mine = {"model": self.model, "runtime": self.runtime, "options": self.options}
        return ", ".join(word for word in words if made.get(word) != mine[word])


def identity(recipe: Recipe) -> Identity:
    """Find out what a recipe means on this machine; the model's files are read.

    Raises
    ------
    ModelError
        There is no such model, it is damaged, or no runtime is installed.
    """
    config = read_config(model_path(recipe.model))
    check_digest(config)
    options = {
        "stems": list(recipe.stems),
        "format": recipe.file_format,
        "subtype": recipe.subtype,
        "bitrate": recipe.bitrate,
        "device": recipe.device,
    }
    return Identity(config.digest, _runtime(recipe.runtime), options)


def _runtime(distribution: str | None) -> str:
    """Name the runtime as `runtime_module` would choose it, without loading it."""
    found = installed()
    for _, name in RUNTIMES:
        if name in found and distribution in (None, name):
            return f"{name} {found[name]}"
    raise ModelError(
        f"no {distribution or 'TFLite runtime'} is installed; `edgestem doctor` says "
        "what to install",
        code="runtime_missing",
    )


def described(known: Identity) -> dict[str, Any]:
    """Give what receipts and greetings say of an identity."""
    return {"edgestem": __version__, **asdict(known)}
