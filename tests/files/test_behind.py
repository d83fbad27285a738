"""Work behind the engine: in order, bounded, and its errors are not lost."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from edgestem.files.behind import WAITING, Behind
from edgestem.files.output import Output
from edgestem.files.separate import FileSeparator
from edgestem.network.compute import Compute

DATA = Path(__file__).parent.parent / "data"


def test_items_are_done_in_order_in_another_thread() -> None:
    done: list[int] = []
    names: set[str] = set()

    def do(item: int) -> None:
        names.add(threading.current_thread().name)
        done.append(item)

    with Behind(do) as behind:
        for i in range(100):
            behind.put(i)
    assert done == list(range(100))
    assert names == {"edgestem-behind"}


def test_no_more_than_two_items_wait() -> None:
    may_go, started = threading.Event(), []

    def do(item: int) -> None:
        started.append(item)
        may_go.wait(10)

    handed: list[int] = []

    def hand() -> None:
        with Behind(do) as behind:
            for i in range(10):
                behind.put(i)
                handed.append(i)

    thread = threading.Thread(target=hand)
    thread.start()
    thread.join(0.3)
    assert len(handed) <= WAITING + 1
    may_go.set()
    thread.join(10)
    assert started == list(range(10))


class Stop(BaseException):
    """What the shell's signal handler raises."""


def test_a_signal_while_it_ends_leaves_no_thread() -> None:
    """It would keep the process from ending: SIGTERM to a watch hung so."""
    may_go = threading.Event()

    def stop(*_: object) -> None:
        may_go.set()
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop), Behind(lambda _: may_go.wait(20)) as behind:
            for i in range(WAITING + 1):
                behind.put(i)
            signal.setitimer(signal.ITIMER_REAL, 0.2)  # it waits for room then
    finally:
        signal.signal(signal.SIGALRM, before)
    names = [thread.name for thread in threading.enumerate()]
    for thread in threading.enumerate():
        if thread.name == "edgestem-behind":
            behind._queue.put(None)  # this test would hang as well
    assert "edgestem-behind" not in names


def test_what_the_work_raises_is_raised_here_and_ends_it() -> None:
    done = []

    def do(item: int) -> None:
        if item == 3:
            raise OSError("the disk is full")
        done.append(item)

    with pytest.raises(OSError, match="the disk is full"), Behind(do) as behind:
        for i in range(100):
            behind.put(i)
    assert done == [0, 1, 2]


def test_an_error_here_ends_the_thread() -> None:
    with pytest.raises(KeyboardInterrupt), Behind(lambda item: None) as behind:
        behind.put(1)
        raise KeyboardInterrupt
    assert not behind._thread.is_alive()


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_threads_change_no_bit(write_song, tmp_path: Path, file_format: str) -> None:
    rng = np.random.default_rng(4)
    song = write_song(x=rng.normal(0, 0.4, (300_000, 2)))
    found = []
    for threads in (1, 2):
        told = Output(file_format=file_format), DATA / "pair.tflite"
        compute = Compute(threads=threads)
        report = FileSeparator(*told, compute).to_folder(song, tmp_path / str(threads))
        found.append(
            (
                {name: Path(p).read_bytes() for name, p in report.outputs.items()},
                report.n_clipped_samples,
                report.n_samples,
            )
        )
    assert found[0] == found[1]


def test_one_thread_of_the_network_has_another_behind_it(write_song, tmp_path) -> None:
    """What writes and encodes takes no time of the network's."""
    names: set[str] = set()

    def progress(*_: object) -> None:
        names.add(threading.current_thread().name)

    compute = Compute(threads=1)
    made = FileSeparator(Output(), DATA / "tiny.tflite", compute)
    made.to_folder(write_song(), tmp_path / "out", progress)
    assert names == {"edgestem-behind"}
