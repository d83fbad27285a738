"""The live net's spectrogram in PyTorch: short-delay windows, bands, band lessons.

    python -m tools.nets.bands LIVE_LESSONS --lessons LESSONS [--synthesis 2048]

The windows are the engine's: long for analysis, short for synthesis.

A band lesson is what one of `tools.teach.lessons` holds, seen through these bands, as
float16 (2, channels, n_frames, 256):

    magnitude  root of the band's mean power: L, R, L - R
    taught     the mask that comes nearest to the teacher's vocals in each band
    true       the same for the true vocals
    weight     float32 (2,), how far the vocals are the truth
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgestem.spectrum import windows
from tools.judge.blocks import TOP
from tools.nets import spectrum
from tools.nets.spectrum import HOP, N_BINS, N_FFT
from tools.teach.lessons import Lessons, from_int16, whole
from tools.train.run import overlay_gain, overlay_weight

POWER = 0.4  # exponent that compresses the magnitudes
SYNTHESIS = 2048  # samples; with one frame a call, also the latency
BANDS = (
    (128, 1),
    *((16, width) for width in (2, 4, 6, 10, 14, 20, 28, 36)),
)  # 256 bands over 2048 bins
WIDTHS = np.repeat([w for _, w in BANDS], [n for n, _ in BANDS])
PAST_S = 10.0  # accompaniment that the engine remembers
# Of a lesson on either side, where the teacher's frames do not overlap fully.
EDGE = N_FFT - HOP
TOP_BANDS = 4  # whose mean mask the bin above the last band gets


def window_pair(n_synthesis: int, hop: int = HOP) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis window of the engine, (4096,) and (n_synthesis,)."""
    analysis, synthesis = windows.window_pair(N_FFT, hop, n_synthesis)
    return torch.from_numpy(analysis), torch.from_numpy(synthesis)


def transform(x: Tensor, analysis: Tensor, hop: int = HOP) -> Tensor:
    """(..., n_samples) -> complex (..., n_frames, 2049), no padding."""
    return torch.fft.rfft(x.unfold(-1, N_FFT, hop) * analysis)


def padded(mixture: np.ndarray, n_synthesis: int, hop: int = HOP) -> tuple[Tensor, int]:
    """Samples (2, n) with what the engine has around a song, and its frames."""
    x = torch.from_numpy(np.ascontiguousarray(mixture.T))
    n_frames = -(-(x.shape[1] + n_synthesis - hop) // hop)
    behind = n_frames * hop - x.shape[1]
    return torch.nn.functional.pad(x, (N_FFT - hop, behind)), n_frames


def overlap_add(
    spectrum: Tensor, synthesis: Tensor, n_samples: int, hop: int = HOP
) -> np.ndarray:
    """Samples (n_samples, 2) of the frames (2, T, 2049) of a padded song."""
    n, n_frames = len(synthesis), spectrum.shape[1]
    frames = torch.fft.irfft(spectrum)[..., -n:] * synthesis
    total = (n_frames - 1) * hop + n
    out = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, total), (1, n), stride=(1, hop)
    )
    samples: np.ndarray = out[:, 0, 0, n - hop :][:, :n_samples].T.numpy()
    return samples


