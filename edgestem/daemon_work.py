"""One job: the file door with three things exchanged.

The song comes from a descriptor, the separator takes turns with the others or
replays the cache, and the stems may go to descriptors.  The writers and the mixture
law are those of `audio.FileSeparator`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from edgestem.audio import FileSeparator, details_of
from edgestem.containers import Details
from edgestem.daemon_cache import Cache, Entry, Replay, digest, key_of
from edgestem.daemon_config import DaemonConfig
from edgestem.daemon_engine import Engine
from edgestem.daemon_files import Descriptors, Folder, opened_input, passed_input
from edgestem.daemon_requests import Separate
from edgestem.encoding import choose_grid
from edgestem.errors import AudioError, EdgestemError, ProtocolError
from edgestem.grid import GRIDS, Grid, Samples
from edgestem.job import MIN_DB, FileReport, Options
from edgestem.separator import Separator
from edgestem.sndfile import SndfileSong
from edgestem.song import Song, unreadable
from edgestem.targets import check_targets
from edgestem.wav import WavFormat
from edgestem.writing import StemFiles, target_paths

PROGRESS_S = 0.25  # time between two progress messages
MAX_NOTE, MAX_NOTES = 200, 4  # characters of a warning, and warnings of a job


@dataclass(slots=True, eq=False)
class Job:
    """One song of one client."""

    number: int
    owner: object
    """Whose it is: clients take turns."""
    name: str
    """Of its song, for messages."""
    options: Options
    source: BinaryIO
    sink: Folder | Descriptors
    tell: Callable[..., None]
    """Sends a message about it to the client."""
    state: str = "queued"
    percent: float = 0.0
    is_cancelled: bool = False
    asked: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Give up if nobody wants the result any more.

        Raises
        ------
        EdgestemError
            `cancelled`.
        """
        if self.is_cancelled:
            raise EdgestemError("the job was cancelled", code="cancelled")

    def close(self) -> None:
        """Let go of the files."""
        self.source.close()
        self.sink.close()


def job_options(request: Separate) -> Options:
    """Turn a request into the file door's options.

    Raises
    ------
    ProtocolError
        `bad_field`: its fields contradict each other.
    """
    level = request.vocals_db
    if level is not None and level < MIN_DB:
        level = -math.inf
    try:
        return Options(
            stems=request.stems,
            vocals_db=level,
            file_format=request.format,
            subtype=request.subtype,
            is_forced=request.replace,
            model=request.model,
        )
    except ValueError as cause:
        raise ProtocolError(str(cause), code="bad_field") from cause


def claim_input(request: Separate, fds: list[int], config: DaemonConfig) -> BinaryIO:
    """Open the song of a request; a descriptor is taken out of `fds`.

    Raises
    ------
    EdgestemError
        One of its kinds; see `daemon_files`.
    """
    n_fds = (not request.input) + len(request.stems) * (not request.output_dir)
    if len(fds) != n_fds:
        raise ProtocolError(
            f"this job takes {n_fds} descriptors, fds says {len(fds)}",
            code="bad_field",
        )
    limit = config.max_file_mb << 20
    if request.input:
        return opened_input(request.input, config.input_dirs, limit)
    return passed_input(fds.pop(0), limit)


def claim_outputs(
    request: Separate, fds: list[int], config: DaemonConfig
) -> Folder | Descriptors:
    """Open the outputs of a request; all descriptors are taken out of `fds`.

    Raises
    ------
    EdgestemError
        One of its kinds; see `daemon_files`.
    """
    if request.output_dir:
        return Folder(request.output_dir, config.output_dirs)
    taken, fds[:] = list(fds), []
    return Descriptors(request.stems, taken)


