"""Parts of the daemon whose laws show best without a socket."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import DATA, wait_for
from hypothesis import given
from hypothesis import strategies as st
from strangers import MAL

from edgestem import AudioError, EdgestemError, ModelError
from edgestem.daemon import turns as daemon_turns
from edgestem.daemon.jobs import passed
from edgestem.daemon.jobs import paths as daemon_paths
from edgestem.daemon.jobs.cache import Cache
from edgestem.daemon.jobs.child import Child
from edgestem.daemon.jobs.nursery import Nursery
from edgestem.daemon.jobs.paths import AllowedFolders, Place, make_folder, open_below
from edgestem.daemon.jobs.queue import JobQueue
from edgestem.daemon.jobs.work import Job
from edgestem.daemon.pool.budget import room_for
from edgestem.daemon.pool.engine import Engine, foreign_models
from edgestem.daemon.pool.models import try_models
from edgestem.daemon.requests import Open
from edgestem.daemon.stream import Stream
from edgestem.daemon.system.config import DaemonConfig
from edgestem.daemon.system.notes import Notes
from edgestem.daemon.turns import MESSAGES, Turns
from edgestem.files.output import Output
from edgestem.network.reading import read_config
from edgestem.sound.grid import GRIDS
from edgestem.sound.wav import WavFormat
from edgestem.store.receipt import Recipe, digest_of_model, key_of
from edgestem.wire.protocol import MAX_HEADER, Decoder, encode_reply

# ---- messages --------------------------------------------------------------------

texts = st.text(max_size=2000) | st.text("\x01\U0001f3a4", max_size=2000)


@given(texts, texts, st.lists(texts, max_size=6))
def test_the_daemons_own_messages_always_fit(
    text: str, name: str, warnings: list[str]
) -> None:
    data = encode_reply("done", seq=1 << 53, text=text, name=name, warnings=warnings)
    assert len(data) <= MAX_HEADER
    decoder = Decoder()
    decoder.feed(data)
    message = decoder.next_message()
    assert message is not None
    assert len(message.fields["warnings"]) == len(warnings)
    if len(json.dumps([text, name, warnings])) < MAX_HEADER // 2:
        assert message.fields["text"] == text


# ---- shares and turns ------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), max_size=20))
def test_whoever_takes_all_it_may_leaves_some_for_the_next(
    held: list[tuple[int, int]],
) -> None:
    limit = 1024
    others = [(uid + 70_000, amount) for uid, amount in held]
    room = room_for(60_001, others, limit, 0.5)
    assert 0 < room <= limit // 2
    assert room_for(60_002, [*others, (60_001, room)], limit, 0.5) > 0
    assert room_for(0, others, limit, 0.5) == limit - sum(n for _, n in others)


def test_without_live_streams_of_others_nobody_waits() -> None:
    turns = Turns()
    turns.live_opens(1)
    for _ in range(1000):
        turns.step(1)  # the player's own
    turns.live_closes(1)
    turns.begin(2)
    turns.step(2)


def test_a_silent_live_stream_takes_nobodys_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, clock = Turns(), [100.0]
    monkeypatch.setattr(daemon_turns.time, "monotonic", lambda: clock[0])
    turns.live_opens(1)
    assert not turns.is_free(2)
    clock[0] += 1.1
    assert turns.is_free(2)
    with turns.live_block(1):
        assert not turns.is_free(2)
        assert turns.is_free(1)


def test_live_audio_that_comes_faster_than_it_plays_has_no_hurry() -> None:
    engine = Engine(
        DaemonConfig(models=(str(DATA / "tiny.tflite"),)), lambda *_, **__: None
    )
    separator = engine.take("", 44_100, 2)
    stream = Stream(
        Open(sample_rate=44_100, mode="live"),
        *(separator, None, DaemonConfig(), lambda *_, **__: None),  # type: ignore[arg-type]
        turns=Turns(),
        uid=1,
    )
    block, seconds = 1024 * stream.bytes_per_sample, 1.0 + separator.call_s
    for _ in range(int(seconds * 44_100 / 1024)):
        stream._clock(block)
    assert not stream.is_ahead
    for _ in range(200):
        stream._clock(block)
    assert stream.is_ahead
    time.sleep(1.2)
    stream._clock(block)
    assert not stream.is_ahead


def test_turns_are_one_thread_at_a_time_and_users_alternate() -> None:
    turns, seen, inside = Turns(), [], []
    turns.live_opens(1)
    is_over = threading.Event()

    def work(uid: int) -> None:
        while not is_over.is_set():
            turns.begin(uid)
            inside.append(uid)
            assert len(inside) == 1
            seen.append(uid)
            inside.pop()
            turns.end()

    # Nine threads of one user, one of another.
    crowd = [threading.Thread(target=work, args=[uid]) for uid in (2,) * 9 + (3,)]
    for thread in crowd:
        thread.start()
    wait_for(lambda: len(seen) > 60)
    is_over.set()
    for thread in crowd:
        thread.join()
    assert 20 <= seen[10:60].count(3) <= 30


def test_a_turn_ends_after_some_messages_and_around_what_waits() -> None:
    turns = Turns()
    turns.live_opens(1)
    turns.begin(2)
    first = turns._holder
    for _ in range(MESSAGES):
        turns.step(2)
    assert turns._holder is not first
    with turns.paused():
        other = threading.Thread(target=lambda: (turns.begin(3), turns.end()))
        other.start()
        other.join(10)
        assert not other.is_alive()
    turns.end()


# ---- jobs ------------------------------------------------------------------------


def new_job(queue: JobQueue, owner: object, uid: int, said: list[Any]) -> Job:
    return Job(
        *(queue.number(), owner, uid, "song", "", Output(), open(os.devnull, "rb")),  # type: ignore[arg-type]  # noqa: PTH123
        *(open(os.devnull, "rb"), lambda *a, **f: said.append((a, f)), queue.give_way),  # type: ignore[arg-type]  # noqa: PTH123
    )


def test_nothing_in_a_job_ends_a_worker() -> None:
    done, said = [], []

    def work(job: Job) -> None:
        done.append(job.number)
        raise SystemExit if job.number % 2 else ValueError

    queue = JobQueue(work, DaemonConfig)
    for _ in range(4):
        job = new_job(queue, object(), 1, said)
        job.sink.close()
        job.sink = None  # type: ignore[assignment]  # closing it fails, too
        queue.add(job)
        wait_for(lambda: not queue._busy())
    assert done == [1, 2, 3, 4]
    assert sum(a[0] == "error" for a, _ in said) == 4


def test_users_take_turns_then_connections_and_cancelling_keeps_their_places() -> None:
    gate, order, said = threading.Event(), [], []

    def work(job: Job) -> None:
        gate.wait(20)
        order.append(job.number)

    queue = JobQueue(work, lambda: DaemonConfig(max_client_jobs=9))
    greedy, second, modest = object(), object(), object()
    owners = [greedy] * 4 + [second] * 2 + [modest]
    for owner in owners:
        uid = 0 if owner is not modest else 99
        queue.add(new_job(queue, owner, uid, said))
    assert queue.longest_silence() >= 0
    assert queue.cancel(greedy, 3)
    gate.set()
    wait_for(lambda: len(order) == 6)
    # 1 ran at once; then one of each user, and of uid 0 one of each connection.
    assert order == [1, 2, 7, 5, 4, 6]


def test_a_long_job_gives_way_to_another_user() -> None:
    order, said = [], []

    def work(job: Job) -> None:
        if job.uid == 99:
            order.append("short")
            return
        while "short" not in order:
            job.pulse()
        order.append("long")

    queue = JobQueue(work, lambda: DaemonConfig(job_turn_s=0.05))
    queue.add(new_job(queue, object(), 98, said))
    time.sleep(0.1)
    queue.add(new_job(queue, object(), 99, said))
    wait_for(lambda: len(order) == 2)
    assert order == ["short", "long"]


def test_the_watchdog_sees_a_job_without_progress() -> None:
    gate = threading.Event()
    queue = JobQueue(lambda job: gate.wait(20) and None, DaemonConfig)
    queue.add(new_job(queue, object(), 1, []))
    wait_for(lambda: queue.longest_silence() > 0.1)
    gate.set()
    wait_for(lambda: not queue.all())
    assert queue.longest_silence() == 0


def n_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ---- the cache -------------------------------------------------------------------


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with contextlib.closing(Nursery()) as found:
        yield found


@contextlib.contextmanager
def child_of(nursery: Nursery) -> Iterator[Child]:
    child = Child(nursery, "song", lambda: None, 20.0)
    try:
        yield child
    finally:
        child.end()


def test_children_that_die_do_not_fill_the_log(
    nursery: Nursery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("edgestem.daemon.system.notes.LINES", 2)
    note = Notes().about(MAL)
    (tmp_path / "song").touch()
    for _ in range(4):
        child = Child(nursery, "song", lambda: None, 20.0, note=note)
        with (tmp_path / "song").open() as file:
            nursery.kill(child._number)
            with pytest.raises(AudioError, match="crashed on it"):
                child.song(file.fileno())
        child.end()
    assert len(caplog.messages) == 3
    assert caplog.messages[-1].startswith(f"uid {MAL}: 2 lines about it")


def test_a_model_from_elsewhere_is_tried_in_a_child(
    nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that crashes the runtime ends that child alone, and is named."""
    path = Path(shutil.copy(DATA / "tiny.tflite", tmp_path / "own.tflite"))
    shutil.copy(DATA / "tiny.json", tmp_path / "own.json")
    config = DaemonConfig(models=("karaoke", str(path)))
    foreign = foreign_models(config)
    assert foreign == [("own.tflite", path)]
    try_models(nursery, foreign, 20.0)  # it is good

    class Doomed(Child):
        def ask(self, *words: Any, **fields: Any) -> Any:
            nursery.kill(self._number)  # as a crash of the runtime does
            return super().ask(*words, **fields)

    with monkeypatch.context() as patch:
        patch.setattr("edgestem.daemon.pool.models.Child", Doomed)
        with pytest.raises(ModelError, match="tried in a child process first") as found:
            try_models(nursery, foreign, 20.0)
    assert found.value.code == "model_mismatch" and str(path) in str(found.value)
    try_models(nursery, foreign, 20.0)  # the next one has a child again
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError):
        try_models(nursery, foreign, 20.0)


