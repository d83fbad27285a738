"""Windows of the stage model: needs torch, so only beside training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgestem.engine.separator import Separator
from edgestem.engine.whole import separate
from tools.export import block as export
from tools.export.calibrate import calibrate
from tools.export.quantise import FakeQuant
from tools.judge import blocks
from tools.nets import bands, spectrum, stage
from tools.nets.unet import Pair, UNet
from tools.teach.spleeter import N_BINS
from tools.train import run as training
from tools.train import stage as train_stage


@pytest.fixture(scope="module")
def net() -> UNet:
    """A small net with random weights that hears loud bins as vocals."""
    net = random_net(3, (4, 4, 8, 8, 8, 12), 3)
    net.power = 0.5
    return net


def random_net(seed: int, channels: tuple[int, ...], n_features: int) -> UNet:
    torch.manual_seed(seed)
    net = UNet(channels, n_features)
    with torch.no_grad():
        for w in (*net.enc_w, *net.dec_w, net.mask_w):
            w.normal_().mul_(1.4 / w[0].numel() ** 0.5)
    return net


def music(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    t = np.arange(n)[:, None] / 44100
    x = np.sin(2 * np.pi * t * [220, 330]) * np.exp(-3 * (t % 0.5))
    return np.float32(0.2 * x + 0.01 * rng.normal(size=(n, 2)))


@torch.no_grad()
@pytest.mark.parametrize("hop", stage.HOPS.values())
def test_the_engine_is_the_model_of_it(net: UNet, hop: int, tmp_path: Path) -> None:
    """What training measures is what the engine plays, on the int8 grids."""
    x = music(80_000)
    analysis, _ = bands.window_pair(2 * hop, hop)
    padded, n_frames = bands.padded(x, 2 * hop, hop)
    X, ends = bands.transform(padded, analysis, hop), list(range(0, n_frames, 5))
    gain = stage.gains(padded, ends, hop).view(-1, 1, 1, 1)
    features = stage.features_of_windows(net, stage.windows(X, ends, hop) * gain)
    quants = calibrate(net, lambda: [features], stage.ROW)
    net.tap = FakeQuant(quants)
    path, n_frames = tmp_path / "stage.tflite", stage.WINDOW * 1024 // hop
    export.write_unet(net, quants, n_frames, path, hop)
    export.write_sidecar(path, quants["features"], export.about(net, n_frames, hop))
    separator = Separator(44100, 2, model=path)
    assert separator.latency_samples == 2 * hop
    played = separate(x, 44100, model=path).vocals
    expected = stage.stage_vocals(net, x, hop)
    error = np.square(played - expected).sum() / np.square(expected).sum()
    assert error < 0.01
    assert np.square(expected).sum() > 0.05 * np.square(x).sum()


@torch.no_grad()
def test_the_engine_is_the_model_of_karaoke(tmp_path: Path) -> None:
    """Levels in float, one view of two nets."""
    x = music(260_000)
    padded, X = spectrum.song_spectrum(x)
    gain = spectrum.loudness_gain(padded[None], blocks.LEVEL_DB)[0]
    nets = []
    for seed, name in enumerate(("karaoke", "karaoke-rest")):
        net = random_net(seed, (16, 16, 16, 8, 8, 12), 2)
        net.n_float = 3
        heard = blocks.features_of_spectrum(
            X[None, :, : blocks.BLOCK, :N_BINS] * gain, net
        )
        quants = calibrate(net, lambda heard=heard: [heard])
        export.write_unet(net, quants, blocks.BLOCK, tmp_path / f"{name}.tflite")
        net.tap = FakeQuant(quants)
        nets.append(net)
    about = export.about(nets[0], blocks.BLOCK)
    about |= export.about_rest(tmp_path / "karaoke-rest.tflite")
    export.write_sidecar(tmp_path / "karaoke.tflite", None, about)
    played = separate(x, 44100, model=tmp_path / "karaoke.tflite").vocals
    expected = blocks.vocals_of(Pair(*nets), x)
    error = np.square(played - expected).sum() / np.square(expected).sum()
    assert error < 0.01
    assert np.square(expected).sum() > 0.05 * np.square(x).sum()


def test_gains_bring_windows_to_the_models_level() -> None:
    x = torch.randn(2, 200 * 1024, generator=torch.Generator().manual_seed(2)) * 0.3
    (gain,) = stage.gains(x, [100])
    assert float(gain) * 0.3 == pytest.approx(10 ** (-21 / 20), rel=0.01)
    # At the start of a song only what has been played counts.
    (gain,) = stage.gains(x, [0])
    assert float(gain) * 0.3 == pytest.approx(10 ** (-21 / 20), rel=0.05)


def test_an_example_ends_where_its_vocals_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "OVERLAY_SHARE", 0.0)
    generator = torch.Generator().manual_seed(0)
    mixture = 0.1 * torch.randn(4, 2, 255 * 1024 + 4096, generator=generator)
    mask = torch.full((4, 2, 256, 1024), 255, dtype=torch.uint8)  # all is sung
    X, Y, V, weight = train_stage.examples((mixture, mixture, mask, torch.ones(4)))
    n = 2 * train_stage.N_WINDOWS
    assert X.shape == (n, 2, stage.WINDOW, 1024)
    assert Y.shape == V.shape == (n, 2, 1024)
    torch.testing.assert_close(X[:, :, -1], V, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(X[:, :, -1], Y, atol=1e-2, rtol=1e-2)
    assert weight.tolist() == [1.0] * n
