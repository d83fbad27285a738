"""The shipped models' sound: bits by model and runtime, and SDR of a song."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from daemons import running
from golden import MODELS, RATE, TABLE, clip, digest, in_blocks, key_of, known_sdr

import edgestem
from edgestem import Separator, Stems
from edgestem.network.runtime import installed

GOLDEN = json.loads(TABLE.read_text())
RUNTIMES = installed()
each_model = pytest.mark.parametrize("model", MODELS)
each_runtime = pytest.mark.parametrize("runtime", RUNTIMES)


@each_runtime
@each_model
@pytest.mark.parametrize("n_channels", [1, 2])
def test_stems_have_the_golden_bits(model: str, runtime: str, n_channels: int) -> None:
    key = key_of(model, n_channels, runtime, RUNTIMES[runtime])
    expected = GOLDEN["bits"].get(key)
    if expected is None:
        pytest.skip(f"no bits are known for {key}; test_..._sdr holds the sound")
    separator = Separator(RATE, n_channels, model=model, runtime=runtime, device="cpu")
    stems = in_blocks(separator, clip(model, n_channels), 4099)
    assert digest(stems) == expected


@each_model
def test_a_song_with_known_stems_has_its_sdr(model: str) -> None:
    """To 0.05 dB on any machine and runtime: int8 grids are the model's own."""
    found = known_sdr(model, next(iter(RUNTIMES)))
    assert found == pytest.approx(GOLDEN["sdr"][model], abs=0.05)


def test_every_door_gives_the_same_stems(tmp_path: Path) -> None:
    """Blocks, arrays, files, the command line and a job of the daemon."""
    x, model = clip("live"), "live"
    blocks = in_blocks(Separator(RATE, 2, model=model, device="cpu"), x, 77)
    assert digest(edgestem.separate(x, RATE, model=model)) == digest(blocks)
    song = tmp_path / "song.wav"
    soundfile.write(song, x, RATE, subtype="FLOAT")
    edgestem.separate_file(song, tmp_path / "file", model=model)
    line = [sys.executable, "-m", "edgestem", "separate", str(song), "--quiet"]
    subprocess.run([*line, "--model", model, "-o", tmp_path / "line"], check=True)
    with running(tmp_path, "--model", model) as daemon:
        line += ["--socket", str(daemon.socket), "-o", str(tmp_path / "daemon")]
        subprocess.run(line, check=True)
    for door in ("file", "line", "daemon"):
        paths = [tmp_path / door / "song" / f"{name}.wav" for name in Stems._fields]
        stems = Stems(*(soundfile.read(path, dtype="float32")[0] for path in paths))
        assert digest(stems) == digest(blocks), door
