"""What `edgestem separate` needs of memory, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgestem.files.loop import FILE_BLOCK
from edgestem.network.catalogue import model_path
from edgestem.network.runtime import installed, open_interpreter

SONG = Path(__file__).parents[2] / "examples/song.ogg"
DATA = Path(__file__).parents[1] / "data"
MOST_MIB = 150  # of the default model with ai-edge-litert
FASTER = "ai-edge-litert"
needs_litert = pytest.mark.skipif(FASTER not in installed(), reason=f"no {FASTER}")
glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc alone has mallopt"
)


def peak_mib(song: Path, out: Path, *words: object) -> float:
    """Peak memory of a run."""
    code = (
        "import re; from edgestem.__main__ import main; "
        "status = main(); memory = open('/proc/self/status').read(); "
        "print(status, re.search(r'VmHWM:\\s+(\\d+) kB', memory)[1])"
    )
    line = [sys.executable, "-c", code, "separate", song, "-o", out, "--quiet", *words]
    result = subprocess.run(
        [*map(str, line)], capture_output=True, text=True, check=True
    )
    status, peak = result.stdout.split()
    assert status == "0"
    return int(peak) / 1024


@pytest.mark.parametrize("name", ["song.wav", "song.flac"])
def test_memory_does_not_depend_on_the_length(
    write_song, tmp_path, tiny_model, name: str
) -> None:
    rng = np.random.default_rng(10)
    peaks = []
    for seconds in (5, 60):
        x = rng.normal(0, 0.1, (seconds * 16000, 1))
        song = write_song(f"{seconds}/{name}", x, sample_rate=16000)
        out = tmp_path / f"out{seconds}"
        peaks.append(peak_mib(song, out, "--model", tiny_model))
    assert peaks[1] - peaks[0] < 3, peaks


@glibc
@needs_litert
def test_a_song_in_stereo_fits(tmp_path) -> None:
    peak = peak_mib(SONG, tmp_path, "--runtime", FASTER, "--threads", 2)
    assert peak < MOST_MIB


@needs_litert
def test_a_loaded_network_does_not_keep_its_file_in_memory() -> None:
    path = model_path("karaoke")
    interpreter, _ = open_interpreter(path, distribution=FASTER)
    interpreter.invoke()
    assert resident_mib(path) < 1


def resident_mib(path: Path) -> float:
    """What is in memory of a file that this process has mapped."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    file, total, is_mapped = os.path.realpath(path), 0, False
    for line in lines:
        if "-" in line.split()[0]:
            is_there = line.endswith(file)
            is_mapped |= is_there
        elif line.startswith("Rss:") and is_there:
            total += int(line.split()[1])
    assert is_mapped
    return total / 1024


@glibc
@pytest.mark.parametrize("is_kept", [False, True])
def test_a_large_block_is_mapped_apart_after_another_was_freed(is_kept: bool) -> None:
    """By itself glibc would take it from the heap: `heap` is worth its lines."""
    code = f"""
import ctypes
from edgestem import heap

if {is_kept}:
    heap.keep_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(8 << 20))
block = libc.malloc(4 << 20)
(line,) = [x for x in open("/proc/self/maps") if x.rstrip().endswith("[heap]")]
start, end = (int(place, 16) for place in line.split()[0].split("-"))
print(start <= block < end)
"""
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(not is_kept)


@glibc
def test_a_song_s_blocks_are_not_cleared_anew_each_time(write_song, tmp_path) -> None:
    """What a block has freed, the next one takes as it is."""
    x = np.random.default_rng(5).normal(0, 0.1, (2_000_000, 2))
    song = write_song("song.wav", x)
    code = f"""
import resource
from pathlib import Path
from edgestem import heap
heap.keep_small()
from edgestem.files.output import Output
from edgestem.files.separate import FileSeparator
from edgestem.network.compute import Compute
made = FileSeparator(Output(), {str(DATA / "tiny.tflite")!r}, Compute(threads=1))
for turn in "12":
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    made.to_folder({str(song)!r}, Path({str(tmp_path)!r}, turn))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    n_blocks = len(x) / FILE_BLOCK
    assert int(result.stdout) / n_blocks < 50, result.stdout
