"""The example programs, run against a real daemon."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from daemons import DaemonProcess, running
from jobs import local_stems

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RATE = 44100


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as found:
        yield found


@pytest.fixture
def song(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    x = rng.integers(-9000, 9000, (RATE * 5, 2)).astype(np.int16)
    soundfile.write(tmp_path / "song.wav", x, RATE)
    return tmp_path / "song.wav"


def run(daemon: DaemonProcess, *line: object) -> str:
    done = subprocess.run(
        [str(word) for word in line],
        env=os.environ | {"EDGESTEM_SOCKET": str(daemon.socket)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sound_of(wav: Path | bytes) -> bytes:
    """Samples of a WAV file, without what it says about itself."""
    with wave.open(io.BytesIO(wav) if isinstance(wav, bytes) else str(wav)) as file:
        return file.readframes(file.getnframes())


def local_sound(song: Path, stem: str) -> bytes:
    return sound_of(local_stems(song, song.parent)[stem])


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
def test_the_shell_makes_an_instrumental(daemon: DaemonProcess, song: Path) -> None:
    script, out = EXAMPLES / "instrumental.sh", song.with_name("out.wav")
    assert len(script.read_text().splitlines()) <= 70
    run(daemon, "sh", script, song, out)
    assert sound_of(out) == local_sound(song, "instrumental")


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_c_passes_descriptors(daemon: DaemonProcess, song: Path) -> None:
    program, source = song.with_name("separate"), EXAMPLES / "separate.c"
    assert len(source.read_text().splitlines()) < 150
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-std=gnu11"]
    run(daemon, "cc", *warnings, "-o", program, source)
    outputs = [song.with_name(name) for name in ("v.wav", "i.wav")]
    told = run(daemon, program, daemon.socket, song, *outputs)
    assert '"type":"done"' in told.splitlines()[-1]
    expected = local_stems(song, song.parent)
    assert [path.read_bytes() for path in outputs] == list(expected.values())


def test_asyncio_fades_the_vocals_out(daemon: DaemonProcess, song: Path) -> None:
    out = song.with_name("out.wav")
    run(daemon, sys.executable, EXAMPLES / "asyncio_live.py", song, out)
    x, y = (soundfile.read(path, dtype="int16")[0].astype(int) for path in (song, out))
    stems = local_stems(song, song.parent)
    song.with_name("v.wav").write_bytes(stems["vocals"])
    vocals = soundfile.read(song.with_name("v.wav"), dtype="int16")[0].astype(int)
    assert len(x) == len(y)
    start = round(2.7 * RATE)  # the latency and ten blocks earlier
    np.testing.assert_array_equal(y[:start], x[:start])
    end = round(4 * RATE)
    wanted = x[end:] - vocals[end:] * (1 - 10 ** (-30 / 20))
    assert np.abs(y[end:] - wanted).max() <= 1


def refused(*line: object, **env: str) -> str:
    """Run a program that has to fail with words; return them."""
    done = subprocess.run(
        [str(word) for word in line],
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
def test_the_shell_takes_a_header_of_any_length(
    daemon: DaemonProcess, song: Path
) -> None:
    plain, out = song.read_bytes(), song.with_name("out.wav")
    listed = song.with_name("listed.wav")  # as ffmpeg writes it; odd, so padded
    chunk = b"LIST" + (27).to_bytes(4, "little") + b"INFOISFT" + bytes(20)
    size = (len(plain) - 8 + len(chunk) + 12).to_bytes(4, "little")
    listed.write_bytes(
        plain[:4] + size + plain[8:36] + chunk + plain[36:] + b"junk\4\0\0\0last"
    )
    run(daemon, "sh", EXAMPLES / "instrumental.sh", listed, out)
    assert sound_of(out) == local_sound(song, "instrumental")


@pytest.mark.skipif(not shutil.which("socat"), reason="socat is not installed")
@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT"])
def test_the_shell_refuses_what_it_cannot_read(
    daemon: DaemonProcess, tmp_path: Path, subtype: str
) -> None:
    song, out = tmp_path / "deep.wav", tmp_path / "out.wav"
    soundfile.write(song, np.zeros((100, 2)), RATE, subtype)
    said = refused(
        "sh",
        EXAMPLES / "instrumental.sh",
        song,
        out,
        EDGESTEM_SOCKET=str(daemon.socket),
    )
    assert "is not 16-bit stereo PCM" in said
    assert not out.exists()


def test_no_example_claims_success_without_a_daemon(song: Path) -> None:
    out, nobody = song.with_name("out.wav"), str(song.with_name("nobody"))
    for line in (
        ["sh", EXAMPLES / "instrumental.sh"],
        [sys.executable, EXAMPLES / "asyncio_live.py"],
    ):
        assert "usage: " in refused(*line)
        if line[0] != "sh" or shutil.which("socat"):
            said = refused(*line, song, out, EDGESTEM_SOCKET=nobody)
            assert f"no daemon at {nobody}" in said
        assert not out.exists()


def test_the_shell_says_that_socat_is_missing(song: Path, tmp_path: Path) -> None:
    script, out = EXAMPLES / "instrumental.sh", tmp_path / "out.wav"
    shell = shutil.which("sh")
    said = refused(shell, script, song, out, PATH=str(tmp_path))
    assert "socat is missing: apt-get install socat" in said
    assert not out.exists()
