"""Doing one job: a child decodes and writes, the network stays here."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from edgestem.daemon.jobs.cache import Entry, Replay
from edgestem.daemon.jobs.child import Child, ChildSink, ChildSong
from edgestem.daemon.jobs.work import Job
from edgestem.daemon.pool.admission import check_memory
from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.files.output import FileReport
from edgestem.files.separate import FileSeparator
from edgestem.sound.encoding import choose_grid
from edgestem.sound.grid import GRIDS, Grid, Samples
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat
from edgestem.store.receipt import Recipe, digest_of_model, key_of

if TYPE_CHECKING:
    from edgestem.daemon.server import Daemon

log = logging.getLogger(__name__)
PROGRESS_S = 0.25  # time between two progress messages
REFERENCE_RATE = 48_000  # Hz: max_hours counts samples at this rate, not time


def do_job(daemon: Daemon, job: Job) -> None:
    """Do a job and tell how it ended."""
    try:
        job.check()
        job.say("done", **JobSeparator(daemon, job).run())
    except EdgestemError as error:
        job.say("error", code=error.code, text=str(error))
    except Exception:
        log.exception("job %d failed", job.number)
        job.say("error", code="internal", text="a bug: the daemon's log has it")
    finally:
        job.memory = 0


class JobSeparator(FileSeparator):
    """The file door for one job."""

    def __init__(self, daemon: Daemon, job: Job) -> None:
        super().__init__(job.options)
        self._daemon, self._job = daemon, job
        self._entry: Entry | None = None
        self._is_replay = False
        self._held = ExitStack()
        self._told = self._started = time.monotonic()
        hours = daemon.config.max_hours
        self._max_samples = int(hours * 3600 * REFERENCE_RATE)

    def run(self) -> dict[str, Any]:
        """Separate and return the fields of `done`."""
        job, config = self._job, self._daemon.config
        with self._held:
            child = Child(self._daemon.nursery, job.name, job.pulse, config.stall_s)
            self._held.callback(child.end)
            song = child.song(job.source.fileno())
            self._check_length(song, song.n_samples or 0)
            grid, report = self._begin(song, job.name)
            wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
            sink = self._open_sink(child, wav)
            try:
                self._write(song, grid, sink, report, self._progress)
                job.check()
                sink.commit()
            except EdgestemError:
                sink.discard()
                raise
            self._keep(song)
        return self._summary(report)

    def _open_sink(self, child: Child, wav: WavFormat) -> ChildSink:
        sink, o, config = self._job.sink, self.options, self._daemon.config
        return child.sink(
            wav,
            sink.fds(),
            stems=list(o.stems),
            file_format=o.file_format,
            folder=sink.path,
            replace=o.is_forced,
            bitrate=o.bitrate,
            mode=config.output_mode,
            limit=config.max_output_mb << 20,
            memory_limit=(config.max_memory_mb << 20) // 8,
        )

    def _separator_for(self, song: Song) -> Separator:
        """Take the cached vocals, or a separator in turn with the others."""
        assert isinstance(song, ChildSong)
        replay = self._from_cache(song)
        if replay is not None:
            self._separator, self._is_replay = replay, True
            self._held.callback(replay.close)
            return replay
        engine = self._daemon.engine
        separator = engine.take(
            str(self.options.model), song.sample_rate, song.n_channels
        )
        self._held.callback(engine.give_back, separator)
        self._job.memory = separator.memory_bytes
        check_memory(self._daemon, self._job.uid)
        separator.check = self._job.pulse
        self._separator = separator
        return separator

    # ---- the cache ------------------------------------------------------------

    def _key(self, song: ChildSong, content: str) -> str:
        """Name what the vocals depend on."""
        engine, o = self._daemon.engine, self.options
        own = GRIDS["16"] if song.is_lossy else song.grid
        grid, _ = choose_grid(o.subtype, o.file_format, own)
        model = engine.models[str(o.model) or engine.default]
        recipe = Recipe(digest_of_model(model), engine.place())
        return key_of(content, recipe, grid)

    def _from_cache(self, song: ChildSong) -> Replay | None:
        cache, engine = self._daemon.cache, self._daemon.engine
        name = str(self.options.model) or engine.default
        if cache is None or name not in engine.models:
            return None
        n_bytes = (song.n_samples or 0) * song.bytes_per_sample
        if cache.is_too_large(n_bytes):
            return None
        content = song.digest_of_all(self._max_samples)
        file = cache.find(self._key(song, content), self._job.pulse)
        if file is not None:
            return Replay(file, song)
        o = self.options
        own = GRIDS["16"] if song.is_lossy else song.grid
        grid, _ = choose_grid(o.subtype, o.file_format, own)
        wav = WavFormat(grid, song.sample_rate, song.n_channels, song.n_samples)
        self._entry = cache.entry(wav)
        if self._entry is not None:
            self._held.callback(self._entry.discard)
        return None

    def _keep(self, song: ChildSong) -> None:
        """Name the entry after what the network heard, whatever the file is now.

        The stems are complete: a job that is cancelled now is done all the same.
        """
        separator = self._separator
        if self._entry is None or song.is_damaged or separator is None:
            return
        if separator.device == self._daemon.engine.device:
            self._entry.commit(self._key(song, song.digest()))

    def _stems(
        self, mixture: Samples, vocals: Samples, grid: Grid
    ) -> tuple[dict[str, Samples], int, int]:
        found = super()._stems(mixture, vocals, grid)
        if self._entry is not None:
            self._entry.write(found[0]["vocals"])
        return found

    # ---- what is told -----------------------------------------------------------

    def _check_length(self, song: Song, n_samples: int) -> None:
        hours = self._daemon.config.max_hours
        if n_samples > min(self._max_samples, hours * 3600 * song.sample_rate):
            raise EdgestemError(
                "the song is longer than the daemon takes (max_hours, which counts "
                f"rates above {REFERENCE_RATE} Hz by their samples)",
                code="too_large",
            )

    def _progress(self, n_done: int, n_samples: int | None) -> None:
        self._job.pulse()
        assert self._separator is not None
        rate = self._separator.sample_rate
        if n_done > min(self._max_samples, self._daemon.config.max_hours * 3600 * rate):
            raise EdgestemError(
                "the song is longer than the daemon takes (max_hours)", code="too_large"
            )
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
            "warnings": report.warnings[:4],
        }
