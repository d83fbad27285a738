"""The file door: a song in, its stems out, block by block.

The engine gives float vocals, late; the mixture waits on the song's grid until
its vocals are known, and the mixture law is applied there (`grid.split`).
Nothing here grows with the length of a song.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from edgestem.engine.separator import Separator
from edgestem.errors import ModelError
from edgestem.files.loop import Progress, begin_song, separate_song
from edgestem.files.names import song_name
from edgestem.files.output import FileReport, Output
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY, Compute
from edgestem.network.model import for_each_network
from edgestem.sound.containers import Details
from edgestem.sound.covers import read_covers
from edgestem.sound.extras import corrected, read_extras
from edgestem.sound.formats import target_paths
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song
from edgestem.sound.targets import check_stdout, check_targets
from edgestem.sound.writing import Reader, StemFiles, WavStream
from edgestem.stems import STEMS

Opener = Callable[[str | Path], Song]


def separate_file(
    path: str | Path,
    out_dir: str | Path,
    *,
    stems: tuple[str, ...] = STEMS,
    vocals_db: float | None = None,
    file_format: str = "wav",
    subtype: str = "keep",
    bitrate: int | None = None,
    force: bool = False,
    model: str | Path = DEFAULT,
    threads: int | None = None,
    fft: str = "auto",
    runtime: str | None = None,
    device: str = "auto",
    device_options: Mapping[str, str] | None = None,
    fallback: bool = True,
    progress: Progress | None = None,
) -> FileReport:
    """Separate a song into `out_dir/<song>/vocals.wav` and `instrumental.wav`.

    The stems have the song's length, sample rate, channels and sample format, and
    add up to it: exactly for integers, to one rounding for floats.  Files appear
    under their names when all of them are complete.

    Parameters
    ----------
    path : str or Path
        What libsndfile reads, or ffmpeg where it is installed.
    out_dir : str or Path
        Made when it is not there.
    stems : tuple of str
        Of "vocals", "instrumental" and "karaoke".
    vocals_db : float, optional
        Level of the vocals in "karaoke", dB, -120 to 20.
    file_format : str
        wav, flac, ogg, mp3, m4a, alac, opus; only wav, flac and alac keep every bit.
    subtype : str
        "keep", "8", "16", "24", "32", "float" or "double".
    bitrate : int, optional
        kbit/s of the lossy formats, 64 to 320; default 320, of m4a 256, opus 128.
    force : bool
        Replace stems that exist.
    model, threads, fft, runtime, device, device_options
        See `Separator`.
    fallback : bool
        See `Separator`; a song whose device fails is begun again on the CPU, too.
    progress : callable, optional
        Called with (samples done, samples in all or None).

    Raises
    ------
    EdgestemError
        One of its kinds; nothing was written.
    ValueError
        An option makes no sense.
    """
    output = Output(
        stems=stems,
        vocals_db=vocals_db,
        file_format=file_format,
        subtype=subtype,
        bitrate=bitrate,
        is_forced=force,
    )
    compute = Compute(
        threads=threads,
        fft=fft,
        runtime=runtime,
        device=device,
        device_options=device_options or {},
        fallback=fallback,
    )
    folder = Path(out_dir) / song_name(path)
    return FileSeparator(output, model, compute).to_folder(path, folder, progress)


class FileSeparator:
    """Separates one file after the other with one loaded model.

    Parameters
    ----------
    output : Output
        Between songs it may change.
    model : str or Path
        Name or .tflite file.
    compute : Compute
        Without `threads`, one for each network, as far as there are cores.
    opener : callable, optional
        Opens a song, in the place of `open_song`, for who wants to hear it too.
    reader : callable, optional
        Reads the files before they have their names; see `StemFiles`.
    n_kept : int
        Rates and channel counts whose models stay loaded.
    """

    def __init__(
        self,
        output: Output,
        model: str | Path = DEFAULT,
        compute: Compute = ANY,
        *,
        opener: Opener | None = None,
        reader: Reader | None = None,
        n_kept: int = 1,
    ) -> None:
        self.output = output
        self._model, self._compute = model, compute
        self._open, self._reader, self._n_kept = opener, reader, n_kept
        self._kept: list[Separator] = []  # the one that was used last comes last
        self._separator: Separator | None = None

    def to_folder(
        self, path: str | Path, folder: Path, progress: Progress | None = None
    ) -> FileReport:
        """Write a song's stems into `folder`; see `to_files`."""
        o = self.output
        targets = target_paths(folder, o.stems, o.file_format)
        return self.to_files(path, targets, progress)

    def to_files(
        self,
        path: str | Path,
        targets: Mapping[str, Path],
        progress: Progress | None = None,
    ) -> FileReport:
        """Write each stem of a song to a file of its own name; see `separate_file`.

        Where the device fails, the song is begun again on the CPU, which keeps the
        work from then on; the report says so.
        """
        o = self.output
        started = time.perf_counter()
        check_targets(path, targets, is_forced=o.is_forced)
        try:
            report = self._to_files(path, targets, progress)
        except ModelError as error:
            if not self._may_begin_again(path, error):
                raise
            self._compute = replace(self._compute, device="cpu")
            report = self._to_files(path, targets, progress)
            report.warnings.insert(0, f"{path}: begun again on the CPU, for {error}")
        report.outputs = {name: str(target) for name, target in targets.items()}
        report.elapsed = time.perf_counter() - started
        return report

    def _may_begin_again(self, path: str | Path, error: ModelError) -> bool:
        """Say whether the CPU may do what a device has left unfinished."""
        s = self._separator
        is_device = s is not None and s.device != "cpu"
        # What came through a pipe is gone.
        is_there = str(path) != "-" and Path(path).is_file()
        may = self._compute.fallback and is_device and is_there
        return may and error.code == "device_lost"

    def _to_files(
        self,
        path: str | Path,
        targets: Mapping[str, Path],
        progress: Progress | None,
    ) -> FileReport:
        """Separate a song that is checked."""
        o = self.output
        song = (self._open or open_song)(path)
        try:
            wav, report = begin_song(str(path), song, o)
            separator = self._separator_for(song)
            details = details_of(song, o)
            with StemFiles(
                *(targets, o.file_format, wav),
                details=details,
                is_forced=o.is_forced,
                reader=self._reader,
            ) as files:
                separate_song(
                    *(song, separator, files, wav.grid, report, o.vocals_db, progress),
                    is_overlapped=True,
                )
                files.commit()
        finally:
            song.close()
        return report

    def to_stream(
        self, path: str | Path, file: BinaryIO, progress: Progress | None = None
    ) -> FileReport:
        """Write the one stem of the output as WAV to an open file or pipe."""
        o = self.output
        (stem,) = o.stems
        started = time.perf_counter()
        check_stdout(path, file)
        song = open_song(path)
        try:
            wav, report = begin_song(str(path), song, o)
            separator = self._separator_for(song)
            sink = WavStream(file, stem, wav)
            separate_song(
                *(song, separator, sink, wav.grid, report, o.vocals_db, progress),
                is_overlapped=True,
            )
            sink.finish()
        finally:
            song.close()
        report.outputs = {stem: "-"}
        report.elapsed = time.perf_counter() - started
        return report

    def _separator_for(self, song: Song) -> Separator:
        stream = song.sample_rate, song.n_channels
        self._kept = [s for s in self._kept if not s.is_lost]
        for s in self._kept:
            if (s.sample_rate, s.n_channels) == stream:
                s.reset()
                self._separator = s
                self._kept.sort(key=lambda kept: kept is s)
                return s
        del self._kept[: len(self._kept) - self._n_kept + 1]
        self._separator = Separator(
            *stream,
            model=self._model,
            **for_each_network(self._model, self._compute).keywords(),
        )
        self._kept.append(self._separator)
        return self._separator


def details_of(song: Song, output: Output) -> Details:
    """Gather what only some containers hold."""
    is_held = output.file_format != "wav" and song.name != "standard input"
    if not is_held:
        return Details(output.bitrate, song.tags)
    covers, extras = read_covers(song.name), read_extras(song.name)
    tags = corrected(song.tags, extras)
    return Details(output.bitrate, tags, covers, extras)
