"""`edgestem separate --socket`: the daemon separates, this process keeps the files.

The daemon gets open descriptors of the song and of hidden files beside the targets;
the files get their names here when it says `done`, by the writer that local runs
use.  A song that only ffmpeg reads is decoded here and handed over as WAV.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.client.connection import Client
from edgestem.errors import EdgestemError
from edgestem.files.loop import FILE_BLOCK, Progress
from edgestem.files.output import FileReport, Output
from edgestem.sound.encoding import open_encoder
from edgestem.sound.formats import target_paths
from edgestem.sound.grid import GRIDS, convert
from edgestem.sound.reading import open_song
from edgestem.sound.refusals import unreadable
from edgestem.sound.sndfile import SndfileSong
from edgestem.sound.song import Song
from edgestem.sound.tags import NAMES
from edgestem.sound.targets import check_stdout, check_targets
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles, copy_to_stdout
from edgestem.stems import MIN_DB
from edgestem.wire.protocol import MAX_TAGS, MAX_TEXT, as_json

DAEMONS_NAME = "the song"  # what it calls a song that it has by descriptor


class RemoteSeparator:
    """Stands for `files.separate.FileSeparator`; the work is done by a daemon.

    Parameters
    ----------
    output : Output
    path : str, optional
        The daemon's socket; where the network runs is the daemon's choice.
    model : str
        One of the daemon's; default its first.
    """

    def __init__(self, output: Output, path: str = "", model: str = "") -> None:
        self.output, self._model = output, model
        self._client = Client(path or None)

    def to_folder(
        self, path: str | Path, folder: Path, progress: Progress | None = None
    ) -> FileReport:
        """Write a song's stems into `folder`; see `files.separate.FileSeparator`."""
        targets = target_paths(folder, self.output.stems, self.output.file_format)
        return self.to_files(path, targets, progress)

    def to_files(
        self,
        path: str | Path,
        targets: Mapping[str, Path],
        progress: Progress | None = None,
    ) -> FileReport:
        """Write each stem of a song to a file of its own name."""
        o = self.output
        check_targets(path, targets, is_forced=o.is_forced)
        with (
            _open(path, o) as source,
            StemFiles(targets, o.file_format, None, is_forced=o.is_forced) as files,
        ):
            report = self._run(path, source, files.descriptors(), progress)
            files.commit()
        report.outputs = {name: str(target) for name, target in targets.items()}
        return report

    def to_stream(
        self, path: str | Path, file: BinaryIO, progress: Progress | None = None
    ) -> FileReport:
        """Write the one stem of the output to an open file or pipe."""
        check_stdout(path, file)
        with (
            _open(path, self.output) as source,
            tempfile.TemporaryFile() as stem,
        ):
            report = self._run(path, source, [stem.fileno()], progress)
            copy_to_stdout(stem, file)
        report.outputs = {self.output.stems[0]: "-"}
        return report

    def _run(
        self,
        path: str | Path,
        source: _Source,
        outputs: list[int],
        progress: Progress | None,
    ) -> FileReport:
        started = time.perf_counter()

        def tell(fields: dict[str, Any]) -> None:
            if progress is not None:  # thousandths: the length is the daemon's
                progress(int(10 * fields["percent"]), 1000)

        done = self._ask(source, outputs, tell)
        report = FileReport(
            input=DAEMONS_NAME,
            sample_rate=done["sample_rate"],
            n_channels=done["channels"],
            subtype=done["subtype"],
            latency_samples=done["latency_samples"],
            n_samples=done["n_samples"],
            n_bad_samples=done["n_bad_samples"],
            n_adjusted_samples=done["n_adjusted_samples"],
            n_clipped_samples=done.get("n_clipped_samples", 0),
            elapsed=time.perf_counter() - started,
        )
        source.add_to(report, done["warnings"])
        return report

    def _ask(
        self, source: _Source, outputs: list[int], tell: Callable[..., None]
    ) -> dict[str, Any]:
        """Let the daemon do it; its errors get the song's name."""
        o = self.output
        try:
            return self._client.separate_file(
                *(source.file.fileno(), outputs),
                progress=tell,
                stems=list(o.stems),
                vocals_db=_wire_db(o.vocals_db),
                format=o.file_format,
                subtype=o.subtype,
                bitrate=o.bitrate,
                tags=source.tags,
                model=self._model or None,
            )
        except EdgestemError as cause:
            text = str(cause).replace(DAEMONS_NAME, source.path, 1)
            raise EdgestemError(text, code=cause.code) from cause