class JobSeparator(FileSeparator):
    """The file door for one job."""

    def __init__(self, job: Job, engine: Engine, cache: Cache | None) -> None:
        super().__init__(job.options)
        self._job, self._engine, self._cache = job, engine, cache
        self._entry: Entry | None = None
        self._is_replay = False
        self._held = ExitStack()
        self._told = self._started = time.monotonic()

    def run(self, max_hours: float) -> dict[str, Any]:
        """Separate and return the fields of `done`."""
        song = _open_song(self._job)
        with self._held:
            self._max_samples = max_hours * 3600 * song.sample_rate
            self._check_length(song.n_samples or 0)
            grid, report = self._begin(song, self._job.name)
            wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
            with self._open_sink(wav, details_of(song, self.options)) as sink:
                self._write(song, grid, sink, report, self._progress)
                self._job.check()
                sink.commit()
            if self._entry is not None:
                self._entry.commit(self._job.check)
        return self._summary(report)

    @contextmanager
    def _open_sink(self, wav: WavFormat, details: Details) -> Iterator[StemFiles]:
        sink, o = self._job.sink, self.options
        if isinstance(sink, Descriptors):
            with sink.begin(o.file_format, wav, details) as files:
                yield files
            return
        folder = sink.inside()
        targets = target_paths(folder, o.stems, o.file_format)
        source = os.fstat(self._job.source.fileno())
        try:
            check_targets(self._job.name, targets, is_forced=o.is_forced, source=source)
        except AudioError as error:
            text = str(error).replace("use --force", "ask with replace")
            raise AudioError(text, code=error.code, path=error.path) from error
        with StemFiles(
            folder,
            *(o.stems, o.file_format, wav),
            details=details,
            is_forced=o.is_forced,
        ) as files:
            yield files

    def _separator_for(self, song: Song) -> Separator:
        """Take the cached vocals, or a separator in turn with the others."""
        replay = self._from_cache(song)
        if replay is not None:
            self._separator, self._is_replay = replay, True
            self._held.callback(replay.close)
            return replay
        separator = self._engine.take(
            str(self.options.model), song.sample_rate, song.n_channels
        )
        separator.check = self._job.check
        self._separator = separator
        self._held.callback(self._engine.give_back, separator)
        return separator

    def _from_cache(self, song: Song) -> Replay | None:
        if self._cache is None:
            return None
        model = self._engine.models.get(str(self.options.model) or self._engine.default)
        if model is None:
            return None
        o, check = self.options, self._job.check
        own = GRIDS["16"] if song.is_lossy else song.grid
        grid, _ = choose_grid(o.subtype, o.file_format, own)
        content = digest(self._job.source.fileno(), check)
        key = key_of(content, model.digest, self._engine.runtime, grid)
        file = self._cache.find(key, check)
        if file is not None:
            return Replay(file, song)
        wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
        self._entry = self._cache.entry(key, wav)
        if self._entry is not None:
            self._held.callback(self._entry.discard)
        return None

    def _stems(
        self, mixture: Samples, vocals: Samples, grid: Grid
    ) -> tuple[dict[str, Samples], int, int]:
        found = super()._stems(mixture, vocals, grid)
        if self._entry is not None:
            self._entry.write(found[0]["vocals"])
        return found

    def _check_length(self, n_samples: int) -> None:
        if n_samples > self._max_samples:
            raise EdgestemError(
                "the song is longer than the daemon takes (max_hours)", code="too_large"
            )

    def _progress(self, n_done: int, n_samples: int | None) -> None:
        self._job.check()
        self._check_length(n_done)
        now = time.monotonic()
        if not n_samples or now - self._told < PROGRESS_S:
            return
        self._told = now
        part = min(n_done / n_samples, 1.0)
        self._job.percent = round(100 * part, 1)
        eta_s = (now - self._started) * (1 - part) / part
        self._job.tell("progress", percent=self._job.percent, eta_s=round(eta_s, 1))

    def _summary(self, report: FileReport) -> dict[str, Any]:
        elapsed = time.monotonic() - self._started
        return {
            "n_samples": report.n_samples,
            "sample_rate": report.sample_rate,
            "channels": report.n_channels,
            "subtype": report.subtype,
            "latency_samples": report.latency_samples,
            "n_adjusted_samples": report.n_adjusted_samples,
            "n_bad_samples": report.n_bad_samples,
            "n_clipped_samples": report.n_clipped_samples,
            "elapsed_s": round(elapsed, 3),
            "is_cached": self._is_replay,
            "warnings": [text[:MAX_NOTE] for text in report.warnings[:MAX_NOTES]],
        }


def _open_song(job: Job) -> Song:
    """Open the song with libsndfile; ffmpeg stays out of the daemon.

    ffmpeg follows references in playlists to other files, with the daemon's rights.
    """
    import soundfile

    try:
        job.source.seek(0)
        return SndfileSong(job.source, job.name)
    except soundfile.LibsndfileError as cause:
        raise unreadable(
            job.name,
            "is nothing that libsndfile reads; convert it to wav or flac first",
        ) from cause


def without_proc(job: Job, text: str) -> str:
    """Put the client's name for the folder in place of the descriptor's."""
    if isinstance(job.sink, Folder):
        return text.replace(str(job.sink.inside()), job.sink.path)
    return text
