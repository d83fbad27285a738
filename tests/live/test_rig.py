"""Deadline mode: real delegates that stall, fail and lie; the music goes on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from memory import allocations

from edgestem.engine.separator import Separator
from edgestem.engine.whole import separate
from edgestem.live.rig import SUBSTITUTES, Rig
from edgestem.live.session import Live, LiveSettings
from edgestem.live.worker import Crew, Worker
from edgestem.pcm import faders
from edgestem.pcm.decibels import MAX_BLOCK, gain_of, midi_db, parse_db
from edgestem.pcm.faders import Levels

HERE = Path(__file__).parent.parent
DATA = HERE / "data"
RATE = 44100
BLOCK = 256
SLACK = BLOCK + 2000
Make = Callable[..., tuple[Rig, Crew]]


def net(name: str) -> Path:
    return DATA / f"{name}.tflite"


def tone(n_samples: int) -> np.ndarray:
    """A signal whose steps are known: 440 Hz left, 330 Hz right."""
    t = np.arange(n_samples)[:, None] / RATE
    return (0.3 * np.sin(2 * np.pi * np.array([440.0, 330.0]) * t)).astype(np.float32)


def noise(n_samples: int, n_channels: int = 2) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(0, 0.1, (n_samples, n_channels)).astype(np.float32)


@pytest.fixture
def make() -> Iterator[Make]:
    """Make rigs with their crews, and end them."""
    made: list[tuple[Rig, Crew]] = []

    def rig_of(
        separator: Separator,
        levels: tuple[float, float] = (-100.0, 0.0),
        slack: int = SLACK,
        substitute: str = "dry",
        spare: Separator | None = None,
        is_waiting: bool = False,
    ) -> tuple[Rig, Crew]:
        chosen = Levels(*levels, np.float32)
        rig = Rig(separator, chosen, slack_samples=slack, substitute=substitute)
        rig.is_waiting = is_waiting
        made.append((rig, Crew(rig, separator, spare)))
        return made[-1]

    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    yield rig_of
    sys.setswitchinterval(old)
    for rig, crew in made:
        if crew.stop():
            rig.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the test delegate")
    path = tmp_path_factory.mktemp("delegate") / "orders.so"
    flags = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    source = str(HERE / "delegates" / "logistic.c")
    command = [compiler, *flags, "-DORDERS", source, "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    return str(path)


@pytest.fixture
def obedient(library: str, tmp_path: Path) -> tuple[Separator, Path]:
    """A separator on a delegate that does what a file says."""
    orders = tmp_path / "orders"
    separator = Separator(
        RATE,
        2,
        model=net("short1"),
        device=f"delegate:{library}",
        device_options={"orders": str(orders)},
        fallback=False,
    )
    return separator, orders


def play(rig: Rig, x: np.ndarray, block: int = BLOCK, speed: float = 1.0) -> np.ndarray:
    """Call the callback like a sound card, at its pace; speed 0: as fast as can be."""
    out = np.empty_like(x)
    start = time.perf_counter()
    for at in range(0, len(x), block):
        if speed and (wait := start + at / RATE / speed - time.perf_counter()) > 0:
            time.sleep(wait)
        rig.process(x[at : at + block], out[at : at + block])
    return out


def render(rig: Rig, x: np.ndarray, block: int = BLOCK) -> np.ndarray:
    """Play and drain, offline; leave the latency out."""
    silence = np.zeros((rig.latency_samples, x.shape[1]), np.float32)
    return play(rig, np.concatenate([x, silence]), block, 0)[rig.latency_samples :]


# ---- the same samples -----------------------------------------------------------


@pytest.mark.parametrize("name", ["short1", "short8", "stateful2", "stateful64"])
@pytest.mark.parametrize("block", [64, 1000, 5000])
def test_in_time_it_is_separate_to_the_bit(make: Make, name: str, block: int) -> None:
    x = noise(40_000)
    separator = Separator(RATE, 2, model=net(name))
    rig, crew = make(separator, slack=block, is_waiting=True)
    crew.start()
    out = render(rig, x, block)
    assert np.array_equal(out, separate(x, RATE, model=net(name)).instrumental)
    assert rig.n_late == rig.n_substitute_samples == 0
    assert rig.latency_samples == separator.latency_samples + block


@pytest.mark.parametrize("name", ["tiny", "twice", "slide"])
def test_a_block_net_with_its_own_level_agrees_until_the_end(
    make: Make, name: str
) -> None:
    x = noise(40_000)
    separator = Separator(RATE, 2, model=net(name))
    rig, crew = make(separator, is_waiting=True)
    crew.start()
    expected = separate(x, RATE, model=net(name)).instrumental
    n = len(x) - rig.first_samples - 2048  # a live stream does not know its end
    assert np.array_equal(render(rig, x)[:n], expected[:n])


def test_mono_and_faders(make: Make) -> None:
    x = noise(20_000, 1)
    separator = Separator(RATE, 1, model=net("short1"))
    rig, crew = make(separator, levels=(0.0, -6.0), is_waiting=True)
    crew.start()
    stems = separate(x, RATE, model=net("short1"))
    expected = stems.vocals + np.float32(10 ** (-6 / 20)) * stems.instrumental
    assert np.allclose(render(rig, x), expected, atol=1e-6)


def test_an_impulse_comes_out_exactly_where_it_is_stated(make: Make) -> None:
    separator = Separator(RATE, 2, model=net("short1"))
    rig, crew = make(separator, levels=(0.0, 0.0), is_waiting=True)
    crew.start()
    x = np.zeros((9000, 2), np.float32)
    x[4321] = 0.5
    out = play(rig, x, speed=0)
    assert int(np.abs(out).sum(1).argmax()) == 4321 + rig.latency_samples
    assert np.count_nonzero(np.abs(out) > 1e-6) == 2


def test_damage_passes_as_silence(make: Make) -> None:
    x = noise(20_000)
    clean = x.copy()
    x[5000:5003, 0] = np.nan, np.inf, 1e30
    clean[5000:5003, 0] = 0
    rig, crew = make(Separator(RATE, 2, model=net("short1")), is_waiting=True)
    crew.start()
    expected = separate(clean, RATE, model=net("short1")).instrumental
    assert np.array_equal(render(rig, x), expected)
    assert rig.n_bad_samples == 3


# ---- faults ---------------------------------------------------------------------


def check_continuous(out: np.ndarray, x: np.ndarray, room: float = 1.02) -> None:
    """No jump between two samples beyond the signal's own and a fade's slope."""
    own = np.abs(np.diff(x, axis=0)).max()
    assert np.abs(np.diff(out, axis=0)).max() <= room * own + 1e-6


def undisturbed(x: np.ndarray) -> np.ndarray:
    """All that may play: the mixture, and the stem as it is without a fault."""
    return np.hstack([x, separate(x, RATE, model=net("short1")).instrumental])


@pytest.mark.parametrize("substitute", SUBSTITUTES)
def test_without_any_vocals_the_fall_back_plays_at_its_place(
    make: Make, substitute: str
) -> None:
    """A network that never answers: nobody starts the crew."""
    x = tone(20_000)
    rig, _ = make(Separator(RATE, 2, model=net("short1")), substitute=substitute)
    out = play(rig, x, speed=0)
    late = rig.latency_samples
    expected = {
        "dry": x,
        "centre-cancel": np.repeat((x[:, :1] - x[:, 1:]) / 2, 2, axis=1),
        "mute": np.zeros_like(x),
    }[substitute]
    after = late + 300  # the first cross-fade
    assert np.array_equal(out[after:], expected[300 : len(x) - late])
    assert rig.n_late == 1
    assert rig.n_substitute_samples == len(x) - late


@pytest.mark.parametrize("ms", [5, 50, 500, 1_000_000])
def test_stalls_are_bridged(
    make: Make, obedient: tuple[Separator, Path], ms: int
) -> None:
    separator, orders = obedient
    x = tone(2 * RATE)
    rig, crew = make(separator)
    crew.start()
    start = play(rig, x[: RATE // 2])
    n_before = rig.n_late
    orders.write_text(f"stall {ms}")
    out = np.concatenate([start, play(rig, x[RATE // 2 :])])
    late = rig.latency_samples
    played = undisturbed(x)
    check_continuous(out[late:], played)
    # A sample stays in the range of what may play, but for a fade.
    assert np.abs(out).max() <= 1.02 * np.abs(played).max()
    if ms >= 500:
        assert rig.n_late > n_before
        dry = np.abs(out[late:] - x[: len(x) - late]).max(1) < 1e-7
        assert dry.sum() > 0.3 * RATE  # sample by sample at its place
    if ms == 500:
        assert rig.done.end > len(x) - late - rig.hop  # it plays stems again
        assert crew.count.n_skipped_samples > 0


def test_a_failing_delegate_is_survived_and_recovers(
    make: Make, obedient: tuple[Separator, Path]
) -> None:
    separator, orders = obedient
    x = tone(2 * RATE)
    rig, crew = make(separator)
    crew.start()
    parts = [play(rig, x[:20_000])]
    orders.write_text("fail")
    parts.append(play(rig, x[20_000:50_000]))
    assert crew.count.n_errors > 0
    assert "ModelError" in crew.count.last_error
    assert rig.n_late > 0
    orders.unlink()
    parts.append(play(rig, x[50_000:]))
    check_continuous(np.concatenate(parts)[rig.latency_samples :], undisturbed(x))
    assert rig.done.end > len(x) - rig.latency_samples - rig.hop


def test_a_failing_delegate_is_replaced_by_the_spare(
    make: Make, obedient: tuple[Separator, Path]
) -> None:
    separator, orders = obedient
    spare = Separator(RATE, 2, model=net("short1"))
    rig, crew = make(separator, spare=spare)
    crew.start()
    x = tone(RATE)
    orders.write_text("fail")
    play(rig, x[:20_000])
    crew.look()
    assert crew.count.n_taken_over == 1
    assert crew.device == "cpu"
    (note,) = crew.count.notes
    assert "the CPU takes over" in note
    play(rig, x[20_000:])
    assert rig.done.end > len(x) - rig.latency_samples - rig.hop


def test_a_stuck_delegate_is_replaced_by_the_spare(
    make: Make, obedient: tuple[Separator, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestem.live.worker.STUCK_S", 0.2)
    separator, orders = obedient
    spare = Separator(RATE, 2, model=net("short1"))
    rig, crew = make(separator, spare=spare)
    crew.start()
    orders.write_text("stall 1000000")
    x = tone(RATE)
    out = [play(rig, x[: RATE // 2])]
    crew.look()
    assert crew.count.n_taken_over == 1
    assert "does not answer" in crew.count.notes[0]
    out.append(play(rig, x[RATE // 2 :]))
    assert rig.done.end > len(x) - rig.latency_samples - rig.hop
    check_continuous(np.concatenate(out)[rig.latency_samples :], undisturbed(x))


def test_a_thread_that_dies_is_said_and_nobody_waits_for_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, crew = make(Separator(RATE, 2, model=net("short1")), is_waiting=True)

    def broken(worker: Worker) -> bool:
        raise KeyError("a bug")

    monkeypatch.setattr(Worker, "_follow", broken)
    crew.start()
    start = time.monotonic()
    x = tone(RATE // 2)
    out = render(rig, x)
    assert time.monotonic() - start < 5  # it was 10 s a block
    assert np.abs(out - x).max() < 1e-6
    crew.look()
    crew.look()
    (note,) = crew.count.notes
    assert note.startswith("the network's thread ended (KeyError: 'a bug'), and the")


def test_a_thread_that_dies_is_replaced_by_the_spare(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, spare = (Separator(RATE, 2, model=net("short1")) for _ in range(2))
    rig, crew = make(first, spare=spare)
    follow = Worker._follow

    def broken(worker: Worker) -> bool:
        if worker.separator is first:
            raise KeyError("a bug")
        return follow(worker)

    monkeypatch.setattr(Worker, "_follow", broken)
    crew.start()
    x = tone(RATE)
    play(rig, x[:20_000])
    crew.look()
    assert crew.count.notes == [
        "the network on cpu ended (KeyError: 'a bug'): the CPU takes over"
    ]
    play(rig, x[20_000:])
    assert rig.done.end > len(x) - rig.latency_samples - rig.hop


def test_a_thread_that_cannot_be_prepared_works_and_says_so() -> None:
    x = noise(20_000)
    separator = Separator(RATE, 2, model=net("short1"))
    rig = Rig(separator, Levels(-100, 0, np.float32), slack_samples=1000)

    def prepare() -> None:
        raise ValueError("negative CPU number")

    crew = Crew(rig, separator, prepare=prepare)
    rig.is_waiting = True
    crew.start()
    out = render(rig, x)
    assert crew.stop()
    rig.close()
    assert np.array_equal(out, separate(x, RATE, model=net("short1")).instrumental)
    assert "(ValueError: negative CPU number): leave --realtime" in crew.count.notes[0]


def test_a_core_that_is_not_there_is_refused_before_the_start() -> None:
    for cpu in (-1, 9999):
        settings = LiveSettings(str(net("short1")), -100.0, 0.0, cpu=cpu)
        with pytest.raises(ValueError, match="cpu: expected one of the cores"):
            Live(settings, RATE, 2, BLOCK, lambda _: None)


def test_larger_blocks_leave_a_stuck_call_behind(library: str, tmp_path: Path) -> None:
    orders = tmp_path / "orders"
    device, options = f"delegate:{library}", {"orders": str(orders)}
    settings = LiveSettings(
        str(net("short1")), -100.0, 0.0, device=device, device_options=options
    )
    live = Live(settings, RATE, 2, BLOCK, lambda _: None)
    live.start()
    orders.write_text("stall 1000000")
    x = tone(RATE)
    play(live.rig, x[:20_000])
    live.resize(2 * BLOCK)
    play(live.rig, x, 2 * BLOCK)
    assert live.crew.device == "cpu"
    assert live.rig.done.end > len(x) - live.rig.latency_samples - live.rig.hop
    live.stop()


def test_garbage_stays_bounded_and_in_its_place(
    make: Make, obedient: tuple[Separator, Path]
) -> None:
    """A mask is 0 to 1 whatever the delegate says; overlap-add joins the frames."""
    separator, orders = obedient
    x = tone(RATE)
    rig, crew = make(separator)
    crew.start()
    parts = [play(rig, x[:20_000])]
    orders.write_text("garbage")
    parts.append(play(rig, x[20_000:30_000]))
    orders.unlink()
    parts.append(play(rig, x[30_000:]))
    out = np.concatenate(parts)[rig.latency_samples :]
    check_continuous(out, x, 2.0)
    assert np.isfinite(out).all()
    silence = np.zeros((20_000, 2), np.float32)
    orders.write_text("garbage")
    assert not play(rig, silence)[rig.latency_samples + 2048 :].any()


# ---- hygiene ----------------------------------------------------------------------


def test_the_callback_allocates_no_arrays(make: Make) -> None:
    rig, _ = make(Separator(RATE, 2, model=net("short1")))
    x = noise(4096)
    rig.levels.set(-6.0, None, 10**6)
    for _ in range(20):
        rig.process(x, x)
    growth, peak = allocations(lambda: rig.process(x, x))
    assert growth < 4096
    assert peak < 8192, "process allocates arrays"


def test_the_callback_takes_no_lock_and_does_not_log(make: Make) -> None:
    rig, crew = make(Separator(RATE, 2, model=net("short1")))
    crew.start()
    x = noise(BLOCK)
    called: set[str] = set()

    def note(_: object, event: str, argument: object) -> None:
        if event == "c_call":
            called.add(getattr(argument, "__name__", "?"))

    for _ in range(300):  # in time, late, and back
        sys.setprofile(note)
        rig.process(x, x)
        sys.setprofile(None)
    calm = {
        "len",
        "min",
        "max",
        "range",
        "eventfd_write",
        "fill",
        "count_nonzero",
        "float",
        "values",  # of a dict: one step, without a lock
    }
    calm |= {"copyto", "setprofile", "implement_array_function"}
    assert called <= calm, called - calm


# ---- faders -----------------------------------------------------------------------


def test_a_fader_moves_within_the_block_and_without_a_click(make: Make) -> None:
    """The vocals come in over 20 ms; the network is not asked."""
    rig, _ = make(Separator(RATE, 2, model=net("short1")), substitute="dry")
    x = tone(40_000)
    parts = [play(rig, x[:20_000], speed=0)]
    rig.levels.set(None, -100.0, 882)  # both silent: the fall-back, too
    parts.append(play(rig, x[20_000:], speed=0))
    out = np.concatenate(parts)
    check_continuous(out[rig.latency_samples :], x, 1.05)
    assert not out[20_000 + 882 :].any()
    assert out[20_000 : 20_000 + 441].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ramps_do_not_depend_on_blocks(dtype: type) -> None:
    def gains(blocks: list[int]) -> np.ndarray:
        levels = Levels(-100.0, 0.0, dtype)
        levels.set(-12.0, -100.0, 100)
        return np.concatenate([levels.take(n).copy() for n in blocks])

    whole = gains([300])
    assert np.array_equal(gains([1, 98, 1, 0, 200]), whole)
    assert whole[0, 0] == pytest.approx(10 ** (-12 / 20) / 100)
    assert whole[99:, 1].max() == 0
    assert np.all(np.diff(whole[:, 0]) >= 0)
    levels = Levels(0.0, 0.0, dtype)
    levels.set(-100.0, None, 200)
    levels.take(100)
    levels.set(0.0, None, 10)  # turns where it is
    assert levels.take(1)[0, 0] == pytest.approx(0.55, abs=1e-6)
    assert levels.take(MAX_BLOCK)[-1, 0] == 1.0


def test_a_move_of_both_faders_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that plays in the middle of a move takes all of it or nothing."""
    levels, early = Levels(-100.0, 0.0), []

    def gain(level_db: float) -> float:
        early.append(levels.take(1)[0].copy())  # the other thread, at the worst moment
        return gain_of(level_db)

    monkeypatch.setattr("edgestem.pcm.faders.gain_of", gain)
    levels.set(0.0, -100.0, 1000)
    assert np.array_equal(early, [[0.0, 1.0]] * 2)
    gains = levels.take(1000)
    assert np.abs(gains.sum(1) - 1.0).max() < 1e-12  # one ramp for both
    assert gains[999, 0] == 1.0


