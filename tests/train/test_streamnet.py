"""The live net as it is trained and as it is played: needs torch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edgestem.engine.whole import separate
from tools.export import live as export_live
from tools.export.quantise import FakeQuant
from tools.nets import bands
from tools.nets.streamnet import CHANNELS, StreamNet, channels_of
from tools.train import live as train_live


@pytest.fixture(scope="module")
def net() -> StreamNet:
    """Random weights and batch norms that have seen something."""
    torch.manual_seed(5)
    net = StreamNet()
    for norm in net.norm.values():
        torch.nn.init.uniform_(norm.weight, 0.5, 1.0)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.normal_(norm.running_mean, 0, 0.1)
    return net.eval()


def music(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    t = np.arange(n)[:, None] / 44100
    x = np.sin(2 * np.pi * t * [220, 330]) * np.exp(-3 * (t % 0.5))
    return np.float32(0.2 * x + 0.01 * rng.normal(size=(n, 2)))


@torch.no_grad()
def test_folding_keeps_the_function(net: StreamNet) -> None:
    features = torch.rand(1, 3, 40, 256)
    before = net(features)
    folded = StreamNet()
    folded.load(net.state_dict())
    folded.eval().fold()
    torch.testing.assert_close(folded(features), before, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_wider_net_starts_as_the_narrower_one(net: StreamNet) -> None:
    folded = copy.deepcopy(net)
    folded.fold()
    channels = tuple(n + 8 for n in CHANNELS)
    wide = StreamNet(channels)
    wide.load(folded.state_dict())
    assert channels_of(wide.state_dict()) == channels
    features = torch.rand(1, 3, 40, 256)
    torch.testing.assert_close(wide(features), net(features), atol=1e-4, rtol=1e-4)
    new = wide.conv["time1"].weight[-8:]
    assert new.abs().max() > 0  # and has something to learn with


def test_a_narrower_net_is_refused_in_a_sentence(
    net: StreamNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = tmp_path / "start.pt"
    torch.save({"net": net.state_dict()}, start)
    words = [str(tmp_path / "run"), "--lessons", "L", "--dev", "D"]
    words += ["--start", str(start), "--channels", *(str(n - 8) for n in CHANNELS)]
    monkeypatch.setattr("sys.argv", ["train_live", *words])
    with pytest.raises(SystemExit, match="can grow, not shrink"):
        train_live.main()


@torch.no_grad()
def test_the_engine_is_the_model_of_it(
    net: StreamNet, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What training measures is what the engine plays, on the int8 grids, however
    many frames a call."""
    checkpoint, saved = tmp_path / "best.pt", tmp_path / "saved.pt"
    torch.save({"net": net.state_dict()}, checkpoint)
    played = []
    for frames, source in ((1, checkpoint), (4, saved)):
        path = tmp_path / f"live{frames}.tflite"
        command = [str(source), str(path), "--frames", str(frames)]
        more = ["--pool", str(pool), "--save", str(saved)] if frames == 1 else []
        monkeypatch.setattr("sys.argv", ["export_live", *command, *more])
        export_live.main()
        played.append(separate(x := music(60_000), 44100, model=path).vocals)
    np.testing.assert_array_equal(*played)
    rounded, quants = export_live.load_net(saved)
    rounded.tap = FakeQuant(quants)
    expected = train_live.live_vocals(rounded, x, bands.SYNTHESIS)
    error = np.square(played[0] - expected).sum() / np.square(expected).sum()
    assert error < 0.01
    assert np.square(expected).sum() > 0.05 * np.square(x).sum()
