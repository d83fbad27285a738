"""Jobs on files: a bounded queue, one turn for each client, and the work itself.

A job is the file door (`audio.FileSeparator`) with three things exchanged: the song
comes from a descriptor, the separator takes turns with the others or replays the
cache, and the stems may go to descriptors.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from edgestem.audio import FileSeparator
from edgestem.daemon_cache import Cache, Entry, Replay, digest, key_of
from edgestem.daemon_engine import Engine
from edgestem.daemon_files import Descriptors, Folder
from edgestem.daemon_requests import Separate
from edgestem.encoding import choose_grid
from edgestem.errors import AudioError, EdgestemError, ProtocolError
from edgestem.grid import GRIDS, Grid, Samples
from edgestem.job import FileReport, Options
from edgestem.separator import Separator
from edgestem.song import SndfileSong, Song, unreadable
from edgestem.wav import WavFormat
from edgestem.writing import StemFiles

log = logging.getLogger(__name__)
PROGRESS_S = 0.25  # time between two progress messages


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
    try:
        return Options(
            stems=request.stems,
            vocals_db=request.vocals_db,
            file_format=request.format,
            subtype=request.subtype,
            is_forced=request.replace,
            model=request.model,
        )
    except ValueError as cause:
        raise ProtocolError(str(cause), code="bad_field") from cause


class JobQueue:
    """Jobs that wait, and the workers that do them.

    Parameters
    ----------
    engine : Engine
    cache : Cache, optional
        Where results are kept.
    n_workers : int
        Jobs at the same time.
    max_hours : callable
        Returns the greatest length of a song.
    """

    def __init__(
        self,
        engine: Engine,
        cache: Cache | None,
        n_workers: int,
        max_hours: Callable[[], float],
    ) -> None:
        self._engine, self._cache, self._max_hours = engine, cache, max_hours
        self._changed = threading.Condition()
        self._waiting: dict[object, deque[Job]] = {}
        self._running: list[Job] = []
        self._numbers = itertools.count(1)
        self._is_ending = False
        self._threads = [
            threading.Thread(target=self._work, name=f"job-{i}", daemon=True)
            for i in range(n_workers)
        ]
        for thread in self._threads:
            thread.start()

    def number(self) -> int:
        """Take the next job's number."""
        return next(self._numbers)

    def add(self, job: Job, max_jobs: int, max_own: int) -> None:
        """Queue a job and tell its client.

        Raises
        ------
        EdgestemError
            `queue_full` or `shutting_down`; the job was not taken.
        """
        with self._changed:
            if self._is_ending:
                raise EdgestemError("the daemon is ending", code="shutting_down")
            n_own = sum(other.owner is job.owner for other in self.all())
            if len(self.all()) >= max_jobs or n_own >= max_own:
                raise EdgestemError(
                    f"{len(self.all())} jobs wait or run, {n_own} of this client; "
                    f"the limits are {max_jobs} and {max_own}: try again later",
                    code="queue_full",
                )
            job.tell("queued", n_before=len(self.all()))
            self._waiting.setdefault(job.owner, deque()).append(job)
            self._changed.notify_all()

    def all(self) -> list[Job]:
        """List the jobs, those that run first."""
        with self._changed:
            return self._running + [j for q in self._waiting.values() for j in q]

    def cancel(self, owner: object, number: int | None = None) -> bool:
        """Cancel one of a client's jobs, or all; say whether there was one."""
        with self._changed:
            mine = [j for j in self.all() if j.owner is owner]
            wanted = [j for j in mine if number in (None, j.number)]
            for job in wanted:
                job.is_cancelled = True
            waiting = [j for j in wanted if j not in self._running]
            kept = [j for j in self._waiting.get(owner, ()) if j not in waiting]
            self._waiting.pop(owner, None)
            if kept:
                self._waiting[owner] = deque(kept)
        for job in waiting:
            self._drop(job)
        return bool(wanted)

    def cancel_all(self) -> None:
        """Cancel what runs."""
        for job in self.all():
            job.is_cancelled = True

    def _drop(self, job: Job) -> None:
        """End a job that never began."""
        job.close()
        job.tell("error", code="cancelled", text="the job was cancelled")
        with self._changed:
            self._changed.notify_all()

    def n_of(self, owner: object) -> int:
        """Count a client's jobs."""
        return sum(job.owner is owner for job in self.all())

    def wait(self, owner: object, wait_s: float) -> bool:
        """Wait a while for the end of a client's jobs; say whether it came."""
        with self._changed:
            return self._changed.wait_for(lambda: self.n_of(owner) == 0, wait_s)

    def end(self, drain_s: float) -> None:
        """Cancel what waits; what runs has `drain_s` to finish before it is, too."""
        with self._changed:
            self._is_ending = True
            waiting = [job for queue in self._waiting.values() for job in queue]
            self._waiting.clear()
            self._changed.notify_all()
        for job in waiting:
            self._drop(job)
        deadline = time.monotonic() + drain_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.cancel_all()
        for thread in self._threads:
            thread.join()

    # ---- the workers ----------------------------------------------------------

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                self._run(job)
            finally:
                job.close()
                with self._changed:
                    self._running.remove(job)
                    self._changed.notify_all()

    def _next(self) -> Job | None:
        """Take the next client's oldest job."""
        with self._changed:
            while not self._waiting:
                if self._is_ending:
                    return None
                self._changed.wait()
            owner = next(iter(self._waiting))
            queue = self._waiting.pop(owner)
            job = queue.popleft()
            if queue:  # behind the others
                self._waiting[owner] = queue
            self._running.append(job)
            job.state = "running"
            return job

    def _run(self, job: Job) -> None:
        """Do a job and tell how it ended."""
        try:
            job.check()
            worker = _JobSeparator(job, self._engine, self._cache)
            job.tell("done", **worker.run(self._max_hours()))
        except EdgestemError as error:
            job.tell("error", code=error.code, text=_without_proc(job, str(error)))
        except Exception:
            log.exception("job %d failed", job.number)
            job.tell("error", code="internal", text="a bug: the daemon's log has it")


class _JobSeparator(FileSeparator):
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
            with self._open_sink(wav) as sink:
                self._write(song, grid, sink, report, self._progress)
                self._job.check()
                sink.commit()
            if self._entry is not None:
                self._entry.commit(self._job.check)
        return self._summary(report)

    @contextmanager
    def _open_sink(self, wav: WavFormat) -> Iterator[StemFiles]:
        sink, o = self._job.sink, self.options
        if isinstance(sink, Descriptors):
            with sink.begin(o.file_format, wav) as files:
                yield files
            return
        folder = sink.inside()
        for name in o.stems:
            if not o.is_forced and (folder / f"{name}.{o.file_format}").exists():
                raise AudioError(
                    f"{sink.path}/{name}.{o.file_format} exists; "
                    "ask with replace to replace it",
                    code="exists",
                )
        with StemFiles(folder, o.stems, o.file_format, wav) as files:
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
        key = key_of(content, model.sha256, self._engine.runtime, grid)
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
            "elapsed_s": round(elapsed, 3),
            "is_cached": self._is_replay,
            "warnings": [text[:200] for text in report.warnings[:4]],
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


def _without_proc(job: Job, text: str) -> str:
    """Put the client's name for the folder in place of the descriptor's."""
    if isinstance(job.sink, Folder):
        return text.replace(str(job.sink.inside()), job.sink.path)
    return text