def test_levels_are_read_or_refused() -> None:
    assert parse_db("-inf") == -100.0
    assert parse_db("-12.5") == -12.5
    for text in ("loud", "nan", "21", "inf", ""):
        with pytest.raises(ValueError, match="expected decibels up to 20"):
            parse_db(text)
    assert midi_db(127) == 0.0
    assert midi_db(0) == -100.0
    assert midi_db(64) == pytest.approx(-11.9, abs=0.05)


def test_nonsense_is_refused() -> None:
    separator = Separator(RATE, 1, model=net("short1"))
    levels = Levels(0.0, 0.0, np.float32)
    for options, text in (
        ({"slack_samples": 0}, "slack_samples: expected 1 or more"),
        ({"slack_samples": 9, "substitute": "loud"}, "substitute: expected one of"),
        ({"slack_samples": 9, "substitute": "centre-cancel"}, "needs stereo"),
    ):
        with pytest.raises(ValueError, match=text):
            Rig(separator, levels, **options)


def test_a_move_that_is_played_halfway_is_one_ramp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The player may come between the two levels of one `set`."""
    levels, gain_of = Levels(0.0, 0.0), faders.gain_of

    def interrupted(level_db: float) -> float:
        if level_db == -100.0:
            levels.take(500)
        return gain_of(level_db)

    monkeypatch.setattr(faders, "gain_of", interrupted)
    levels.set(-6.0, -100.0, 1000)
    gains = levels.take(1000)
    assert gains[-1, 0] == gain_of(-6.0) and gains[-1, 1] == 0
    assert gains[499, 1] == pytest.approx(0.5)
