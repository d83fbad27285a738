"""What a hop of a live model costs in Python: calls of functions of this package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import numpy as np

import edgestem
from edgestem.engine.separator import Separator
from edgestem.stems import Stems

NET = Path(__file__).parent.parent / "data" / "short1.tflite"
PACKAGE = str(Path(edgestem.__file__).parent)
MOST = 45


def test_a_hop_takes_few_calls() -> None:
    separator = Separator(44100, 2, model=NET)
    n = separator.geometry.call_samples
    rng = np.random.default_rng(0)
    block = rng.normal(0, 0.1, (n, 2)).astype(np.float32)
    out = Stems(np.empty_like(block), np.empty_like(block))
    for _ in range(6):
        separator.push(block, out)
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        separator.push(block, out)
    finally:
        sys.setprofile(None)
    assert 20 < len(called) <= MOST, called
