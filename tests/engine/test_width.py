"""What a network that hears |L - R| is told of mono."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgestem.engine import width
from edgestem.engine.separator import Separator
from edgestem.errors import ModelError
from edgestem.network.reading import read_config

DATA = Path(__file__).parent.parent / "data"
RATE = 44100
Audio = NDArray[np.float32]


def net(folder: Path, share: float) -> Path:
    """One frame a call, three features."""
    path = folder / f"net{share}.tflite"
    shutil.copy(DATA / "short1.tflite", path)
    data = json.loads((DATA / "short1.json").read_text()) | {"mono_side": share}
    path.with_suffix(".json").write_text(json.dumps(data))
    return path


def music(seconds: float, side: float = 0.0, seed: int = 0) -> Audio:
    """Noise in bursts, the same on both channels but for `side` of it."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    mid, other = rng.normal(0, 0.1, (2, n, 1))
    mid *= 0.2 + (np.arange(n)[:, None] // 5000 % 3)
    return np.float32(mid + side * other * [1, -1])


def vocals(path: Path, x: Audio, block: int = 4096) -> Audio:
    separator = Separator(RATE, x.shape[1], model=path)
    parts = [separator.push(x[i : i + block]).vocals for i in range(0, len(x), block)]
    return np.concatenate([*parts, separator.flush().vocals])


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0, 2.0])
def test_codes_of_the_side_are_those_of_the_share(tmp_path: Path, share: float) -> None:
    config = read_config(net(tmp_path, share))
    # Beyond the last code nothing is known of a magnitude.
    power = np.geomspace(1e-8, config.thresholds()[-1], 4000)

    def codes(power: NDArray[np.float64]) -> NDArray[np.int64]:
        counted = np.searchsorted(config.thresholds(), np.float32(power), "right")
        return np.asarray(counted - 128)

    least = config.side_codes()[codes(power).astype(np.uint8)]
    # A code stands for magnitudes that lie half a step off at most.
    assert np.abs(least - codes(share**2 * power)).max() <= 1
    assert np.all(np.diff(least) >= 0)


def test_mono_is_told_a_side_and_stereo_is_left_as_it_is(tmp_path: Path) -> None:
    plain, told = net(tmp_path, 0.0), net(tmp_path, 0.6)
    mono, stereo = music(1.5), music(1.5, side=0.05)
    assert np.array_equal(vocals(plain, stereo), vocals(told, stereo))
    assert not np.array_equal(vocals(plain, mono), vocals(told, mono))
    one = np.ascontiguousarray(mono[:, :1])
    assert not np.array_equal(vocals(plain, one), vocals(told, one))


def test_what_a_converter_adds_to_mono_is_no_side(tmp_path: Path) -> None:
    told = net(tmp_path, 0.6)
    quiet = np.float32(2**-15) * np.random.default_rng(3).normal(0, 1, (RATE, 2))
    silence = np.float32(quiet)
    separator = Separator(RATE, 2, model=told)
    separator.push(silence)
    separator.push(music(1.0) + silence)
    assert separator._width is not None
    assert separator._width.is_mono
    separator.push(music(0.2, side=0.05))
    assert not separator._width.is_mono


def test_stereo_is_believed_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A voice alone in the middle does not make a song mono, but another song does."""
    monkeypatch.setattr(width, "HOLD_S", 1.0)
    separator = Separator(RATE, 2, model=net(tmp_path, 0.6))
    found = []
    for side, seconds in ((0.05, 1.0), (0.0, 0.4), (0.05, 1.0), (0.0, 0.4), (0.0, 0.7)):
        separator.push(music(seconds, side))
        assert separator._width is not None
        found.append(separator._width.is_mono)
    assert found == [False, False, False, False, True]
    separator.push(music(0.2, side=0.05))
    separator.reset()
    assert separator._width.is_mono


def test_a_change_does_not_depend_on_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(width, "HOLD_S", 0.3)
    told = net(tmp_path, 0.6)
    x = np.concatenate([music(0.5), music(0.5, side=0.05), music(1.0)])
    whole = vocals(told, x, len(x))
    for block in (77, 1024, 5000):
        assert np.array_equal(vocals(told, x, block), whole)


def test_a_window_is_wholly_mono_or_wholly_stereo() -> None:
    """Frames that were told a side are coded anew when the stream is stereo."""
    separator = Separator(RATE, 2, model="stage")
    separator.push(music(0.3))
    separator.push(music(0.1, side=0.3))
    codes = separator._codes.rows
    anew = np.zeros_like(codes)
    X = np.ascontiguousarray(separator._X.rows)
    separator._spectral.features(X, separator._coded_gain, anew)
    assert np.array_equal(codes[:-1], anew[:-1])  # the last row is due


def test_a_share_needs_a_side(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    shutil.copy(DATA / "tiny.tflite", path)
    data = json.loads((DATA / "tiny.json").read_text()) | {"mono_side": 0.5}
    path.with_suffix(".json").write_text(json.dumps(data))
    with pytest.raises(ModelError, match="mono_side makes no sense"):
        read_config(path)
