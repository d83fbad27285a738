"""What the shipped models sound like, through every door; see tools.make_golden."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from daemons import DaemonProcess, running

import edgestem
from edgestem import Stems, runtime
from tools import make_golden as golden

SONG = golden.read_song()
TABLE = json.loads(golden.TABLE.read_text())
IS_KNOWN_SONG = hashlib.sha256(SONG.mixture.tobytes()).hexdigest() == TABLE["mixture"]
RUNTIMES = tuple(runtime.installed())
HEARD = [(model, name) for name in RUNTIMES for model in golden.MODELS]
# A minute of processor time with tflite-runtime; one runtime will do.
WHOLE = [h for h in HEARD if h[1] == RUNTIMES[0] or h[0] not in golden.SHORT]
# The two runtimes' stems differ by -19 dB or less, their SDR by up to 0.8 dB.  Masks of
# left and right exchanged are nearer than that (-47 dB in `karaoke`): only the digests
# tell them, so that a new runtime or machine should get its own lines.
NEAR_DB, NEAR_SDR_DB = 12.0, 1.0


def line(model: str, distribution: str) -> dict | None:
    """The line of this very runtime on this kind of machine, if there is one."""
    name = golden.line_name(model, distribution)
    return TABLE["lines"].get(name) if IS_KNOWN_SONG else None


def lines_of(model: str) -> list[dict]:
    return [v for k, v in TABLE["lines"].items() if k.split()[0] == model]


@functools.lru_cache
def heard(model: str, distribution: str) -> Stems:
    begin = golden.beginning(SONG.mixture, model)
    return golden.separate(begin, model, distribution, golden.BLOCK)


@pytest.mark.parametrize(("model", "distribution"), HEARD)
def test_stems_are_those_of_the_table(model: str, distribution: str) -> None:
    stems, wanted = heard(model, distribution), line(model, distribution)
    if wanted is not None:
        assert golden.digests(stems) == wanted["sha256"]
        return
    mine = golden.sketch(stems.vocals)
    near = [golden.sdr(np.array(one["sketch"]), mine) for one in lines_of(model)]
    assert max(near) > NEAR_DB, "a new runtime or machine, and the stems are others"


@pytest.mark.parametrize(("model", "distribution"), HEARD)
def test_a_file_has_the_stems_of_the_stream(
    model: str, distribution: str, tmp_path: Path
) -> None:
    path = tmp_path / "song.wav"
    begin = golden.beginning(SONG.mixture, model)
    soundfile.write(path, begin, golden.RATE, subtype="FLOAT")
    edgestem.separate_file(
        path, tmp_path, model=model, runtime=distribution, device="cpu"
    )
    files = (tmp_path / "song" / f"{name}.wav" for name in Stems._fields)
    stems = Stems(*(soundfile.read(file, dtype="float32")[0] for file in files))
    assert golden.digests(stems) == golden.digests(heard(model, distribution))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon has the preferred runtime."""
    models = [word for name in golden.MODELS for word in ("--model", name)]
    with running(tmp_path_factory.mktemp("golden"), *models, device="cpu") as found:
        yield found


@pytest.mark.parametrize("model", golden.MODELS)
def test_the_socket_has_the_stems_of_the_stream(
    model: str, daemon: DaemonProcess
) -> None:
    begin = golden.beginning(SONG.mixture, model)
    with daemon.client() as client:
        stems = client.separate(begin, golden.RATE, model=model)
    assert golden.digests(stems) == golden.digests(heard(model, RUNTIMES[0]))


@pytest.mark.parametrize(("model", "distribution"), WHOLE)
def test_sdr_of_a_song_with_known_stems(model: str, distribution: str) -> None:
    mixture = np.float32(SONG.mixture / 32768)
    stems = golden.separate(mixture, model, distribution, 1 << 16)
    mine, wanted = golden.figures(SONG, stems), line(model, distribution)
    lines = lines_of(model) if wanted is None else [wanted]
    away = [max(np.abs(np.subtract(mine, one["sdr"]))) for one in lines]
    assert min(away) < (NEAR_SDR_DB if wanted is None else 0.05), mine
