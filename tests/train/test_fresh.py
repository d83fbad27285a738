"""Lessons made as they are needed: needs torch, so only beside training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tools.judge.blocks import features_of_spectrum
from tools.nets import spectrum
from tools.nets.checkpoint import kind_of
from tools.nets.unet import UNet
from tools.pool.mixtures import Mixtures
from tools.teach import fresh
from tools.teach.lessons import Lessons
from tools.train import karaoke as train


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "N_FRAMES", 64)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small net with random weights, on disk as a karaoke net is."""
    torch.manual_seed(0)
    net = UNet((4, 4, 8, 8, 8, 12))
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.2)
    path = tmp_path / "net.pt"
    torch.save({"net": net.state_dict(), **kind_of(net)}, path)
    return path


def test_each_is_laid_over_the_one_before_and_that_over_it(
    pool: Path, checkpoint: Path
) -> None:
    lessons = fresh.FreshLessons(pool, 7, checkpoint)
    first, turned, second = (b for b, _ in zip(lessons, range(3), strict=False))
    for now, swapped, after in zip(first, turned, second, strict=True):
        assert torch.equal(swapped, now.roll(2, 0))
        assert torch.equal(after[2:], now[:2])
    mixtures = Mixtures(pool, 7, (fresh.N_FRAMES,), 2 * fresh.N_FRAMES)
    made = [torch.from_numpy(b[0]) for b, _ in zip(mixtures, range(3), strict=False)]
    for x, batch in zip(made[1:], (first, second), strict=True):
        gain = spectrum.loudness_gain(x)
        torch.testing.assert_close(batch[0][:2], x * gain)
    assert Lessons.seconds(first) == pytest.approx(2 * 67 * 1024 / 44100)


@torch.no_grad()
def test_the_net_is_asked_twice(checkpoint: Path, pool: Path) -> None:
    """Its mask is between the views, each of which is the net's own answer."""
    mixture, _, mask, _ = next(iter(fresh.FreshLessons(pool, 7, checkpoint)))
    net = fresh.load_model(checkpoint)
    X = spectrum.stft(mixture[:2])[..., : spectrum.N_BINS]
    one = torch.sigmoid(net(features_of_spectrum(X, net)))
    louder = X * 10 ** (3 / 20)
    moved = torch.nn.functional.pad(louder, (0, 0, 32, 32))
    two = torch.sigmoid(net(features_of_spectrum(moved, net)))[:, :, 32:-32]
    error = (mask[:2] / 255 - (one + two) / 2).abs().mean()
    # Not 0, for it is in bfloat16 where the processor can.
    assert error < 0.2 * (one - two).abs().mean() / 2


@pytest.mark.parametrize("more", [[], ["--taught-by", "n.pt"], ["--lessons", "a"]])
def test_a_run_has_one_source(
    more: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = ["train", "run", "--teacher", "t.npz", "--dev", "dev", *more]
    monkeypatch.setattr("sys.argv", command)
    if more[:1] == ["--lessons"]:
        assert train.parse_arguments("").lessons == Path("a")
        return
    with pytest.raises(SystemExit):
        train.parse_arguments("")
    assert "--taught-by" in capsys.readouterr().err
