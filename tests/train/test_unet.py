"""The karaoke U-net and its export: needs torch, so only beside training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from tools import checkpoint, export, slim, stage
from tools.average import average
from tools.calibrate import calibrate
from tools.quantise import FINE, FakeQuant
from tools.spectrum import compress
from tools.spleeter import N_BINS
from tools.tflite_writer import Quant
from tools.unet import Teacher, UNet, add_phases, phase_sums, up, widened

CHANNELS = (4, 4, 8, 8, 8, 12)
SHAPE = (1, 3, 64, N_BINS)


@pytest.fixture
def net() -> UNet:
    """A small net with random weights, three features and a slope."""
    torch.manual_seed(3)
    net = UNet(CHANNELS, 3)
    with torch.no_grad():
        for w in (*net.enc_w, *net.dec_w, net.mask_w):
            w.normal_().mul_(1.4 / w[0].numel() ** 0.5)
        for b in (*net.enc_b, *net.dec_b):
            b.normal_().mul_(0.1)
    return net


def features(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(SHAPE, generator=generator) * 3


def spleeter_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of Spleeter's shapes whose batch norms add nothing."""
    channels = (2, 16, 32, 64, 128, 256, 512)
    outs = (256, 128, 64, 32, 16, 1)
    ins = (512, 512, 256, 128, 64, 32)
    weights = {}

    def layer(name: str, shape: tuple[int, ...], n_out: int) -> None:
        w = rng.normal(0, (2 / (shape[0] * shape[1] * shape[-1])) ** 0.5, shape)
        weights[f"{name}/kernel"] = np.float32(w)
        weights[f"{name}/bias"] = np.float32(rng.normal(0, 0.1, n_out))

    for i in range(6):
        layer(f"vocals/enc{i + 1}", (5, 5, *channels[i : i + 2]), channels[i + 1])
        layer(f"vocals/dec{i + 1}", (5, 5, outs[i], ins[i]), outs[i])
        for side, n in (("enc", channels[i + 1]), ("dec", outs[i])):
            for leaf in ("beta", "moving_mean"):
                weights[f"vocals/{side}{i + 1}/{leaf}"] = np.zeros(n, np.float32)
            for leaf in ("gamma", "moving_variance"):
                values = np.float32(rng.uniform(0.5, 2, n))
                weights[f"vocals/{side}{i + 1}/{leaf}"] = values
    layer("vocals/mask", (4, 4, 1, 2), 2)
    return weights


