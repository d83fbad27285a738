"""What libraries print by themselves does not reach the user."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from libraries import build, why_not

from edgestem.network.runtime import installed
from edgestem.sound.chatter import silenced

Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="this C library keeps its stderr"
)


@pytest.fixture
def odd_mp3(write_song: Callable[..., Path]) -> Path:
    """Twice an mp3: libmpg123 says that the size is not the header's."""
    path = write_song("odd.mp3")
    path.write_bytes(2 * path.read_bytes())
    return path


def test_the_decoder_says_nothing_by_itself(
    run: Run, odd_mp3: Path, tmp_path: Path
) -> None:
    import soundfile

    code = f"import soundfile; soundfile.read({str(odd_mp3)!r})"
    bare = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if not bare.stderr:
        pytest.skip(f"libsndfile {soundfile.__libsndfile_version__} says nothing")
    for words in (
        ("separate", tmp_path, "-q", "-o", tmp_path / "out"),
        ("verify", tmp_path / "out", odd_mp3),
    ):
        said = run(*words).stderr.splitlines()
        assert all(line.startswith("edgestem: ") for line in said), said


def test_only_c_code_is_silenced_and_only_inside() -> None:
    code = """
import ctypes, os, subprocess, sys
from edgestem.sound.chatter import silenced
libc = ctypes.CDLL(None)
def say(text):
    stderr = ctypes.c_void_p.in_dll(libc, "stderr")
    libc.fputs(text, stderr); libc.fflush(None)
say(b"before ")
with silenced(), silenced():
    say(b"C inside ")
    sys.stderr.write("Python "); sys.stderr.flush()
    subprocess.run(["sh", "-c", "printf 'child ' >&2"])
say(b"after")
"""
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stderr == "before Python child after"


def test_threads_share_it() -> None:
    stderr = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")
    before = stderr.value

    def work() -> None:
        for _ in range(500):
            with silenced():
                assert stderr.value != before

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stderr.value == before


@pytest.mark.parametrize("runtime", installed())
def test_a_runtime_with_a_delegate_says_nothing_either(
    run: Run, write_song: Callable[..., Path], tmp_path: Path, runtime: str
) -> None:
    if why := why_not():
        pytest.skip(why)
    device = f"delegate:{build('logistic', tmp_path)}"
    words = ("-q", "--device", device, "--no-fallback", "--runtime", runtime)
    result = run("separate", write_song(), *words)
    assert (result.returncode, result.stderr) == (0, "")