def test_the_key_is_what_was_heard_not_what_was_hashed(
    nursery: Nursery, tmp_path: Path
) -> None:
    path, x = tmp_path / "song.wav", np.zeros((100_000, 2), np.int16)
    soundfile.write(path, x, 8000)
    with child_of(nursery) as child, path.open("r+b") as file:
        song = child.song(file.fileno())
        before = song.digest_of_all(1 << 30)
        os.pwrite(file.fileno(), b"\x11\x22" * 1000, 44)  # as the client may
        heard = []
        while len(block := song.read(65536)):
            heard.append(block)
        after = song.digest()
    assert np.concatenate(heard)[0, 0] == 0x2211
    assert after != before
    with child_of(nursery) as child, path.open("rb") as file:
        assert child.song(file.fileno()).digest_of_all(1 << 30) == after


def test_the_key_has_all_that_changes_the_samples() -> None:
    keys = {
        key_of(song, Recipe(model, place), GRIDS[grid])
        for song in "ab"
        for model in "ab"
        for place in ("cpu litert", "coral litert")
        for grid in ("16", "24")
    }
    assert len(keys) == 16


def test_every_field_of_a_sidecar_that_is_heard_is_in_the_digest() -> None:
    config = read_config(DATA / "tiny.tflite")
    changed = {
        "top_bands": config.top_bands + 1,
        "gain_step_db": config.gain_step_db * 2,
        "max_gain_db": config.max_gain_db + 1,
        "compression_power": config.compression_power * 0.9,
        "left_context": config.left_context + 1,
    }
    digests = {digest_of_model(replace(config, **{k: v})) for k, v in changed.items()}
    assert len(digests | {digest_of_model(config)}) == len(changed) + 1


