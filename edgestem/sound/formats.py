"""The words for what stems are written as; nothing that reads or writes them."""

from __future__ import annotations

from pathlib import Path

CONTAINERS = ("wav", "flac", "ogg", "mp3")  # libsndfile's, and the daemon's
BY_FFMPEG = ("m4a", "alac", "opus")  # what the program `ffmpeg` writes
ALL_CONTAINERS = CONTAINERS + BY_FFMPEG
EXTENSIONS = ("wav", "flac", "ogg", "mp3", "m4a", "opus")  # of stems
LOSSY = ("ogg", "mp3", "m4a", "opus")
MIN_BITRATE, MAX_BITRATE = 64, 320  # kbit/s: below, mp3 cannot say its exact length
# Name of a sample format -> bits of a sample in a file, dtype of samples in memory.
SAMPLES = {
    "8": (8, "int32"),
    "16": (16, "int32"),
    "24": (24, "int32"),
    "32": (32, "int64"),
    "float": (32, "float32"),
    "double": (64, "float64"),
}
SUBTYPES = ("keep", *SAMPLES)


def extension(file_format: str) -> str:
    """Name the extension of a format's files."""
    return "m4a" if file_format == "alac" else file_format


def target_paths(
    folder: Path, names: tuple[str, ...], file_format: str
) -> dict[str, Path]:
    """Name the file of each stem."""
    return {name: folder / f"{name}.{extension(file_format)}" for name in names}
