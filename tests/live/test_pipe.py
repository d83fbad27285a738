"""`edgestem stream` in pipes, with ALSA's own programs and plugins, and in PipeWire."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm

from edgestem.engine.whole import separate
from edgestem.errors import EdgestemError
from edgestem.live.control import Control

MODEL = Path(__file__).parent.parent / "data" / "short1.tflite"
LATE = 512  # of that model
Run = Callable[..., subprocess.CompletedProcess[str]]
EDGESTEM = [sys.executable, "-m", "edgestem"]
STREAM = [*EDGESTEM, "stream", "--model", str(MODEL)]
DTYPES = {"s16": "<i2", "s32": "<i4", "f32": "<f4"}
SUBTYPES = {"s16": "PCM_16", "s24": "PCM_24", "s32": "PCM_32", "f32": "FLOAT"}


def stream(*words: str, data: bytes, **options: object) -> bytes:
    settings = {"timeout": 60, "check": True, "stderr": subprocess.DEVNULL} | options
    command = [*STREAM, *words]
    result = warm.run(command, input=data, stdout=subprocess.PIPE, **settings)
    return bytes(result.stdout)


def raw(x: np.ndarray, name: str) -> bytes:
    if name == "f32":
        return x.astype("<f4").tobytes()
    bits = int(name[1:])
    whole = np.rint(x.astype(np.float64) * 2 ** (bits - 1)).astype("<i4")
    if bits == 24:
        return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()


@pytest.fixture
def song() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, (30_011, 2)).clip(-0.9, 0.9)


# ---- the samples of separate -----------------------------------------------------


@pytest.mark.parametrize("name", SUBTYPES)
def test_a_trimmed_pipe_gives_the_samples_of_separate(
    name: str, song: np.ndarray, tmp_path: Path
) -> None:
    data = raw(song, name)
    if name == "s24":
        whole = np.frombuffer(raw(song, "s32"), "<i4").reshape(-1, 2)
        whole = (np.rint(song * 2**23).astype(np.int32) << 8).astype("<i4")
    else:
        whole = np.frombuffer(data, DTYPES[name]).reshape(-1, 2)
    path = tmp_path / "song.wav"
    soundfile.write(path, whole, 44100, SUBTYPES[name])
    command = [*EDGESTEM, "separate", str(path), "-o", str(tmp_path), "--quiet"]
    subprocess.run([*command, "--model", str(MODEL)], check=True, timeout=60)
    stem = tmp_path / "song" / "instrumental.wav"
    expected, _ = soundfile.read(stem, dtype="float64", always_2d=True)
    out = stream("--trim", "--format", name, "--rate", "44100", data=data)
    assert out == raw(expected, name)
    late = stream("--format", name, "--rate", "44100", "--block", "77", data=data)
    n_bytes = LATE * len(data) // len(song)
    assert late[n_bytes:] == out
    assert not any(late[:n_bytes])


def test_wav_in_is_wav_out(song: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    soundfile.write(path, song[:, :1], 22050, "PCM_16")
    out = tmp_path / "out.wav"
    out.write_bytes(stream("--trim", data=path.read_bytes()))
    got, rate = soundfile.read(out, dtype="int16", always_2d=True)
    assert rate == 22050
    assert got.shape == (len(song), 1)
    mixture, _ = soundfile.read(path, dtype="float32", always_2d=True)
    stems = separate(mixture, rate, model=MODEL)
    assert np.abs(got / 2**15 - stems.instrumental).max() <= 1 / 2**15


@pytest.mark.parametrize("words", [("--trim",), ("--slack", "50")])
def test_a_file_on_stdout_gets_its_sizes(
    song: np.ndarray, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(path, song[:, :1], 8000, "PCM_24")
    with path.open("rb") as source, out.open("wb") as sink:
        command = [*STREAM, "--quiet", *words]
        subprocess.run(command, stdin=source, stdout=sink, check=True, timeout=60)
    data = out.read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    at = data.index(b"data") + 4
    n_bytes = int.from_bytes(data[at : at + 4], "little")
    assert 0 <= len(data) - (at + 4 + n_bytes) <= 1  # a chunk is even
    assert n_bytes // 3 == soundfile.info(out).frames >= len(song)


def test_a_recording_that_ctrl_c_ends_gets_its_sizes(
    song: np.ndarray, tmp_path: Path
) -> None:
    path, out = tmp_path / "song.wav", tmp_path / "out.wav"
    soundfile.write(path, song, 44100, "PCM_16")
    with (
        out.open("wb") as sink,
        subprocess.Popen(
            [*STREAM, "-q"], stdin=subprocess.PIPE, stdout=sink
        ) as process,
    ):
        assert process.stdin
        process.stdin.write(path.read_bytes()[:80_000])
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while out.stat().st_size < 60_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    data = out.read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8


def test_faders_of_a_pipe(song: np.ndarray) -> None:
    words = ("--format", "s16", "--rate", "44100", "--trim", "--vocals-db=0")
    data = raw(song, "s16")
    assert stream(*words, data=data) == data  # both stems are the song, to the bit
    assert not any(stream(*words[:-1], "--instrumental-db=-inf", data=data))


def test_with_slack_the_pipe_has_a_deadline_and_keeps_its_place(
    song: np.ndarray,
) -> None:
    """Faster than real time most vocals are late: the mixture is at its place."""
    words = ("--format", "f32", "--rate", "44100", "--vocals-db=0", "--slack", "5")
    out = np.frombuffer(stream(*words, data=raw(song, "f32")), "<f4").reshape(-1, 2)
    late = LATE + 256 + 220
    assert len(out) == len(song) + late
    assert np.abs(out[late:] - song).max() < 1e-6
    assert not out[:late].any()


def test_commands_come_through_a_fifo(song: np.ndarray, tmp_path: Path) -> None:
    fifo = tmp_path / "faders"
    command = [*STREAM, "--format", "s16", "--rate", "44100", "--control", str(fifo)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        assert b"latency 512 samples" in process.stderr.readline()
        deadline = time.monotonic() + 20
        while not fifo.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        data = raw(song, "s16")
        process.stdin.write(data[:40_000])
        process.stdin.flush()
        fifo.write_text("instrumental -inf\nfoo\n")
        assert b"instrumental -100 dB" in process.stderr.readline()
        assert b"'foo' is no fader's line" in process.stderr.readline()
        process.stdin.write(data[40_000:])
        process.stdin.close()
        out = process.stdout.read()
        assert process.wait(20) == 0
    n = 40_000 + 4 * (882 + 256 * 4)  # the ramp, and what was on its way
    assert any(out[4 * LATE : 4 * LATE + 4000])
    assert not any(out[n:])
    assert not fifo.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trim", "--jack"), "--trim and --format belong to a pipe"),
        (("--format", "s16"), "raw PCM needs --rate"),
        (("--rate", "44100"), "a WAV stream says its own rate"),
        (("--jack", "--rate", "44100"), "JACK has its own sample rate"),
        (("--trim", "--slack", "5"), "leave --trim out"),
        (("--connect",), "--connect belongs to --jack"),
        (("--block", "0"), "--block is 1 or more"),
        (("--slack", "-1"), "--slack is 0 or more"),
        (("--vocals-db", "loud"), "expected decibels up to 20, or -inf, got loud"),
        (("--jack", "--realtime", "99"), "expected 1 to 95, got 99"),
        (("--jack", "--midi-cc", "20", "128"), "expected 0 to 127, got 128"),
        (("--jack", "--alsa", "0", "0"), "not allowed with"),
    ],
)
def test_options_that_contradict_are_refused(run: Run, words: tuple, said: str) -> None:
    result = run("stream", *words, stdin=subprocess.DEVNULL)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_no_wav_stream(run: Run) -> None:
    result = run("stream", "--model", MODEL, input="no sound at all" * 9)
    assert result.returncode == 1
    assert "for raw PCM say --format, --rate and --channels [unreadable]" in (
        result.stderr
    )


@pytest.mark.parametrize(
    ("module", "words", "package"),
    [
        ("jack", ["--jack"], "JACK-Client"),
        ("sounddevice", ["--alsa", "0", "0"], "sounddevice"),
    ],
)
def test_a_missing_library_names_its_package(
    module: str, words: list[str], package: str
) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"from edgestem.cli.main import main; sys.exit(main(['stream', *{words!r}]))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"pip install {package} [live_missing]" in result.stderr


def test_a_control_that_is_no_fifo_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    for bad in (path, tmp_path / "no" / "folder"):
        with pytest.raises(EdgestemError, match="no commands from") as caught:
            Control(str, print, fifo=bad)
        assert caught.value.code == "unwritable"


def test_commands_that_end_by_a_bug_are_said() -> None:
    def handle(line: str) -> str:
        raise KeyError(line)

    said: list[str] = []
    source, sink = os.pipe()
    control = Control(handle, said.append, stdin=source)
    control.start()
    os.write(sink, b"vocals -3\n")
    control._thread.join(10)
    control.close()
    for fd in (source, sink):
        os.close(fd)
    assert said == [
        "no commands any more (KeyError: 'vocals -3'): start again, and report this"
    ]


def test_what_is_not_permitted_is_said() -> None:
    """An unprivileged child: no priority, and a core that is not there."""
    code = (
        "import os, resource\n"
        "from edgestem.live.realtime import lock_memory, prepare_thread\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))\n"
        "prepare_thread(20, 9999, print); print(lock_memory())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    core, priority, memory = result.stdout.splitlines()
    assert core.startswith("not on core 9999 (")
    assert priority.startswith("no real-time priority 20 (Operation not permitted): ")
    assert memory.startswith("memory is not locked (")
    assert "limits.d/audio.conf" in priority


def test_a_core_can_be_chosen() -> None:
    code = (
        "import os\nfrom edgestem.live.realtime import prepare_thread\n"
        "core = max(os.sched_getaffinity(0))\n"
        "prepare_thread(0, core, print)\n"
        "assert os.sched_getaffinity(0) == {core}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- ALSA -------------------------------------------------------------------------


@pytest.fixture
def alsa(tmp_path: Path) -> Callable[[bytes], dict[str, str]]:
    """Make an input device that reads a file and an output that writes one."""
    system = Path("/usr/share/alsa/alsa.conf")
    if not (shutil.which("arecord") and shutil.which("aplay") and system.exists()):
        pytest.skip("alsa-utils is not installed")

    def make(data: bytes) -> dict[str, str]:
        (tmp_path / "in.raw").write_bytes(data)
        devices = tmp_path / "devices.conf"
        devices.write_text(
            f"pcm.rigin {{ type file slave.pcm null file /dev/null "
            f"infile {tmp_path}/in.raw format raw }}\n"
            f"pcm.rigout {{ type file slave.pcm null file {tmp_path}/out.raw "
            "format raw }\n"
        )
        config = tmp_path / "alsa.conf"
        config.write_text(f"<{system}>\n<{devices}>\n")
        return os.environ | {"ALSA_CONFIG_PATH": str(config)}

    return make


def test_arecord_to_aplay(
    alsa: Callable[[bytes], dict[str, str]], song: np.ndarray, tmp_path: Path
) -> None:
    data = raw(song, "s16")
    env = alsa(data)
    script = (
        'arecord -q -D rigin -f cd -s 30000 | "$@" --trim --quiet | aplay -q -D rigout'
    )
    command = ["sh", "-c", script, "sh", *STREAM]
    subprocess.run(command, env=env, check=True, timeout=60)
    words = ("--trim", "--format", "s16", "--rate", "44100")
    expected = stream(*words, data=data[: 4 * 30_000])
    assert (tmp_path / "out.raw").read_bytes()[: len(expected)] == expected


def test_alsa_through_portaudio_keeps_every_sample_at_its_place(
    alsa: Callable[[bytes], dict[str, str]], song: np.ndarray, tmp_path: Path
) -> None:
    """The file plugins have no clock: most vocals are late, the mixture never is."""
    sounddevice = pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    assert sounddevice.get_portaudio_version()[0] > 0
    env = alsa(raw(song, "f32"))
    words = ["--alsa", "rigin", "rigout", "--rate", "44100", "--vocals-db=0"]
    with subprocess.Popen(
        [*STREAM, *words],
        env=env,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin and process.stderr
        stated = process.stderr.readline()
        assert "latency 853 samples" in stated, stated
        out = tmp_path / "out.raw"
        deadline = time.monotonic() + 30
        while not out.exists() or out.stat().st_size < 8 * 60_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("quit\n")
            process.stdin.close()
        assert process.wait(30) == 0
    y = np.fromfile(out, "<f4", count=2 * 60_000).reshape(-1, 2)
    start = int(np.flatnonzero(np.abs(y).max(1))[0])
    # PortAudio primes its output with whole blocks of silence.
    assert start >= 853 and (start - 853) % 256 == 0
    n = min(len(y) - start, 20_000)
    assert np.abs(y[start:][:n] - song[:n]).max() < 1e-6


def test_a_device_that_is_not_there(run: Run) -> None:
    pytest.importorskip("sounddevice", exc_type=(ImportError, OSError))
    result = run("stream", "--alsa", "nothing", "nothing", "--model", MODEL)
    assert result.returncode == 1
    assert "python -m sounddevice lists what is there [no_sound_device]" in (
        result.stderr
    )


# ---- PipeWire ---------------------------------------------------------------------


def test_pipewire_runs_the_jack_door(tmp_path: Path) -> None:
    if not (shutil.which("pipewire") and shutil.which("pw-jack")):
        pytest.skip("pipewire and pipewire-jack are not installed")
    pytest.importorskip("jack")
    tmp_path.chmod(0o700)
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(["pipewire"], env=env, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pipewire-0").exists():
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip("pipewire does not run here")
            time.sleep(0.05)
        with subprocess.Popen(
            ["pw-jack", *STREAM, "--jack"],
            env=env,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin and process.stderr
            late = int(process.stderr.readline().split()[1])
            status: dict[str, int] = {"n_samples": 0}
            while status["n_samples"] == 0:
                assert time.monotonic() < deadline + 20
                process.stdin.write("status\n")
                process.stdin.flush()
                line = process.stderr.readline()
                status = json.loads(line) if line.startswith("{") else status
                time.sleep(0.1)
            assert status["latency_samples"] == late
            command = ["pw-jack", "jack_lsp", "-l", "edgestem:out_1"]
            listed = subprocess.run(command, env=env, capture_output=True, text=True)
            assert f"capture latency = [ {late} {late} ]" in listed.stdout
            process.stdin.write("quit\n")
            process.stdin.close()
            process.stderr.read()
            assert process.wait(20) == 0
    finally:
        server.terminate()
        server.wait(20)
