"""The karaoke U-net and its export: needs torch, so only beside training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter

from tools.export import block as export
from tools.export.calibrate import MaskError, calibrate, refine
from tools.export.quantise import FakeQuant, group_of
from tools.export.tflite_writer import Quant
from tools.nets import checkpoint, stage
from tools.nets.unet import Pair, Teacher, UNet, add_phases, down, phase_sums, up
from tools.teach import slim
from tools.teach.spleeter import N_BINS
from tools.train.average import average

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
    mask = invoke(path, inputs_of(net, x, None))
    held = torch.cat([x, x[:, :, -1:], x[:, :, -1:]], 2)
    expected = torch.sigmoid(net(held))[:, :, stage.ROW : stage.ROW + 1]
    np.testing.assert_allclose(mask, expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def wide_net(net: UNet, n_float: int) -> UNet:
    """With levels in float, which come in 16 channels."""
    if not n_float:
        return net
    wide = UNet((16, 16, 16, 8, 8, 12), 3)
    with torch.no_grad():
        for w in (*wide.enc_w, *wide.dec_w, wide.mask_w):
            w.normal_().mul_(1.4 / w[0].numel() ** 0.5)
    wide.n_float = n_float
    return wide


def inputs_of(
    net: UNet, x: torch.Tensor, quants: dict[str, Quant] | None
) -> dict[str, np.ndarray]:
    """What a graph is given: features, or what the engine makes of the first levels."""
    if not net.n_float:
        found = {"features": x}
    else:
        found, h = {}, x
        for i in range(net.n_float):
            z = down(h, net.enc_w[i], net.enc_b[i])
            h = torch.nn.functional.leaky_relu(z, net.slope)
            found |= {f"z{i}": z, f"r{i}": h}
    out = {}
    for name, tensor in found.items():
        values = tensor.permute(0, 2, 3, 1).numpy()
        if quants:
            grid = quants[group_of(name)] if group_of(name) in quants else Quant(1.0, 0)
            values = np.round(values / grid.scale) + grid.zero_point
            values = np.int8(np.clip(values, -128, 127))
        out[name] = values
    return out


@torch.no_grad()
@pytest.mark.parametrize(("slope", "n_float"), [(0.0, 0), (0.2, 0), (0.2, 1), (0.2, 3)])
def test_the_float_graph_is_the_net(
    net: UNet, slope: float, n_float: int, tmp_path: Path
) -> None:
    net = wide_net(net, n_float)
    net.slope = slope
    x = features(1)
    export.write_unet(net, None, SHAPE[2], tmp_path / "float.tflite")
    mask = invoke(tmp_path / "float.tflite", inputs_of(net, x, None))
    expected = torch.sigmoid(net(x)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(mask, expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("slope", "n_float"), [(0.0, 0), (0.2, 0), (0.2, 1), (0.2, 3)])
def test_the_int8_graph_is_the_rounded_net(
    net: UNet, slope: float, n_float: int, tmp_path: Path
) -> None:
    net = wide_net(net, n_float)
    net.slope = slope
    x = features(1)
    exact = torch.sigmoid(net(x))
    quants = calibrate(net, lambda: [features(2)])
    net.tap = FakeQuant(quants)
    expected = torch.sigmoid(net(x)).permute(0, 2, 3, 1).numpy()
    export.write_unet(net, quants, SHAPE[2], tmp_path / "int8.tflite")
    codes = inputs_of(net, x, quants)
    mask = (invoke(tmp_path / "int8.tflite", codes) + 128.0) / 256
    # Half-way cases round differently.
    assert np.abs(mask - expected).mean() < 1 / 256
    assert np.abs(expected - exact.permute(0, 2, 3, 1).numpy()).mean() < 0.03


@torch.no_grad()
def test_grids_are_narrowed_where_masks_gain_by_it(net: UNet) -> None:
    net = wide_net(net, 2)
    net.mask_w.mul_(30)  # logits that a mask does not need
    heard = [features(2)]
    observed = calibrate(net, lambda: heard)
    quants = {group: observed[group] for group in ("logits", "d5")}
    error = MaskError(net, heard)
    narrowed = refine(net, quants, heard)
    assert narrowed["logits"].scale < 0.8 * quants["logits"].scale
    for group in quants:
        assert error(narrowed, group) <= error(quants, group)


@torch.no_grad()
def test_a_pair_is_the_mean_of_one_mask_and_of_what_the_other_leaves(net: UNet) -> None:
    other = wide_net(net, 1)
    other.n_float, x = 0, features(1)
    expected = (torch.sigmoid(net(x)) + 1 - torch.sigmoid(other(x))) / 2
    torch.testing.assert_close(torch.sigmoid(Pair(net, other)(x)), expected)


def invoke(path: Path, given: dict[str, np.ndarray]) -> np.ndarray:
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], given[detail["name"]])
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


def test_a_checkpoint_keeps_what_the_net_is(net: UNet, tmp_path: Path) -> None:
    net.power, net.slope, net.n_float = 0.7, 0.1, 2
    checkpoint.save_net(tmp_path / "net.pt", net)
    again, quants = checkpoint.load_net(tmp_path / "net.pt")
    assert (again.power, again.slope, again.channels) == (0.7, 0.1, CHANNELS)
    assert again.n_float == 2
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