def test_a_net_with_the_teachers_weights_is_the_teacher() -> None:
    weights = spleeter_weights(np.random.default_rng(0))
    student = UNet()
    student.load_teacher(weights)
    x = torch.rand(1, 2, 64, 128, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = Teacher(weights, "vocals")(x)
    with torch.no_grad():
        estimate = torch.sigmoid(student(x)) * x
    torch.testing.assert_close(estimate, expected, atol=1e-4, rtol=1e-3)


def test_a_constant_before_a_decoder_is_a_bias_of_its_phases() -> None:
    torch.manual_seed(0)
    w, constant = torch.randn(3, 5, 5, 5), torch.randn(3)
    x = torch.randn(1, 3, 6, 8)
    expected = up(x + constant.view(1, -1, 1, 1), w)
    folded = add_phases(up(x, w), phase_sums(w, constant))
    inside = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(folded[inside], expected[inside], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(up(x, w)[inside], expected[inside], atol=0.1)


@torch.no_grad()
@pytest.mark.parametrize("row", [0, 1, 30, 61, 63])
def test_one_row_alone_is_that_row_of_all(net: UNet, row: int) -> None:
    x = features(1)
    expected = net(x)[:, :, row : row + 1]
    assert net(x, row).shape == expected.shape
    torch.testing.assert_close(net(x, row), expected)


@torch.no_grad()
def test_the_stage_graph_holds_the_last_frame(net: UNet, tmp_path: Path) -> None:
    x = features(1)[:, :, : stage.WINDOW]
    path = tmp_path / "stage.tflite"
    export.write_unet(net, None, stage.WINDOW, path, 1024)
    mask = invoke(path, x.permute(0, 2, 3, 1).numpy())
    held = torch.cat([x, x[:, :, -1:], x[:, :, -1:]], 2)
    expected = torch.sigmoid(net(held))[:, :, stage.ROW : stage.ROW + 1]
    np.testing.assert_allclose(mask, expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("slope", "n_wide"), [(0.0, 0), (0.2, 0), (0.2, 2)])
def test_the_float_graph_is_the_net(
    net: UNet, slope: float, n_wide: int, tmp_path: Path
) -> None:
    net.slope, net.n_wide = slope, n_wide
    x = features(1)
    export.write_unet(net, None, SHAPE[2], tmp_path / "float.tflite")
    mask = invoke(tmp_path / "float.tflite", x.permute(0, 2, 3, 1).numpy())
    expected = torch.sigmoid(net(x)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(mask, expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("slope", "n_wide"), [(0.0, 0), (0.2, 0), (0.2, 2)])
def test_the_int8_graph_is_the_rounded_net(
    net: UNet, slope: float, n_wide: int, tmp_path: Path
) -> None:
    net.slope, net.n_wide = slope, n_wide
    x = features(1)
    exact = torch.sigmoid(net(x))
    quants = calibrate(net, [features(2)])
    net.tap = FakeQuant(quants)
    expected = torch.sigmoid(net(x)).permute(0, 2, 3, 1).numpy()
    export.write_unet(net, quants, SHAPE[2], tmp_path / "int8.tflite")
    grid = quants["features"]
    codes = np.round(x.permute(0, 2, 3, 1).numpy() / grid.scale) + grid.zero_point
    codes = np.int8(np.clip(codes, -128, 127))
    mask = (invoke(tmp_path / "int8.tflite", codes) + 128.0) / 256
    # Half-way cases round differently, and on two grids there are more roundings.
    assert np.abs(mask - expected).mean() < (2 if n_wide else 1) / 256
    assert np.abs(expected - exact.permute(0, 2, 3, 1).numpy()).mean() < 0.03


def invoke(path: Path, x: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@torch.no_grad()
def test_a_bottom_with_all_its_components_is_the_same(net: UNet) -> None:
    bottom = net.tap = slim.Bottom("z5")
    net(features(1))
    net.tap = type(UNet().tap)()
    _, vectors = torch.linalg.eigh(bottom.square)
    same = slim.project(net, vectors.flip(1), CHANNELS[-1])
    x = features(2)
    torch.testing.assert_close(same(x), net(x), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_widened_net_is_the_same_function_of_magnitudes(net: UNet) -> None:
    magnitude = 10 * features(1)
    wide = widened(net)
    expected = net(compress(magnitude, net.power))
    torch.testing.assert_close(
        wide(compress(magnitude, wide.power)), expected, atol=1e-3, rtol=1e-3
    )
    with pytest.raises(ValueError, match="plain magnitudes"):
        widened(wide)


def test_two_parts_hold_what_is_quiet_and_what_is_loud() -> None:
    whole = Quant(1.0, -20)
    grids = {"z": whole, "z/fine": Quant(1 / FINE, -20), "z/rest": Quant(2.0, 0)}
    x = torch.linspace(-100, 140, 100_001)
    _, (fine, rest) = FakeQuant(grids).parts("z", x)
    low, high = -108 / FINE, 147 / FINE
    is_quiet = (x > low) & (x < high)
    assert not rest[is_quiet].any(), "rounding must not leak into what is quiet"
    assert (fine + rest - x)[is_quiet].abs().max() <= 0.5 / FINE + 1e-5
    assert (fine + rest - x).abs().max() <= 1.5 + 1e-5


def test_a_checkpoint_keeps_what_the_net_is(net: UNet, tmp_path: Path) -> None:
    net.power, net.slope, net.n_wide = 0.7, 0.1, 2
    checkpoint.save_net(tmp_path / "net.pt", net)
    again, quants = checkpoint.load_net(tmp_path / "net.pt")
    assert (again.power, again.slope, again.channels) == (0.7, 0.1, CHANNELS)
    assert again.n_wide == 2
    assert quants is None
    torch.testing.assert_close(again.dec_b[0], net.dec_b[0], atol=1e-3, rtol=1e-3)


def test_average_lies_between_a_start_and_what_was_trained(
    net: UNet, tmp_path: Path
) -> None:
    start, trained, out = (tmp_path / f"{n}.pt" for n in ("start", "trained", "out"))
    quants = {"features": Quant(0.01, -128)}
    checkpoint.save_net(start, net, quants)
    before = net.mask_w.detach().clone()
    with torch.no_grad():
        net.mask_w.add_(1.0)
    checkpoint.save_net(trained, net, quants)
    average(start, trained, 0.25, out)
    again, grids = checkpoint.load_net(out)
    assert grids == quants
    torch.testing.assert_close(again.mask_w, before + 0.25, atol=2e-3, rtol=0)

    checkpoint.save_net(trained, net, {"features": Quant(0.02, -128)})
    with pytest.raises(ValueError, match="other int8 grids"):
        average(start, trained, 0.25, out)
    net.power = 0.9
    checkpoint.save_net(trained, net, quants)
    with pytest.raises(ValueError, match="not a net of the kind"):
        average(start, trained, 0.25, out)