def _matrix() -> Tensor:
    m = torch.zeros(N_FFT // 2 + 1, len(WIDTHS))
    at = 0
    for band, width in enumerate(WIDTHS):
        m[at : at + width, band] = 1 / float(width)
        at += width
    return m


MATRIX = _matrix()  # bins -> mean of each band


def magnitudes(X: Tensor) -> Tensor:
    """(B, 2, T, 2049) -> (B, 3, T, 256): root mean power of L, R, L - R."""
    X = torch.cat([X, X[:, :1] - X[:, 1:]], 1)
    return spectrum.with_side(((X.real**2 + X.imag**2) @ MATRIX).sqrt())


def expand(mask: Tensor) -> Tensor:
    """(..., 256) -> (..., 2049), as the engine does."""
    bins = mask.repeat_interleave(torch.from_numpy(WIDTHS), dim=-1)
    return torch.cat([bins, mask[..., -TOP_BANDS:].mean(-1, keepdim=True)], -1)


def best_mask(X: Tensor, V: Tensor) -> Tensor:
    """The real mask per band that comes nearest to V."""
    power = (X.abs() ** 2) @ MATRIX + 1e-12
    cross = (X.real * V.real + X.imag * V.imag) @ MATRIX
    return (cross / power).clamp(-0.5, 1.5)


def taught_vocals(mixture: Tensor, mask: Tensor) -> Tensor:
    """The teacher's vocals as samples, from its mask below 11 kHz."""
    X = spectrum.stft(mixture)
    top = mask[..., -TOP:].mean(-1, keepdim=True)
    full = torch.cat([mask, top.expand(*mask.shape[:-1], X.shape[-1] - N_BINS)], -1)
    n = mixture.shape[-1]
    stems = [spectrum.overlap_add(y, n) for y in full * X]
    return torch.stack([torch.nn.functional.pad(y, (N_FFT - HOP, 0)) for y in stems])[
        ..., :n
    ]


def laid_over(batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Lay the second half of lessons over the first, as samples.

    Returns mixture, taught vocals and vocals as (3, n, 2, n_samples), and the weight.
    """
    mixture, vocals, mask, weight = batch
    taught = taught_vocals(mixture, mask / 255)
    samples = torch.stack([mixture, taught, vocals])[..., EDGE:-EDGE]
    one, other = samples.chunk(2, 1)
    gain = overlay_gain(one.shape[1])
    level = (1 + gain**2).rsqrt().view(-1, 1, 1)
    mixed = (one + gain.view(-1, 1, 1) * other) * level
    return mixed, overlay_weight(gain, weight)


@torch.no_grad()
def seen(samples: Tensor, analysis: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Magnitudes, taught and true masks of mixture, taught vocals and vocals."""
    X, Y, V = (transform(x, analysis) for x in samples)
    return magnitudes(X), best_mask(X, Y).clamp(0, 1), best_mask(X, V)


def band_lesson(data: dict[str, np.ndarray], analysis: Tensor) -> dict[str, np.ndarray]:
    mixture, vocals = from_int16(data["mixture"]), from_int16(data["vocals"])
    taught = taught_vocals(mixture, torch.from_numpy(data["mask"]) / 255)
    samples = torch.stack([mixture, taught, vocals])[..., EDGE:-EDGE]
    parts = zip(("magnitude", "taught", "true"), seen(samples, analysis), strict=True)
    return {k: v.half().numpy() for k, v in parts} | {"weight": data["weight"]}


class BandLessons(Lessons):
    """Endless batches: magnitude, taught, true, weight; two lessons and two others."""

    per_batch = 2

    @staticmethod
    def seconds(batch: tuple[Tensor, ...]) -> float:
        return len(batch[0]) // 2 * batch[0].shape[2] * HOP / 44100

    def read(self, paths: list[Path], rng: np.random.Generator) -> tuple:
        parts = [np.load(p) for p in paths]
        out = []
        order = [1, 0] if rng.random() < 0.5 else [0, 1]
        for key in ("magnitude", "taught", "true", "weight"):
            x = np.concatenate([p[key] for p in parts])
            if x.ndim == 4:
                x = x[:, order + ([2] if x.shape[1] == 3 else [])]
            out.append(torch.from_numpy(x.astype(np.float32)))
        return tuple(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--lessons", type=Path, required=True)
    parser.add_argument("--masks", type=Path, help="of tools.teach.ensemble")
    parser.add_argument("--synthesis", type=int, default=SYNTHESIS)
    parser.add_argument("--limit", type=int, help="only so many lessons")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.output.mkdir(parents=True, exist_ok=True)
    analysis, _ = window_pair(args.synthesis)
    lessons = Lessons(args.lessons, 0, args.masks)
    for path in lessons.paths()[: args.limit]:
        target = args.output / path.name
        if not target.exists():
            with whole(target) as file:
                np.savez(file, **band_lesson(lessons.open(path), analysis))


if __name__ == "__main__":
    main()
