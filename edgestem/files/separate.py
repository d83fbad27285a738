"""The file door: a song in, its stems out, block by block.

The engine gives float vocals, late; the mixture waits on the song's grid until
its vocals are known, and the mixture law is applied there (`grid.split`).
Nothing here grows with the length of a song.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgestem.engine.separator import Separator, check_stream
from edgestem.errors import AudioError, EdgestemError
from edgestem.files.output import FileReport, Options
from edgestem.network.model import DEFAULT
from edgestem.sound.containers import Details
from edgestem.sound.covers import read_covers
from edgestem.sound.encoding import choose_grid
from edgestem.sound.extras import read_extras
from edgestem.sound.grid import GRIDS, Grid, Samples, convert, mix, split, to_float32
from edgestem.sound.reading import open_song
from edgestem.sound.song import Song, unreadable
from edgestem.sound.targets import check_stdout, check_targets
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles, WavStream, target_paths
from edgestem.stems import MIX, STEMS

BLOCK = 65536  # samples: 1.5 s at 44.1 kHz; large enough that calls cost nothing

Progress = Callable[[int, int | None], None]


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
    model, threads, fft, runtime, device, device_options, fallback
        See `Separator`.
    progress : callable, optional
        Called with (samples done, samples in all or None).

    Raises
    ------
    EdgestemError
        One of its kinds; nothing was written.
    ValueError
        An option makes no sense.
    """
    options = Options(
        stems=stems,
        vocals_db=vocals_db,
        file_format=file_format,
        subtype=subtype,
        bitrate=bitrate,
        is_forced=force,
        model=model,
        threads=threads,
        fft=fft,
        runtime=runtime,
        device=device,
        device_options=device_options or {},
        fallback=fallback,
    )
    folder = Path(out_dir) / song_name(path)
    return FileSeparator(options).to_folder(path, folder, progress)


def song_name(path: str | Path) -> str:
    """Name of a song's folder: the file's name without its extension."""
    if str(path) == "-":
        return "stdin"
    path = Path(path)
    return path.name if path.stem in ("", ".", "..") else path.stem


