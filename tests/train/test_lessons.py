"""Lessons on disk and the masks laid beside them: needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.judge.blocks import features_of_spectrum
from tools.nets.unet import UNet
from tools.teach import ensemble
from tools.teach.lessons import Lessons, soften

N_FRAMES = 64
N_SAMPLES = (N_FRAMES + 3) * 1024


def lesson(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mixture = rng.normal(0, 2000, (2, 2, N_SAMPLES)).astype(np.int16)
    mask = rng.integers(0, 256, (2, 2, N_FRAMES, 1024), dtype=np.uint8)
    return {
        "mixture": mixture,
        "vocals": mixture // 2,
        "mask": mask,
        "weight": np.float32([1, 0.4]),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "lessons"
    out.mkdir()
    for number in range(3):
        np.savez(out / f"{number:06d}.npz", **lesson(number))
    return out


@pytest.fixture
def net() -> UNet:
    torch.manual_seed(0)
    net = UNet((16, 32, 64, 8, 8, 8), 3)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.05)
    return net


def test_the_teachers_mask_comes_softened(folder: Path) -> None:
    mask = torch.from_numpy(Lessons(folder, 0).open(folder / "000001.npz")["mask"])
    exact = soften(torch.from_numpy(lesson(1)["mask"]) / 255)
    assert (mask / 255 - exact).abs().max() <= 0.501 / 255


def test_masks_of_the_ensemble_take_its_place(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in (0, 2):
        mask = np.full((2, 2, N_FRAMES, 1024), number, np.uint8)
        np.save(masks / f"{number:06d}.npy", mask)
    lessons = Lessons(folder, 0, masks)
    assert [p.stem for p in lessons.paths()] == ["000000", "000002"]
    batch = next(iter(lessons))
    seen = {(int(m.min()), int(m.max())) for m in batch[2]}
    assert seen == {(0, 0), (2, 2)}


def test_the_ensemble_weighs_every_view_alike(net: UNet) -> None:
    data = lesson(5)
    one = ensemble.agreed_mask(data, [net]).astype(int)
    two = ensemble.agreed_mask(data, [net, net]).astype(int)
    # (2 t + n) / 4 and (2 t + 2 n) / 6, t the teacher's mask and n the net's sum.
    net_sum = 4 * one - 2 * data["mask"].astype(int)
    assert net_sum.min() >= -2 and net_sum.max() <= 2 * 255 + 2
    assert np.abs(6 * two - 2 * data["mask"].astype(int) - 2 * net_sum).max() <= 8


class Echo:
    """A net whose logits are its features: it says what it was shown, and where."""

    n_float = 0  # no levels in float
    n_features, power = 2, 1.0

    def __call__(self, features):
        return features


def test_both_views_come_back_in_their_place() -> None:
    X = torch.randn(1, 2, N_FRAMES, 1024).to(torch.complex64)
    expected = 2 * torch.sigmoid(features_of_spectrum(X, Echo()))
    assert torch.allclose(ensemble.answers(Echo(), X), expected, atol=1e-6)


def test_it_goes_on_where_it_stopped(
    folder: Path, tmp_path: Path, net: UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, masks = tmp_path / "start.pt", tmp_path / "masks"
    masks.mkdir()
    (masks / "000000.npy").write_bytes(b"done")
    (masks / "000001.part").write_bytes(b"half")
    torch.save({"net": net.state_dict(), "power": 1.0, "slope": 0.2}, start)
    command = ["ensemble", str(masks), "--lessons", str(folder), "--net", str(start)]
    monkeypatch.setattr("sys.argv", command)
    ensemble.main()
    assert sorted(p.name for p in masks.iterdir()) == [
        "000000.npy",
        "000001.npy",
        "000002.npy",
    ]
    assert (masks / "000000.npy").read_bytes() == b"done"
    assert np.load(masks / "000001.npy").shape == (2, 2, N_FRAMES, 1024)
