"""Lessons laid over each other: needs torch, so only beside training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tools.nets.bands import MATRIX, WIDTHS
from tools.train import karaoke as train
from tools.train import live as train_live
from tools.train import run as training


@pytest.fixture
def spectra() -> tuple:
    """Mixtures and vocals of four examples, complex (4, 2, 3, 1024)."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(4, 2, 2, 3, 1024, 2, generator=generator)
    vocals, backing = torch.view_as_complex(parts).unbind(1)
    return vocals + backing, vocals


def test_the_overlaid_mask_is_that_of_both_parts(spectra, monkeypatch) -> None:
    monkeypatch.setattr(training, "OVERLAY_SHARE", 1.0)
    X, _ = spectra
    taught = torch.full(X.shape, 0.25)
    taught[2:] = 0.75
    V = taught * X  # what the teacher says is the truth here
    mixed, vocals, mask, weight = train.overlay(
        X, V, taught, torch.tensor([1.0, 0.4, 0.0, 1.0])
    )
    assert mixed.shape == (2, 2, 3, 1024)
    backing = (mixed - vocals).abs()
    expected = vocals.abs() / (vocals.abs() + backing)
    torch.testing.assert_close(mask, expected, atol=1e-4, rtol=1e-3)
    assert weight.tolist() == pytest.approx([0.0, 0.4])


def test_without_overlay_a_batch_is_its_first_half(spectra, monkeypatch) -> None:
    monkeypatch.setattr(training, "OVERLAY_SHARE", 0.0)
    X, V = spectra
    taught = torch.rand(X.shape)
    weight = torch.tensor([1.0, 0.4, 0.0, 1.0])
    mixed, vocals, mask, known = train.overlay(X, V, taught, weight)
    assert torch.equal(mixed, X[:2])
    assert torch.equal(vocals, V[:2])
    assert torch.equal(mask, taught[:2])
    assert torch.equal(known, weight[:2])


def test_bands_add_up_in_power(monkeypatch) -> None:
    monkeypatch.setattr(training, "OVERLAY_SHARE", 1.0)
    torch.manual_seed(0)
    magnitude = torch.rand(2, 3, 400, 256) + 0.1
    masks = torch.zeros(2, 2, 400, 256)
    masks[1:] = 1.0
    mixed, taught, _, _ = train_live.overlay((magnitude, masks, masks, torch.zeros(2)))
    # A share of the second part's power is what its mask of 1 leaves of the sum.
    one, share = magnitude[:1, :2] ** 2, taught
    gain = share / (1 - share) * one / magnitude[1:, :2] ** 2
    torch.testing.assert_close(gain, gain.mean().expand(gain.shape), atol=0, rtol=1e-3)
    power, level = one + gain.mean() * magnitude[1:, :2] ** 2, 1 / (1 + gain.mean())
    ratio = mixed[:, :2] ** 2 / (power * level)
    assert ratio[..., 200:].mean().item() == pytest.approx(1, abs=0.01)
    assert ratio[..., :128].std() > 3 * ratio[..., 240:].std()  # wide bands vary less


def test_the_equaliser_is_smooth_and_bounded() -> None:
    gain = 20 * torch.log10(training.equaliser(200, 1024))
    assert gain.abs().max() <= training.EQUALISER_DB + 1e-3
    flat = (gain.abs().amax(1) == 0).float().mean().item()
    assert 0.35 < flat < 0.65
    assert gain.diff(dim=1)[:, 100:].abs().max() < 0.1


def test_band_widths_and_matrix_agree() -> None:
    np.testing.assert_allclose(MATRIX.sum(0).numpy(), 1, rtol=1e-5)
    assert int(WIDTHS.sum()) == train_live.N_BINS
