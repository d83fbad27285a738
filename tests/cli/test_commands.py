"""The command line as a shell sees it: status, streams, signals, disks, memory."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgestem
from edgestem.cli.main import main
from edgestem.sound import wav
from edgestem.sound.grid import GRIDS
from edgestem.sound.wav import WavFormat
from edgestem.spectrum.spectral import available_backends

DATA = Path(__file__).parent.parent / "data"
STEM_NAMES = ["instrumental.wav", "vocals.wav"]


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    """The one line an error is."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("edgestem: error: ")
    return lines[0]


def names(folder: Path) -> list[str]:
    """Everything in a folder and below, hidden files too."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in found)


# ---- separate ----------------------------------------------------------------


def test_separate_writes_both_stems_and_says_where(run, write_song, tmp_path) -> None:
    write_song("two words.wav")
    result = run("separate", "two words.wav", "-o", "out")
    assert (result.returncode, result.stdout) == (0, "")
    assert names(tmp_path / "out" / "two words") == STEM_NAMES
    assert "out/two words/vocals.wav" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "\r" not in result.stderr  # no bar: stderr is no terminal


def test_default_folder_and_quiet(run, write_song, tmp_path) -> None:
    write_song()
    result = run("separate", "song.wav", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names(tmp_path / "separated" / "song") == STEM_NAMES


def test_json_reports_every_song_and_failures_do_not_end_a_batch(
    run, write_song, tmp_path
) -> None:
    write_song("a.wav", subtype="PCM_24")
    write_song("b.wav", n_channels=8)
    write_song("c.flac", np.zeros((500, 1)))
    (tmp_path / "d.wav").touch()
    words = ("a.wav", "b.wav", "gone.wav", "d.wav", "c.flac")
    result = run("separate", *words, "-o", "out", "--json", "--quiet")
    assert result.returncode == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["input"] for entry in found] == list(words)
    good = found[0]
    assert good["outputs"]["vocals"] == "out/a/vocals.wav"
    assert (good["seconds"], good["n_channels"], good["subtype"]) == (1.0, 2, "24")
    assert good["latency_samples"] > 0
    assert good["rtf"] > 0
    for count in ("n_bad_samples", "n_adjusted_samples", "n_clipped_samples"):
        assert good[count] == 0
    codes = [entry["error"]["code"] for entry in found[1:4]]
    assert codes == ["unsupported_channels", "unreadable", "unreadable"]
    assert found[4]["n_samples"] == 500
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for line, entry in zip(lines, found[1:4], strict=True):
        error = entry["error"]
        assert line == f"edgestem: error: {error['text']} [{error['code']}]"


def test_folders_are_searched_and_keep_their_shape(run, write_song, tmp_path) -> None:
    for name in ("music/b.wav", "music/one/a.flac", "music/two/a.wav"):
        write_song(name, np.zeros((500, 1)))
    for name in ("music/notes.txt", "music/.hidden.wav"):
        (tmp_path / name).write_text("x")
    out = "music/stems"
    assert run("separate", "music", "-o", out, "--only", "vocals").returncode == 0
    wanted = ["b/vocals.wav", "one/a/vocals.wav", "two/a/vocals.wav"]
    assert names(tmp_path / out) == wanted
    again = run("separate", "music", "-o", out, "--only", "vocals", "--force")
    assert again.returncode == 0
    assert names(tmp_path / out) == wanted  # stems are no songs


def test_a_folder_without_songs(run, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("separate", "empty")
    assert result.returncode == 1
    assert error_of(result).endswith("holds no songs (files named .wav, .mp3, .flac "
                                     "...) [no_audio]")  # fmt: skip


def test_existing_stems_need_force(run, write_song, tmp_path) -> None:
    write_song("a.wav")
    write_song("b.wav")
    assert run("separate", "a.wav").returncode == 0
    before = (tmp_path / "separated/a/vocals.wav").stat().st_mtime_ns
    result = run("separate", "a.wav", "b.wav", "--quiet")
    assert result.returncode == 1
    assert "--force" in error_of(result)
    assert (tmp_path / "separated/a/vocals.wav").stat().st_mtime_ns == before
    assert names(tmp_path / "separated/b") == STEM_NAMES
    assert run("separate", "a.wav", "b.wav", "--force").returncode == 0


def test_only_format_subtype_and_vocals_db(run, write_song, tmp_path) -> None:
    write_song("a.wav")
    words = ("--only", "instrumental", "--format", "flac", "--subtype", "24")
    assert run("separate", "a.wav", "-o", "x", *words).returncode == 0
    assert names(tmp_path / "x") == ["a/instrumental.flac"]
    assert soundfile.info(tmp_path / "x/a/instrumental.flac").subtype == "PCM_24"
    assert run("separate", "a.wav", "-o", "y", "--vocals-db", "-12").returncode == 0
    assert names(tmp_path / "y/a") == [STEM_NAMES[0], "karaoke.wav", STEM_NAMES[1]]
    words = ("--only", "karaoke", "--vocals-db", "0")
    assert run("separate", "a.wav", "-o", "z", *words).returncode == 0
    song, karaoke = (soundfile.read(tmp_path / p) for p in ("a.wav", "z/a/karaoke.wav"))
    assert np.array_equal(song[0], karaoke[0])


def test_damage_is_a_warning_and_names_stay_on_one_line(run, write_song) -> None:
    song = write_song("two\nlines.wav")
    song.write_bytes(song.read_bytes()[:90_000])
    result = run("separate", song.name)
    assert result.returncode == 0
    warning, done = result.stderr.splitlines()
    assert warning.startswith("edgestem: warning: two\\nlines.wav is damaged or incom")
    assert done.startswith("two\\nlines.wav -> separated/two\\nlines/vocals.wav")


def test_names_that_are_not_text(run, write_song, tmp_path) -> None:
    song = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    write_song().rename(song)
    for env in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        result = run("separate", song, "--force", "--json", env=env)
        assert result.returncode == 0
        assert json.loads(result.stdout)["input"] == str(song)


# ---- pipes -------------------------------------------------------------------


def test_stdin_to_stdout(run, write_song, tmp_path) -> None:
    song = write_song(subtype="PCM_24")
    for stem in ("vocals", "instrumental"):
        words = ("separate", "-", "-o", "-", "--only", stem, "--quiet")
        data = song.read_bytes()
        result = run(*words, input=data, text=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout[40:44] == b"\xff\xff\xff\xff"  # until the end
        (tmp_path / f"{stem}.wav").write_bytes(result.stdout)
    vocals, instrumental, mixture = (
        soundfile.read(tmp_path / f"{name}.wav", dtype="int32")[0].astype(np.int64)
        for name in ("vocals", "instrumental", "song")
    )
    assert np.array_equal(vocals + instrumental, mixture)


def test_stdin_of_unknown_length_and_a_folder(run, tmp_path) -> None:
    x = np.random.default_rng(8).integers(-9000, 9000, (20_000, 2))
    head = wav.header(WavFormat(GRIDS["16"], 44100, 2))
    data = head + wav.pack(x, GRIDS["16"]) + b"\1"  # and half a sample
    result = run("separate", "-", "--vocals-db=0", input=data, text=False)
    assert result.returncode == 0, result.stderr
    for names in (("vocals", "instrumental"), ("karaoke",)):
        total = sum(
            soundfile.read(tmp_path / f"separated/stdin/{name}.wav", dtype="int16")[0]
            for name in names
        )
        assert np.array_equal(total, x)


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.aiff"])
def test_stdin_that_is_no_wav_is_spooled(run, write_song, name: str) -> None:
    data = write_song(name).read_bytes()
    words = ("separate", "-", "-o", "-", "--vocals-db", "0")
    result = run(*words, input=data, text=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) == 44 + 44100 * 4


@pytest.mark.usefixtures("needs_ffmpeg")
def test_stdin_through_ffmpeg(run, write_song, tmp_path) -> None:
    song = tmp_path / "b.m4a"
    command = ["ffmpeg", "-v", "error", "-i", write_song(), song]
    subprocess.run(command, check=True)
    words = ("separate", "-", "-o", "-", "--only", "vocals")
    with song.open("rb") as file:
        for source in ({"input": song.read_bytes()}, {"stdin": file}):
            result = run(*words, text=False, **source)
            assert result.returncode == 0, result.stderr
            assert len(result.stdout) > 44 + 44100 * 4


@pytest.mark.parametrize("data", [b"", b"la la la", b"RIFF\0\0\0\0WAVEfmt "])
@pytest.mark.usefixtures("needs_ffmpeg")
def test_stdin_that_is_no_song(run, data: bytes) -> None:
    result = run("separate", "-", input=data.decode())
    assert result.returncode == 1
    assert error_of(result).endswith("[unreadable]")


def test_a_closed_pipe_ends_quietly(command, write_song, tmp_path) -> None:
    song = write_song(x=np.zeros((400_000, 2)))
    line = command("separate", song, "-o", "-", "--only", "vocals")
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_closed_standard_streams_are_no_songs(run, write_song, tmp_path) -> None:
    song = write_song()
    everything = 'exec "$0" "$@" <&- >&- 2>&-'
    run_words = [sys.executable, "-m", "edgestem", "separate", str(song), "--model"]
    words = ["sh", "-c", everything, *run_words, str(DATA / "tiny.tflite")]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0
    assert run("verify", "separated", song).returncode == 0


def test_a_full_stdout_is_an_error(run, write_song) -> None:
    with Path("/dev/full").open("wb") as full:
        words = ("separate", write_song(), "-o", "-", "--only", "vocals")
        result = run(*words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert result.returncode == 1
    assert error_of(result).endswith("[unwritable]")


# ---- usage -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sing",),
        ("separate",),
        ("separate", "a.wav", "--only", "drums"),
        ("separate", "a.wav", "--only", "karaoke"),
        ("separate", "a.wav", "--only", "vocals", "--vocals-db", "-3"),
        ("separate", "a.wav", "--vocals-db", "nan"),
        ("separate", "a.wav", "--vocals-db", "999"),
        ("separate", "a.wav", "--threads", "0"),
        ("separate", "a.wav", "--threads", "many"),
        ("separate", "a.wav", "-o", "-"),
        ("separate", "a.wav", "b.wav", "-o", "-", "--only", "vocals"),
        ("separate", ".", "-o", "-", "--only", "vocals"),
        ("separate", "a.wav", "-o", "-", "--only", "vocals", "--json"),
        ("separate", "a.wav", "-o", "-", "--only", "vocals", "--format", "mp3"),
        ("verify", "a"),
    ],
)
def test_usage_errors_are_one_line_and_status_2(run, words) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert error_of(result).endswith("[usage]")


def test_a_fft_that_is_not_installed(run, write_song) -> None:
    if "fftw" in available_backends():
        pytest.skip("fftw is installed here")
    result = run("separate", write_song(), "--fft", "fftw")
    assert result.returncode == 2
    assert "--fft fftw" in error_of(result)


def test_help_and_version(run) -> None:
    version = run("--version")
    assert version.stdout == f"edgestem {edgestem.__version__}\n"
    for words, wanted in (
        (("--help",), ("separate", "verify", "info")),
        (("separate", "--help"), ("flac and alac keep", "--force", "not touched")),
    ):
        text = run(*words)
        assert text.returncode == 0
        assert all(word in text.stdout for word in wanted)


def test_model_errors_and_debug(run, write_song) -> None:
    song = write_song()
    result = run("separate", song, "--model", "violin")
    assert result.returncode == 1
    assert error_of(result).endswith("[model_not_found]")
    debug = run("separate", song, "--model", "violin", "--debug")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_a_missing_libsndfile_is_named(run, write_song, tmp_path) -> None:
    song = write_song()
    (tmp_path / "fake").mkdir()
    broken = tmp_path / "fake" / "soundfile.py"
    broken.write_text("raise OSError('sndfile library not found')")
    paths = [str(broken.parent), os.environ.get("PYTHONPATH", "")]
    result = run("separate", song, env={"PYTHONPATH": os.pathsep.join(paths)})
    assert result.returncode == 1
    assert error_of(result).endswith("[libsndfile_missing]")


def test_a_bug_is_one_line_too(write_song, tmp_path) -> None:
    code = (
        "import sys; import edgestem.files.separate as a, edgestem.cli.main as c\n"
        "def broken(*_): raise ZeroDivisionError('oops')\n"
        "a.open_song = broken; sys.exit(c.main(sys.argv[1:]))"
    )
    line = [sys.executable, "-c", code, "separate", str(write_song())]
    result = subprocess.run(
        line, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 1
    assert "ZeroDivisionError" in error_of(result)


# ---- verify, info ------------------------------------------------------------


def test_verify(run, write_song, tmp_path) -> None:
    song = write_song(subtype="PCM_24")
    assert run("separate", song).returncode == 0
    good = run("verify", "separated", song)
    assert good.returncode == 0
    assert "residual 0 LSB" in good.stdout
    path = tmp_path / "separated/song/vocals.wav"
    x = soundfile.read(path, dtype="int32")[0]
    x[7, 0] += 3 << 8
    soundfile.write(path, x, 44100, "PCM_24")
    bad = run("verify", "separated", song)
    assert bad.returncode == 1
    assert "residual 3 LSB" in bad.stdout
    found = json.loads(run("verify", "separated", song, "--json").stdout)
    assert (found["max_lsb"], found["is_exact"]) == (3, False)
    nothing = run("verify", "elsewhere", song)
    assert nothing.returncode == 3
    assert error_of(nothing).endswith("[no_stems]")


def test_info(run) -> None:
    found = json.loads(run("info", "--json").stdout)
    assert found["edgestem"] == edgestem.__version__
    assert found["runtimes"]
    for model in found["models"]:
        assert model["licence"]
        assert model["latency_samples"] > 0
        assert set(model["latencies"]) == {"44100", "48000"}
    text = run("info")
    assert text.returncode == 0
    for word in ("edgestem", "libsndfile", "runtime", "fft", "model"):
        assert word in text.stdout


def test_info_has_one_line_a_model_and_more_with_verbose(run) -> None:
    models = {m["name"]: m for m in json.loads(run("info", "--json").stdout)["models"]}
    lines = run("info").stdout.splitlines()
    assert len(lines) < 20
    for name, model in models.items():
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert model["purpose"] and model["purpose"] in line
        assert re.search(r"\d (s|ms) .*\d dB, .*\d dB", line)
        assert ("(the default)" in line) == model["is_default"]
    full = run("info", "--verbose").stdout
    assert "samples" in full and "Spleeter" in full


# ---- a terminal --------------------------------------------------------------


def test_progress_is_drawn_on_a_terminal_and_removed(
    command, write_song, tmp_path
) -> None:
    song = write_song(x=np.zeros((300_000, 2)))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("separate", song), stderr=theirs, stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 4096):
                seen += data
        except OSError:  # what Linux says at the end of a terminal
            pass
        assert process.wait(30) == 0
        assert process.stdout.read() == b""
    os.close(ours)
    assert b"song.wav [" in seen
    assert b"% " in seen
    assert b" left" in seen
    assert b"\r\x1b[K" + bytes(song) + b" -> " in seen


# ---- interrupts --------------------------------------------------------------


@pytest.fixture
def half_done(command, tmp_path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a run whose song does not end, and wait until it is being written."""
    started = []

    def start(*words: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command("separate", "-", "-o", "out", *words),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
        )
        started.append(process)
        noise = np.random.default_rng(9).integers(-9000, 9000, (300_000, 2))
        process.stdin.write(wav.header(WavFormat(GRIDS["16"], 44100, 2)))
        process.stdin.write(wav.pack(noise, GRIDS["16"]))
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not any(p.stat().st_size for p in tmp_path.glob("out/*/.*.part")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("words", [(), ("--format", "flac"), ("--format", "ogg")])
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_signals_leave_nothing_behind(half_done, tmp_path, number, status, words):
    process = half_done(*words)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == status
    wanted = b"edgestem: error: interrupted [interrupted]\n"
    assert stderr == (wanted if number == signal.SIGINT else b"")
    assert not (tmp_path / "out").exists()


def test_sigkill_leaves_no_stem_and_the_next_run_cleans_up(
    half_done, run, tmp_path
) -> None:
    process = half_done()
    process.kill()
    process.communicate()
    left = names(tmp_path / "out" / "stdin")
    assert left == [
        f".{stem}.wav.{process.pid}.part" for stem in ("instrumental", "vocals")
    ]
    silence = wav.header(WavFormat(GRIDS["16"], 44100, 1, 9)) + bytes(18)
    result = run("separate", "-", "-o", "out", input=silence, text=False)
    assert result.returncode == 0
    assert names(tmp_path / "out" / "stdin") == STEM_NAMES


def test_an_interrupted_overwrite_keeps_the_old_stems(half_done, tmp_path) -> None:
    folder = tmp_path / "out" / "stdin"
    folder.mkdir(parents=True)
    for name in STEM_NAMES:
        (folder / name).write_text("old")
    process = half_done("--force")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert names(folder) == STEM_NAMES
    assert all((folder / name).read_text() == "old" for name in STEM_NAMES)


# ---- disks -------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["wav", "flac", "ogg", "mp3"])
def test_a_file_that_may_not_grow_is_one_error_and_no_stem(
    run, write_song, tmp_path, file_format: str
) -> None:
    """RLIMIT_FSIZE stands in for a full disk where nobody may mount one."""
    limit = 20_000
    result = run(
        *("separate", write_song(), "-o", "out", "--format", file_format),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1
    assert "File too large" in error_of(result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file_format", ["wav", "flac"])
def test_a_full_disk_is_one_error_and_no_stem(
    run, write_song, tmp_path, file_format: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)]
    if (
        os.geteuid()
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        words = ("separate", write_song(), "-o", disk, "--format", file_format)
        result = run(*words)
        assert result.returncode == 1
        assert "No space left on device" in error_of(result)
        assert error_of(result).endswith("[unwritable]")
        assert names(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_stdout_flows_while_stdin_is_still_open(command, tmp_path) -> None:
    line = command("separate", "-", "-o", "-", "--only", "vocals")
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as process:
        process.stdin.write(wav.header(WavFormat(GRIDS["16"], 44100, 2)))
        process.stdin.write(bytes(4 * 70_000))
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 30)[0]
        assert len(process.stdout.read(44 + 4 * 60_000)) == 44 + 4 * 60_000
        process.stdin.close()
        assert len(process.stdout.read()) == 4 * 10_000
        assert process.wait(30) == 0


@pytest.mark.parametrize("words", [["--version"], ["info"], ["separate"]])
def test_a_program_that_calls_main_keeps_its_handlers(words: list[str]) -> None:
    """In the main thread they come back; in another one nothing is touched."""

    def mine(*_: object) -> None:
        pass

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    old = {number: signal.getsignal(number) for number in numbers}
    show = warnings.showwarning
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, mine)
        for call in (main, lambda w: ThreadPoolExecutor(1).submit(main, w).result()):
            with contextlib.suppress(SystemExit):
                call(words)
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            assert signal.getsignal(signal.SIGHUP) == old[signal.SIGHUP]
            assert signal.getsignal(signal.SIGINT) is mine
            assert warnings.showwarning is show
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