class FileSeparator:
    """Separates one file after the other with one loaded model."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._separator: Separator | None = None

    def to_folder(
        self, path: str | Path, folder: Path, progress: Progress | None = None
    ) -> FileReport:
        """Write a song's stems into `folder`; see `separate_file`."""
        o = self.options
        targets = target_paths(folder, o.stems, o.file_format)
        return self.to_files(path, targets, progress)

    def to_files(
        self,
        path: str | Path,
        targets: Mapping[str, Path],
        progress: Progress | None = None,
    ) -> FileReport:
        """Write each stem of a song to a file of its own name; see `separate_file`."""
        o = self.options
        started = time.perf_counter()
        check_targets(path, targets, is_forced=o.is_forced)
        song = open_song(path)
        try:
            grid, report = self._begin(song, str(path))
            n_samples = song.n_samples
            wav = WavFormat(grid, song.sample_rate, song.n_channels, n_samples)
            details = details_of(song, o)
            with StemFiles(
                Path(),
                *(o.stems, o.file_format, wav),
                details=details,
                is_forced=o.is_forced,
                paths=targets,
            ) as files:
                self._write(song, grid, files, report, progress)
                files.commit()
        finally:
            song.close()
        report.outputs = {name: str(target) for name, target in targets.items()}
        report.elapsed = time.perf_counter() - started
        return report

    def to_stream(
        self, path: str | Path, file: BinaryIO, progress: Progress | None = None
    ) -> FileReport:
        """Write the one stem of the options as WAV to an open file or pipe."""
        (stem,) = self.options.stems
        started = time.perf_counter()
        check_stdout(path, file)
        song = open_song(path)
        try:
            grid, report = self._begin(song, str(path))
            n_samples = song.n_samples
            wav = WavFormat(grid, song.sample_rate, song.n_channels, n_samples)
            sink = WavStream(file, stem, wav)
            self._write(song, grid, sink, report, progress)
            sink.finish()
        finally:
            song.close()
        report.outputs = {stem: "-"}
        report.elapsed = time.perf_counter() - started
        return report

    def _begin(self, song: Song, path: str) -> tuple[Grid, FileReport]:
        """Choose the grid, load the model or take the loaded one."""
        try:
            check_stream(song.sample_rate, song.n_channels)
        except EdgestemError as cause:
            raise AudioError(
                f"{song.name}: {cause}", code=cause.code, path=path
            ) from cause
        own = GRIDS["16"] if song.is_lossy else song.grid
        grid, note = choose_grid(self.options.subtype, self.options.file_format, own)
        separator = self._separator_for(song)
        report = FileReport(
            input=path,
            sample_rate=song.sample_rate,
            n_channels=song.n_channels,
            subtype=grid.name,
            latency_samples=separator.latency_samples,
        )
        report.warnings += [note] if note else []
        return grid, report

    def _separator_for(self, song: Song) -> Separator:
        s, o = self._separator, self.options
        stream = (song.sample_rate, song.n_channels)
        if s is not None and (s.sample_rate, s.n_channels) == stream:
            s.reset()
            return s
        self._separator = Separator(
            *stream,
            model=o.model,
            threads=o.threads,
            fft=o.fft,
            runtime=o.runtime,
            device=o.device,
            device_options=o.device_options,
            fallback=o.fallback,
        )
        return self._separator

    def _write(
        self,
        song: Song,
        grid: Grid,
        sink: StemFiles | WavStream,
        report: FileReport,
        progress: Progress | None,
    ) -> None:
        """Feed the sink until the song ends, and sum up."""
        assert self._separator is not None
        for mixture, vocals in _pairs(song, self._separator, grid, report):
            stems, n_adjusted, n_clipped = self._stems(mixture, vocals, grid)
            report.n_clipped_samples += n_clipped + sink.write(stems)
            report.n_samples += len(mixture)
            report.n_adjusted_samples += n_adjusted
            if progress is not None:
                progress(report.n_samples, song.n_samples)
        if song.is_damaged and report.n_samples == 0:
            raise unreadable(song.name, "is damaged: nothing of it could be read")
        report.n_bad_samples = song.n_bad_samples
        report.warnings += song.notes
        report.warnings += report.sentences()

    def _stems(
        self, mixture: Samples, vocals: Samples, grid: Grid
    ) -> tuple[dict[str, Samples], int, int]:
        """Apply the mixture law, and mix the karaoke if it is wanted."""
        on_grid, instrumental, n_adjusted = split(mixture, vocals, grid)
        stems, n_clipped = {"vocals": on_grid, "instrumental": instrumental}, 0
        if self.options.vocals_db is not None:
            gain = 10 ** (self.options.vocals_db / 20)
            stems[MIX], n_clipped = mix(on_grid, instrumental, gain, grid)
        return stems, n_adjusted, n_clipped


def _pairs(
    song: Song, separator: Separator, grid: Grid, report: FileReport
) -> Iterator[tuple[Samples, Samples]]:
    """Yield the mixture on the grid and its vocals, aligned, block by block."""
    n_late = separator.latency_samples  # output that belongs to nothing
    waiting: Samples = np.empty((0, song.n_channels), grid.dtype)
    while True:
        x = song.read(BLOCK)
        block, n_clipped = convert(x, song.grid, grid)
        report.n_clipped_samples += n_clipped
        is_end = len(block) == 0
        stems = separator.flush() if is_end else separator.push(to_float32(block, grid))
        n_skip = min(n_late, len(stems.vocals))
        n_late -= n_skip
        vocals = stems.vocals[n_skip:]
        waiting = np.concatenate([waiting, block])
        if len(vocals):
            yield waiting[: len(vocals)], vocals
            waiting = waiting[len(vocals) :].copy()
        if is_end:
            return


def details_of(song: Song, options: Options) -> Details:
    """Gather what only some containers hold."""
    is_held = options.file_format != "wav" and song.name != "standard input"
    if not is_held:
        return Details(options.bitrate, song.tags)
    covers, extras = read_covers(song.name), read_extras(song.name)
    return Details(options.bitrate, song.tags, covers, extras)
