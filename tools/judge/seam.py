"""Is the border between two network calls heard?  Measured, for a block net.

    python -m tools.judge.seam SONGS --model karaoke

Tone: a steady chord (which should pass into the instrumental): the largest step
of its level from hop to hop at a border, beside the largest elsewhere.
Song: the change of the vocals' spectrum from frame to frame, relative to the
mixture's own change, at the borders and elsewhere.  A ratio of 1 is no seam.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import edgestem
from tools.pool import songs

RATE = 44100


def borders(separator: edgestem.Separator, n_frames: int) -> np.ndarray:
    """Frames k whose mask comes from another call than that of frame k - 1."""
    return np.arange(separator.config.group, n_frames, separator.config.group)


def chord(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    tones = [220.0, 277.18, 329.63, 440.0, 880.0]
    x = sum(np.sin(2 * np.pi * f * t + i) / (i + 2) for i, f in enumerate(tones))
    return np.repeat(np.float32(0.2 * x)[:, None], 2, axis=1)


def tone_steps(stem: np.ndarray, hop: int, at: np.ndarray) -> tuple[float, float]:
    """Largest level step in dB (at borders, elsewhere), hop by hop."""
    n_hops = len(stem) // hop
    energy = np.square(stem[: n_hops * hop]).reshape(n_hops, -1).mean(1)
    step = np.abs(np.diff(10 * np.log10(energy + 1e-12)))
    # A frame touches four hops: the steps around hop k belong to frames k-1..k+3.
    near = np.zeros(len(step), bool)
    for k in at:
        near[max(k - 4, 0) : k + 1] = True
    edge = 8  # the tone's own start and end
    inside = slice(edge, len(step) - edge)
    return float(step[inside][near[inside]].max()), float(
        step[inside][~near[inside]].max()
    )


def flux(x: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Sum over bins of |change of magnitude| from frame to frame."""
    mono = np.pad(x.mean(1), (n_fft - hop, n_fft))
    frames = np.lib.stride_tricks.sliding_window_view(mono, n_fft)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(n_fft), axis=1))
    return np.abs(np.diff(spectrum, axis=0)).sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model", default="karaoke")
    args = parser.parse_args()
    separator = edgestem.Separator(RATE, 2, model=args.model)
    c = separator.config
    tone = edgestem.separate(chord(30), RATE, model=args.model)
    at = borders(separator, 30 * RATE // c.hop)
    there, elsewhere = tone_steps(tone.instrumental, c.hop, at)
    print(f"chord: largest level step {there:.4f} dB at {len(at)} borders,")
    print(f"       {elsewhere:.4f} dB elsewhere")
    print("song: change of the vocals at borders over elsewhere")
    for song in songs.find(args.songs):
        vocals, rest = songs.load(song)
        mixture = vocals + rest
        stems = edgestem.separate(mixture, RATE, model=args.model)
        own = flux(mixture, c.n_fft, c.hop)
        change = flux(stems.vocals, c.n_fft, c.hop) / (own + np.median(own))
        at = borders(separator, len(change)) - 1
        near = np.isin(np.arange(len(change)), at)
        ratio = change[near].mean() / change[~near].mean()
        spread = change[~near].std() / change[~near].mean() / np.sqrt(len(at))
        print(f"  {song.name:20s} {ratio:.2f} ({len(at)} borders, +-{spread:.2f})")


if __name__ == "__main__":
    main()
