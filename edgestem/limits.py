"""What a stream can be: its rates and its channels."""

from __future__ import annotations

from numbers import Real

from edgestem.errors import EdgestemError

MIN_RATE, MAX_RATE = 8_000, 384_000  # Hz


def check_stream(sample_rate: int, n_channels: int, name: str = "") -> None:
    """Refuse what no stream can be; `name` is the song's, for the message.

    Raises
    ------
    EdgestemError
        `unsupported_sample_rate` or `unsupported_channels`.
    TypeError
        The rate is no number.
    """
    if not isinstance(sample_rate, Real):
        raise TypeError(f"sample_rate: expected a number of Hz, got {sample_rate!r}")
    of = f"{name}: " if name else ""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise EdgestemError(
            f"{of}a sample rate of {sample_rate} Hz is outside {MIN_RATE}..{MAX_RATE}",
            code="unsupported_sample_rate",
        )
    if n_channels not in (1, 2):
        raise EdgestemError(
            f"{of}{n_channels} channels: edgestem separates mono and stereo; "
            "mix down first (ffmpeg -i IN -ac 2 OUT)",
            code="unsupported_channels",
        )