def test_an_entry_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100_000)
    wav = WavFormat(GRIDS["16"], 8000, 1)
    entry = cache.entry(wav)
    assert entry is not None
    for _ in range(100):
        entry.write(np.zeros((10_000, 1), np.int64))
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 110_000
    entry.commit("0" * 32)
    assert not list(tmp_path.iterdir())


def test_no_entry_leaves_anything_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    cache = Cache(tmp_path, 100_000)
    monkeypatch.setattr("fcntl.flock", refuse)
    n_before = n_fds()
    for _ in range(5):
        assert cache.entry(WavFormat(GRIDS["16"], 8000, 1)) is None
    assert n_fds() == n_before
    assert not list(tmp_path.iterdir())


# ---- paths -----------------------------------------------------------------------


@pytest.mark.parametrize("has_openat2", [True, False])
def test_nothing_leads_out_of_an_allowed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_openat2: bool
) -> None:
    if not has_openat2:

        def absent(*_: object) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(daemon_paths, "_openat2", absent)
    allowed = tmp_path / "allowed"
    (allowed / "inner").mkdir(parents=True)
    (allowed / "inner" / "song").touch()
    (tmp_path / "secret").touch()
    (allowed / "link").symlink_to("../secret")
    (allowed / "dir").symlink_to("..")
    (allowed / "loop").symlink_to("loop")
    with contextlib.closing(AllowedFolders("x", (str(allowed),))) as folders:
        place = folders.find(f"{allowed}/inner/song")
        assert place is not None
        os.close(open_below(place, os.O_RDONLY))
        for name in ("link", "dir/secret", "loop", "../secret"):
            with pytest.raises(OSError):
                os.close(open_below(Place(place.fd, name), os.O_RDONLY))
        for path in (f"{allowed}/../secret", "/etc/passwd", "relative", "/"):
            assert folders.find(path) is None
        for name in ("link", "dir", "loop", "none/new", "../new"):
            with pytest.raises(OSError):
                make_folder(Place(place.fd, name), 0o700)
        fd, undo = make_folder(Place(place.fd, "new"), 0o750)
        assert os.fstat(fd).st_mode & 0o777 == 0o750
        undo()
        os.close(fd)
        assert not (allowed / "new").exists()


