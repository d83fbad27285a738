"""What a live stream says of itself; the rig is real, its numbers are set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgestem.engine.separator import Separator
from edgestem.live.rig import Rig
from edgestem.live.watch import News, Watch
from edgestem.live.worker import Count
from edgestem.pcm.faders import Levels

RATE = 44100
NET = Path(__file__).parent.parent / "data" / "short1.tflite"


@pytest.fixture
def rig() -> Iterator[Rig]:
    separator = Separator(RATE, 2, model=NET)
    made = Rig(separator, Levels(-100, 0, np.float32), slack_samples=1000)
    yield made
    made.close()


def pass_by(rig: Rig, count: Count, *, share: float, call_ms: float) -> None:
    """Two seconds of music, of which a share plays the fall-back."""
    rig.n_in += 2 * RATE
    rig.n_substitute_samples += round(2 * share * RATE)
    count.n_calls += 100
    count.busy_s += 0.1 * call_ms
    count.peak_s = max(count.peak_s, call_ms / 1000)


def watch(rig: Rig, count: Count, model: str = "stage", threads: int = 1) -> Watch:
    made = Watch(rig, count, model, slack_ms=4.0, threads=threads)
    assert made.look(0.0) == ""
    return made


def test_a_model_that_is_too_much_is_said_once_with_the_way_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    count = Count()
    looker = watch(rig, count)
    pass_by(rig, count, share=1.0, call_ms=40)
    has_ms = 1000 * rig.call_samples / RATE
    assert looker.look(2.0) == (
        "stage is too much for this machine: a call of the network takes 40.0 ms and "
        f"covers {has_ms:.1f}, so the fall-back plays; choose --model live or give it "
        "--threads 2"
    )
    pass_by(rig, count, share=1.0, call_ms=40)
    assert looker.look(4.0) == ""  # it is the same trouble
    pass_by(rig, count, share=0.0, call_ms=1)
    assert looker.look(6.0) == ""
    pass_by(rig, count, share=0.9, call_ms=40)
    assert looker.look(8.0)  # it came again


@pytest.mark.parametrize(
    ("model", "threads", "cores", "way"),
    [
        ("stage", 2, 4, "plays; choose --model live"),
        ("stage", 1, 1, "plays; choose --model live"),
        ("live", 1, 4, "plays; give it --threads 2"),
        ("live", 0, 4, "plays; separate the song beforehand: edgestem separate"),
    ],
)
def test_only_what_helps_is_advised(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    threads: int,
    cores: int,
    way: str,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    count = Count()
    looker = watch(rig, count, model, threads)
    pass_by(rig, count, share=0.8, call_ms=90)
    assert looker.look(2.0).endswith(way)


def test_a_network_that_is_fast_enough_wants_more_slack(rig: Rig) -> None:
    count = Count()
    looker = watch(rig, count)
    pass_by(rig, count, share=0.8, call_ms=0.5)
    count.peak_s = 0.0123
    assert "give it time with --slack 13, or" in looker.look(2.0)


def test_a_file_in_the_pipe_is_no_slow_machine(rig: Rig) -> None:
    count = Count()
    looker = watch(rig, count)
    pass_by(rig, count, share=1.0, call_ms=40)
    assert "leave --slack out" in looker.look(0.1)


def test_stalls_errors_and_renders_are_no_slow_machine(rig: Rig) -> None:
    count = Count()
    looker = watch(rig, count)
    pass_by(rig, count, share=0.4, call_ms=40)
    assert looker.look(2.0) == ""
    pass_by(rig, count, share=1.0, call_ms=40)
    count.n_errors = 1
    assert looker.look(4.0) == ""
    rig.is_waiting = True
    pass_by(rig, count, share=1.0, call_ms=40)
    assert looker.look(6.0) == ""


def test_only_what_is_new_is_told(rig: Rig) -> None:
    news, count = News(), Count()

    def tell(now: float, n_xruns: int = 0, is_end: bool = False) -> str:
        return news.tell(rig, count, n_xruns, now, is_end=is_end)

    assert tell(0.0) == ""
    rig.n_late, rig.n_substitute_samples = 1, RATE // 2
    assert tell(1.0) == "late once, 0.500 s on the fall-back (dry)"
    assert tell(3.0) == ""
    assert tell(12.0, 1) == "1 xruns of the sound system"
    assert tell(14.0, 2) == ""  # not every second
    assert tell(22.5, 3) == "3 xruns of the sound system"
    rig.n_late, count.n_errors, count.last_error = 7, 1, "it broke"
    assert tell(23.0, 3) == ""
    late = "late 7 times, 0.500 s on the fall-back (dry)"
    assert tell(24.0, 3) == f"{late}, 1 errors of the network (it broke)"
    assert tell(24.1, 4, True) == (
        f"{late}, 1 errors of the network (it broke), 4 xruns of the sound system"
    )


def test_a_stream_without_trouble_ends_without_a_word(rig: Rig) -> None:
    assert News().tell(rig, Count(), 0, 9.0, is_end=True) == ""
