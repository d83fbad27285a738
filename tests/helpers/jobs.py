"""Songs, outputs and requests of the daemon's jobs, for tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from daemons import DATA

import edgestem
from edgestem import Client, EdgestemError

RATE = 44100


def make_song(path: Path, seconds: float = 1.0, subtype: str = "PCM_16") -> Path:
    rng = np.random.default_rng(abs(hash(path.name)) % 1000)
    x = rng.standard_normal((int(RATE * seconds), 2)) * 0.1
    soundfile.write(path, x, RATE, subtype)
    return path


def local_stems(song: Path, folder: Path, **options: Any) -> dict[str, bytes]:
    model = DATA / "tiny.tflite"
    report = edgestem.separate_file(song, folder, model=model, **options)
    return {name: Path(path).read_bytes() for name, path in report.outputs.items()}


def new_files(folder: Path, count: int = 2) -> list[int]:
    return [
        os.open(folder / f"{i}.bin", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for i in range(count)
    ]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(EdgestemError) as caught:
        call()
    return caught.value.code


def submit(client: Client, fields: dict[str, Any]) -> int:
    client.send("separate", **fields)
    number: int = client.receive("queued").fields["job"]
    return number