def test_an_absent_folder_is_said_at_the_start() -> None:
    with pytest.raises(EdgestemError, match="input_dirs: /nowhere-of-a-test cannot"):
        AllowedFolders("input_dirs", ("/nowhere-of-a-test",))


# ---- the engine and the log ------------------------------------------------------


def test_a_separator_whose_call_failed_is_never_lent_again() -> None:
    told: list[str] = []
    config = DaemonConfig(models=(str(DATA / "tiny.tflite"),))
    engine = Engine(config, lambda name, **_: told.append(name))
    first = engine.take("", 8000, 1)
    engine.give_back(first)
    assert engine.take("", 8000, 1) is first  # in order: lent again

    def fail() -> None:
        raise RuntimeError("Node number 3 failed to invoke.")

    first._model.invoke = fail  # type: ignore[method-assign]
    with pytest.raises((RuntimeError, EdgestemError)):
        first.push(np.zeros((8000, 1), np.float32))
    engine.give_back(first)
    assert told == ["device"]
    second = engine.take("", 8000, 1)
    assert second is not first
    second.push(np.zeros((8000, 1), np.float32))


def test_a_stream_is_weighed_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = DaemonConfig(models=(str(DATA / "tiny.tflite"),))
    engine = Engine(config, lambda *_, **__: None)
    separator = engine.take("", 384_000, 2)
    told: list[int] = []
    built: list[object] = []
    monkeypatch.setattr(Engine, "_load", lambda *key: built.append(key))

    def refuse(n_bytes: int) -> None:
        told.append(n_bytes)
        raise EdgestemError("too much", code="overloaded")

    with pytest.raises(EdgestemError, match="too much"):
        engine.take("", 384_000, 2, weigh=refuse)
    assert told == [separator.memory_bytes]
    assert not built


def test_the_log_stays_where_stderr_was_at_the_start(tmp_path: Path) -> None:
    code = (
        "import logging, os; from edgestem.daemon.system.process import start_log;"
        "start_log('info'); os.dup2(os.open(os.devnull, os.O_WRONLY), 2);"
        "logging.info('still here\\n1 CRITICAL forged');"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("\n") == 1
    assert done.stderr.rstrip().endswith("still here\\n1 CRITICAL forged")


def test_a_file_system_that_fails_to_close_is_its_clients(tmp_path: Path) -> None:
    """As FUSE does when its server has gone: the session must not end of it."""
    (tmp_path / "song").write_bytes(b"la")

    class Failing(io.FileIO):
        def close(self) -> None:
            was_open = not self.closed
            super().close()
            if was_open:
                raise OSError(errno.EIO, "Input/output error")

    found = passed.with_own_offset(Failing(tmp_path / "song"))  # type: ignore[arg-type]
    with found:
        assert found.read() == b"la"
