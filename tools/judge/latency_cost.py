"""What a shorter latency costs: the ideal mask behind shorter synthesis windows.

    python -m tools.judge.latency_cost DEV

Each row has an analysis window of 4096 samples, a synthesis window as long as the
latency (one frame a call, no lookahead), and the real mask per band of
tools/nets/bands.py that comes nearest to the true vocals in every frame.  So it is what
the windows alone cost; a causal network loses more, as it cannot see what comes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from edgestem.spectrum.windows import window_pair
from tools.nets.bands import best_mask, expand
from tools.nets.spectrum import N_FFT
from tools.pool import songs

STEPS = ((4096, 1024), (2048, 1024), (2048, 512), (1024, 512), (512, 256))
RATE, SECONDS = 44100, 40


def ideal(vocals: np.ndarray, rest: np.ndarray, n_synthesis: int, hop: int) -> list:
    """SDR of both stems with the best mask there is."""
    analysis, synthesis = map(torch.from_numpy, window_pair(N_FFT, hop, n_synthesis))
    pad = (N_FFT - hop, N_FFT)
    spectra = [
        torch.fft.rfft(
            torch.nn.functional.pad(torch.from_numpy(a.T.copy()), pad).unfold(
                -1, N_FFT, hop
            )
            * analysis
        )
        for a in (vocals + rest, vocals)
    ]
    mask = best_mask(*spectra).clamp(0, 1)
    frames = torch.fft.irfft(expand(mask) * spectra[0])[..., -n_synthesis:] * synthesis
    total = (frames.shape[1] - 1) * hop + n_synthesis
    out = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, total), (1, n_synthesis), stride=(1, hop)
    )
    estimate = out[:, 0, 0, n_synthesis - hop :][:, : len(vocals)].T.numpy()
    mixture = vocals + rest
    return [songs.sdr(vocals, estimate), songs.sdr(rest, mixture - estimate)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    args = parser.parse_args()
    scores: dict[tuple[int, int], list] = {step: [] for step in STEPS}
    for song in songs.find(args.songs):
        vocals, rest = songs.load(song)
        part = slice(len(vocals) // 3, len(vocals) // 3 + SECONDS * RATE)
        for step in STEPS:
            scores[step].append(ideal(vocals[part], rest[part], *step))
    print("| latency, samples | ms at 44.1 kHz | hop | vocals | instrumental |")
    print("|---|---|---|---|---|")
    for (latency, hop), values in scores.items():
        v, i = np.mean(values, axis=0)
        ms = 1000 * latency / RATE
        print(f"| {latency} | {ms:.1f} | {hop} | {v:.2f} | {i:.2f} |")


if __name__ == "__main__":
    with torch.no_grad():
        main()
