"""Doing one job: a child decodes and writes, the network stays here."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from edgestem.daemon.jobs.cache import Entry, Replay
from edgestem.daemon.jobs.child import Child, ChildSink, ChildSong
from edgestem.daemon.jobs.work import Job
from edgestem.daemon.pool.admission import check_memory
from edgestem.daemon.pool.schedule import PacedSeparator
from edgestem.daemon.shared import Shared
from edgestem.errors import EdgestemError, ModelError
from edgestem.files.loop import (
    StemSink,
    VocalsSource,
    begin_song,
    separate_song,
)
from edgestem.files.output import FileReport
from edgestem.sound.grid import Grid, GridSamples
from edgestem.sound.song import Song
from edgestem.sound.wav import WavFormat
from edgestem.store.receipt import Recipe, digest_of_model, key_of
from edgestem.wire.protocol import as_json

log = logging.getLogger(__name__)
MAX_WARNINGS = 2560  # bytes of them that fit in `done` beside its other fields
PROGRESS_S = 0.25  # time between two progress messages
REFERENCE_RATE = 48_000  # Hz: max_hours counts samples at this rate, not time


def do_job(shared: Shared, job: Job) -> None:
    """Do a job and tell how it ended."""
    try:
        job.check()
        _say_done(job, _separate(shared, job))
    except EdgestemError as error:
        job.say("error", code=error.code, text=str(error))
    except Exception:
        log.exception("job %d failed", job.number)
        job.say("error", code="internal", text="a bug: the daemon's log has it")
    finally:
        job.memory = 0


def _separate(shared: Shared, job: Job) -> dict[str, Any]:
    """Do a job; where its device is lost begin it again, on what there is then."""
    try:
        return JobSeparator(shared, job).run()
    except ModelError as error:
        if error.code != "device_lost":
            raise
        log.warning("job %d begins again: %s", job.number, error)
        done = JobSeparator(shared, job).run()
        note = f"the song was begun again: {error}"
        return done | {"warnings": [note, *done["warnings"]]}


def _say_done(job: Job, fields: dict[str, Any]) -> None:
    """Tell that a job is done, and its warnings whole: what does not fit goes first."""
    texts: list[str] = fields["warnings"]
    while texts and len(as_json(texts)) > MAX_WARNINGS:
        job.say("warning", text=texts.pop(0))
    job.say("done", **fields)


class Tee:
    """A sink that keeps the vocals in the cache, too."""

    def __init__(self, sink: StemSink, entry: Entry) -> None:
        self._sink, self._entry = sink, entry

    def write(self, stems: Mapping[str, GridSamples]) -> int:
        """Append a block to both."""
        self._entry.write(stems["vocals"])
        return self._sink.write(stems)


class JobSeparator:
    """The way of one job: a child reads and writes, the network stays here."""

    def __init__(self, shared: Shared, job: Job) -> None:
        self._output = job.output
        self._separator: PacedSeparator | None = None
        self._shared, self._job = shared, job
        self._entry: Entry | None = None
        self._is_replay = False
        self._held = ExitStack()
        self._told = self._started = time.monotonic()
        hours = shared.config.max_hours
        self._max_samples = int(hours * 3600 * REFERENCE_RATE)

    def run(self) -> dict[str, Any]:
        """Separate and return the fields of `done`."""
        job, config = self._job, self._shared.config
        with self._held:
            child = Child(
                *(self._shared.nursery, job.name, job.pulse, config.stall_s),
                note=self._shared.notes.about(job.uid),
            )
            self._held.callback(child.end)
            song = child.song(job.source.fileno())
            self._rate = song.sample_rate
            self._check_length(song, song.n_samples or 0)
            wav, report = begin_song(job.name, song, self._output)
            grid, source = wav.grid, self._source_for(song, wav)
            sink = self._open_sink(child, wav)
            tee = Tee(sink, self._entry) if self._entry else sink
            level = self._output.vocals_db
            try:
                separate_song(song, source, tee, grid, report, level, self._progress)
                job.check()
                sink.commit()
            except BaseException:
                sink.discard()
                raise
            self._keep(song, grid)
        return self._summary(report)

    def _open_sink(self, child: Child, wav: WavFormat) -> ChildSink:
        sink, o, config = self._job.sink, self._output, self._shared.config
        return child.sink(
            wav,
            sink.fds(),
            stems=list(o.stems),
            file_format=o.file_format,
            folder=sink.path,
            replace=o.is_forced,
            bitrate=o.bitrate,
            tags=self._job.tags,
            mode=config.output_mode,
            limit=config.max_output_mb << 20,
            memory_limit=(config.max_memory_mb << 20) // 8,
        )

    def _source_for(self, song: ChildSong, wav: WavFormat) -> VocalsSource:
        """Take the cached vocals, or a separator in turn with the others."""
        replay = self._from_cache(song, wav)
        if replay is not None:
            self._is_replay = True
            self._held.callback(replay.close)
            return replay
        engine = self._shared.engine
        separator = engine.take(
            *(self._job.model, song.sample_rate, song.n_channels), weigh=self._weigh
        )
        self._held.callback(engine.give_back, separator)
        separator.check = self._job.pulse
        self._separator = separator
        return separator

    def _weigh(self, n_bytes: int) -> None:
        """Note the job's memory down, if its user may take it."""
        self._job.memory = n_bytes
        check_memory(self._shared, self._job.uid)

    # ---- the cache ------------------------------------------------------------

    def _key(self, content: str, grid: Grid) -> str:
        """Name what the vocals depend on."""
        engine = self._shared.engine
        model = engine.models[self._job.model or engine.default]
        recipe = Recipe(digest_of_model(model), engine.place())
        return key_of(content, recipe, grid)

    def _from_cache(self, song: ChildSong, wav: WavFormat) -> Replay | None:
        cache, engine = self._shared.cache, self._shared.engine
        name = self._job.model or engine.default
        if cache is None or name not in engine.models:
            return None
        n_bytes = (song.n_samples or 0) * song.bytes_per_sample
        if cache.is_too_large(n_bytes):
            return None
        content = song.digest_of_all(self._max_samples)
        file = cache.find(self._key(content, wav.grid), self._job.pulse)
        if file is not None:
            return Replay(file, song)
        self._entry = cache.entry(wav)
        if self._entry is not None:
            self._held.callback(self._entry.discard)
        return None

    def _keep(self, song: ChildSong, grid: Grid) -> None:
        """Name the entry after what the network heard, whatever the file is now.

        The stems are complete: a job that is cancelled now is done all the same.
        """
        separator = self._separator
        if self._entry is None or song.is_damaged or separator is None:
            return
        if separator.device == self._shared.engine.device:
            self._entry.commit(self._key(song.digest(), grid))

    # ---- what is told -----------------------------------------------------------

    def _check_length(self, song: Song, n_samples: int) -> None:
        hours = self._shared.config.max_hours
        if n_samples > min(self._max_samples, hours * 3600 * song.sample_rate):
            raise EdgestemError(
                "the song is longer than the daemon takes (max_hours, which counts "
                f"rates above {REFERENCE_RATE} Hz by their samples)",
                code="too_large",
            )

    def _progress(self, n_done: int, n_samples: int | None) -> None:
        self._job.pulse()
        hours, rate = self._shared.config.max_hours, self._rate
        if n_done > min(self._max_samples, hours * 3600 * rate):
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
            "warnings": list(report.warnings),
        }