def _wire_db(level: float | None) -> float | None:
    """Write silence as JSON can: what is below MIN_DB is none."""
    return MIN_DB - 1 if level == -math.inf else level


@dataclass(slots=True)
class _Source:
    """What the daemon is given, and what was seen while it was made."""

    file: BinaryIO
    path: str
    tags: dict[str, str] | None = None
    """None: the daemon finds them."""
    notes: list[str] = field(default_factory=list)
    n_bad_samples: int = 0
    n_clipped_samples: int = 0

    def add_to(self, report: FileReport, warnings: list[str]) -> None:
        """Tell what the daemon cannot know, and what both know once."""
        counted = report.sentences()  # as the daemon said them
        said = [text for text in warnings if text not in counted]
        report.input = self.path
        report.n_bad_samples += self.n_bad_samples
        report.n_clipped_samples += self.n_clipped_samples
        said = [text.replace(DAEMONS_NAME, self.path, 1) for text in said]
        report.warnings = self.notes + said + report.sentences()


# Containers whose samples stand in a row; what others hold is decoded here, where
# ffmpeg may read on behind damage.
_COUNTED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF")


@contextmanager
def _open(path: str | Path, output: Output) -> Iterator[_Source]:
    """Open what the daemon reads as well as we do, or a decoded copy."""
    song = open_song(path)
    try:
        is_file = str(path) != "-" and Path(path).is_file()  # a FIFO gives itself once
        if is_file and isinstance(song, SndfileSong) and song.container in _COUNTED:
            file = Path(path).open("rb")  # noqa: SIM115 - closed below
            source = _Source(file, str(path))
        else:
            source = _decode(song, str(path), output)
    finally:
        song.close()
    with source.file:
        yield source


def _decode(song: Song, path: str, output: Output) -> _Source:
    grid = GRIDS["16"] if song.is_lossy else song.grid
    if song.is_lossy and output.subtype != "keep":
        grid = GRIDS[output.subtype]  # or a step would be lost on the way
    n_samples = song.n_samples if song.is_exact else None
    wav = WavFormat(grid, song.sample_rate, song.n_channels, n_samples)
    file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    source = _Source(file, path, _short(song.tags))
    try:
        encoder = open_encoder(file, "wav", wav, Path(song.name))
        while len(block := song.read(FILE_BLOCK)):
            on_grid, n_clipped = convert(block, song.grid, grid)
            source.n_clipped_samples += n_clipped
            encoder.write(on_grid)
        encoder.finish()
        file.flush()
    except OSError as cause:
        file.close()
        raise EdgestemError(
            f"{song.name} cannot be decoded into a temporary file: {cause.strerror}; "
            "TMPDIR=FOLDER names another place for it",
            code="unwritable",
        ) from cause
    if song.is_damaged and song.n_read == 0:
        file.close()
        raise unreadable(song.name, "is damaged: nothing of it could be read")
    source.notes, source.n_bad_samples = song.notes, song.n_bad_samples
    return source


def _short(tags: dict[str, str]) -> dict[str, str]:
    """Keep the tags that a request holds: the longest go first."""
    found = {name: tags[name][:MAX_TEXT] for name in NAMES if tags.get(name)}
    while len(as_json(found)) > MAX_TAGS:
        del found[max(found, key=lambda name: len(as_json(found[name])))]
    return found
