"""Two halves of the dev songs: those that chose, and those that chose nothing.

Every constant of the models up to the sixteenth campaign was chosen on the seven
songs of `CHOSE` (models/EXPERIMENTS.md).  What other songs say is the check, so it
comes first, and nothing is ever chosen on it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

CHOSE = {
    "Caesium",
    "Francium",
    "band-male",
    "indie-loop",
    "piano-trio",
    "pop-excerpt",
    "political-captain",
}
PEER = "Spleeter 2stems float"
N_DRAWS = 10_000  # of a bootstrap
Scores = dict[str, dict[str, dict[str, list[float]]]]  # system -> song -> figures


def halves(songs: Iterable[str]) -> dict[str, list[str]]:
    """Name the halves that are there, the check first, with their songs."""
    names = list(songs)
    found = {
        "chose nothing": [n for n in names if n not in CHOSE],
        "chose": [n for n in names if n in CHOSE],
    }
    return {half: songs for half, songs in found.items() if songs}


def lead(scores: Scores, system: str, songs: list[str], stem: int) -> np.ndarray:
    """Full-track SDR of a stem minus the peer's, dB, song by song."""
    ours, peer = scores[system], scores[PEER]
    return np.array([ours[n]["sdr"][stem] - peer[n]["sdr"][stem] for n in songs])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Where 95 % of the means of songs drawn anew lie."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(values), size=(N_DRAWS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def in_words(values: np.ndarray) -> str:
    """Mean, its interval, how many songs are better, and the worst."""
    low, high = interval(values)
    n_better = int(np.sum(values > 0))
    return (
        f"{values.mean():+.2f} ({low:+.2f} to {high:+.2f}), {n_better} of "
        f"{len(values)} better, worst {values.min():+.2f}"
    )


def rows(scores: Scores) -> list[list[str]]:
    """A line for each of our systems and half: both stems against the peer."""
    out = []
    for system in scores:
        if not system.startswith("edgestem"):
            continue
        for half, songs in halves(scores[system]).items():
            leads = [in_words(lead(scores, system, songs, stem)) for stem in (0, 1)]
            out.append([system, f"{len(songs)} that {half}", *leads])
    return out


def figures(scores: Scores) -> dict[str, str]:
    """What `edgestem info` prints: mean SDR of a model and its peer, half by half."""
    by_half = halves(next(iter(scores.values())))
    counts = ", then of the ".join(f"{len(s)} that {h}" for h, s in by_half.items())
    out = {"SDR": f"full track, dB; mean of the songs: of the {counts}"}
    first = next(iter(scores))
    for system, by_song in scores.items():
        if system not in (first, PEER):
            continue
        parts = []
        for songs in by_half.values():
            vocals, rest = np.mean([by_song[n]["sdr"] for n in songs], axis=0)
            parts.append(f"vocals {vocals:.2f}, instrumental {rest:.2f}")
        out[system] = "; ".join(parts)
    if PEER in scores and first != PEER:
        leads = [in_words(lead(scores, first, s, 1)) for s in by_half.values()]
        out[f"instrumental minus {PEER}"] = "; ".join(leads)
    return out
