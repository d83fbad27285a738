"""`edgestem separate --socket`: the daemon separates, this process keeps the files.

The daemon gets open descriptors of the song and of hidden files beside the targets;
the files get their names here when it says `done`, by the writer that local runs
use.  A song that only ffmpeg reads is decoded here and handed over as WAV.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

from edgestem.audio import BLOCK, Progress, check_targets
from edgestem.client import Client
from edgestem.encoding import open_encoder
from edgestem.errors import EdgestemError
from edgestem.grid import GRIDS, convert
from edgestem.job import FileReport, Options
from edgestem.reading import open_song
from edgestem.sndfile import SndfileSong
from edgestem.wav import WavFormat
from edgestem.writing import StemFiles, target_paths


class RemoteSeparator:
    """Stands for `audio.FileSeparator`; the work is done by a daemon.

    Parameters
    ----------
    options : Options
        `threads`, `fft`, `runtime` and the device are the daemon's own.
    path : str, optional
        The daemon's socket.
    model : str
        One of the daemon's; default its first.
    """

    def __init__(self, options: Options, path: str = "", model: str = "") -> None:
        self.options, self._model = options, model
        self._client = Client(path or None)

    def to_folder(
        self, path: str | Path, folder: Path, progress: Progress | None = None
    ) -> FileReport:
        """Write a song's stems into `folder`; see `audio.FileSeparator`."""
        o = self.options
        targets = target_paths(folder, o.stems, o.file_format)
        check_targets(path, targets, is_forced=o.is_forced)
        with (
            _Handed(path) as source,
            StemFiles(folder, o.stems, o.file_format, None) as files,
        ):
            report = self._run(path, source, files.descriptors(), progress)
            files.commit()
        report.outputs = {name: str(target) for name, target in targets.items()}
        return report

    def to_stream(
        self, path: str | Path, file: BinaryIO, progress: Progress | None = None
    ) -> FileReport:
        """Write the one stem of the options to an open file or pipe."""
        with (
            _Handed(path) as source,
            tempfile.TemporaryFile() as stem,
        ):
            report = self._run(path, source, [stem.fileno()], progress)
            stem.seek(0)
            shutil.copyfileobj(stem, file)
            file.flush()
        report.outputs = {self.options.stems[0]: "-"}
        return report

    def _run(
        self,
        path: str | Path,
        source: _Handed,
        outputs: list[int],
        progress: Progress | None,
    ) -> FileReport:
        started = time.perf_counter()

        def tell(fields: dict[str, Any]) -> None:
            if progress is not None:  # thousandths: the length is the daemon's
                progress(int(10 * fields["percent"]), 1000)

        o = self.options
        done = self._client.separate_file(
            source.file.fileno(),
            outputs,
            progress=tell,
            stems=list(o.stems),
            vocals_db=o.vocals_db,
            format=o.file_format,
            subtype=o.subtype,
            model=self._model or None,
        )
        report = FileReport(
            input=str(path),
            sample_rate=done["sample_rate"],
            n_channels=done["channels"],
            subtype=done["subtype"],
            latency_samples=done["latency_samples"],
            n_samples=done["n_samples"],
            n_bad_samples=done["n_bad_samples"],
            n_adjusted_samples=done["n_adjusted_samples"],
            warnings=[text.replace("the song", str(path)) for text in done["warnings"]],
            elapsed=time.perf_counter() - started,
        )
        source.add_to(report)
        return report


class _Handed:
    """What the daemon gets: the song's own file, or a decoded copy of it."""

    def __init__(self, path: str | Path) -> None:
        self._song = song = open_song(path)
        self._n_clipped = 0
        self.file: BinaryIO
        try:
            if isinstance(song, SndfileSong):
                # A path might be a FIFO, or another file by now: what is open counts.
                self.file = os.fdopen(os.dup(song.file.fileno()), "rb")
                os.lseek(self.file.fileno(), 0, os.SEEK_SET)
                self._is_decoded = False
            else:
                self.file, self._is_decoded = self._decode(), True
        finally:
            song.close()

    def __enter__(self) -> _Handed:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add_to(self, report: FileReport) -> None:
        """Say what only this side knows: how reading the song went."""
        if not self._is_decoded:  # the daemon has read it
            return
        song = self._song
        report.n_bad_samples += song.n_bad_samples
        report.n_clipped_samples += self._n_clipped
        here = FileReport(
            report.input,
            song.sample_rate,
            song.n_channels,
            report.subtype,
            0,
            n_bad_samples=song.n_bad_samples,
            n_clipped_samples=self._n_clipped,
        )
        own = [song.warning] if song.warning else []
        report.warnings = own + here.sentences() + report.warnings

    def _decode(self) -> BinaryIO:
        song = self._song
        grid = GRIDS["16"] if song.is_lossy else song.grid
        wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
        file: Any = None
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by our caller
            encoder = open_encoder(file, "wav", wav, Path(song.name))
            while len(block := song.read(BLOCK)):
                on_grid, n_clipped = convert(block, song.grid, grid)
                self._n_clipped += n_clipped
                encoder.write(on_grid)
            encoder.finish()
            file.flush()
        except BaseException as cause:
            if file is not None:
                file.close()
            if isinstance(cause, OSError):
                raise EdgestemError(
                    f"{song.name} cannot be decoded into a temporary file: "
                    f"{cause.strerror}; TMPDIR=FOLDER chooses where",
                    code="unwritable",
                ) from cause
            raise
        return file  # type: ignore[no-any-return]
