"""Synthetic singers: speech and voice-bank phrases re-sung through WORLD.

A phrase is taken apart once into envelope, aperiodicity and f0.  Its syllables
then get the notes of a made-up melody: vowels are held, notes glide into each
other, vibrato sets in late, formants move with the singer's size, and several
takes make doubles, harmonies and choirs.  About 0.06 s of CPU for a second of take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tools.pool.phrases import FRAME_S, SAMPLE_RATE, Phrase, analyse, phrases_of

SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 4, 7, 9),
    (0, 3, 5, 7, 10),
    (0, 2, 3, 5, 7, 9, 10),
)
# Takes of a phrase: how many, steps of the scale above the melody, spread in cents.
KINDS = {
    "solo": ((0,),),
    "double": ((0, 0),),
    "harmony": ((0, 2), (0, 2, 4), (0, -2), (0, 5)),
    "choir": ((0, 0, 0), (0, 0, 2, 4), (0, 2, 4, -3), (0, 0, 2, 2, 4)),
}
SHARE = {"solo": 0.55, "double": 0.15, "harmony": 0.15, "choir": 0.15}


@dataclass
class Singer:
    """Who sings: drawn once for a few phrases."""

    formants: float  # 1.1: a smaller head
    transpose: float  # semitones from the speaker's own median
    tilt_db: float  # per octave above 1 kHz; positive shouts, negative croons
    breath: float  # exponent of the aperiodicity; below 1 is breathier
    vibrato_hz: float
    vibrato: float  # semitones
    glide_s: float


# ---- what is sung -----------------------------------------------------------


def draw_singer(rng: np.random.Generator) -> Singer:
    transpose = rng.normal(0, 4) + rng.choice([0, 0, 5])
    return Singer(
        formants=float(np.clip(2 ** (transpose / 40 + rng.normal(0, 0.1)), 0.8, 1.3)),
        transpose=float(transpose),
        tilt_db=float(rng.uniform(-4, 4)),
        breath=float(rng.uniform(0.5, 1.1)),
        vibrato_hz=float(rng.uniform(4.5, 6.8)),
        vibrato=float(rng.choice([0, 0.15, 0.3, 0.6]) * rng.uniform(0.7, 1.3)),
        glide_s=float(rng.uniform(0.012, 0.08)),
    )


def draw_melody(n_notes: int, rng: np.random.Generator) -> np.ndarray:
    """Steps of a scale around 0: mostly next neighbours, now and then a leap."""
    steps, at = [], int(rng.integers(-2, 3))
    for _ in range(n_notes):
        steps.append(at)
        moves, p = (-4, -2, -1, 0, 1, 2, 3, 5), (3, 12, 28, 14, 25, 10, 5, 3)
        at += int(rng.choice(moves, p=np.array(p) / 100))
        at -= int(np.sign(at)) * (abs(at) > 5) * 2
    return np.array(steps)


def pitch_of(steps: np.ndarray, scale: tuple[int, ...]) -> np.ndarray:
    """Scale steps to semitones."""
    octave, degree = np.divmod(steps, len(scale))
    return 12.0 * octave + np.array(scale)[degree]


def time_map(phrase: Phrase, lengths: np.ndarray) -> np.ndarray:
    """Source position of every output frame: consonants keep their pace."""
    at, places = [0.0], [0.0]
    start = 0.0
    for k, length in enumerate(lengths):
        left, nucleus, right = phrase.bounds[k], phrase.nuclei[k], phrase.bounds[k + 1]
        hold = min(4, (nucleus - left) / 2, (right - nucleus) / 2)
        squeeze = min(1.0, 0.85 * length / (right - left))
        at += [
            start + squeeze * (nucleus - hold - left),
            start + length - squeeze * (right - nucleus - hold),
            start + length,
        ]
        places += [nucleus - hold, nucleus + hold, right]
        start += length
    return np.interp(np.arange(int(start)), at, places)


def draw_lengths(n_syllables: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of every syllable: beats of a tempo, the last one held."""
    beat = 60 / rng.uniform(70, 150) / FRAME_S
    beats = rng.choice([0.5, 1, 1.5, 2, 4], n_syllables, p=[0.4, 0.34, 0.1, 0.12,
                                                                 0.04])  # fmt: skip
    beats[-1] += rng.choice([0, 1, 2, 4])
    return np.maximum(beats * beat, 20)


def draw_pitch(
    steps: np.ndarray, lengths: np.ndarray, scale: tuple[int, ...], singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Semitones of every output frame: notes, glides, vibrato, a human's drift."""
    notes = pitch_of(steps, scale)
    n = int(lengths.sum())
    ends = np.minimum(np.cumsum(lengths), n).astype(int)
    curve, since = np.empty(n), np.empty(n)
    start = 0
    for k, end in enumerate(ends):
        curve[start:end] = notes[k]
        since[start:end] = np.arange(end - start) * FRAME_S
        if end - start > 120 and rng.random() < 0.3:  # a melisma
            turn = start + int(rng.uniform(0.3, 0.7) * (end - start))
            curve[turn:end] = pitch_of(steps[k] + rng.choice([-2, -1, 1, 2]), scale)
        if rng.random() < 0.25:  # scooped from below
            curve[start : start + 12] -= rng.uniform(0.5, 2)
        start = end
    curve = gaussian_filter1d(curve, singer.glide_s / FRAME_S, mode="nearest")
    grown = np.clip((since - 0.18) / 0.3, 0, 1)
    phase = 2 * np.pi * singer.vibrato_hz * FRAME_S * np.arange(n) + rng.uniform(0, 6)
    curve += singer.vibrato * grown * np.sin(phase)
    drift = gaussian_filter1d(rng.standard_normal(n), 30, mode="nearest")
    return curve + 0.8 * drift


# ---- how it sounds ----------------------------------------------------------


def between(table: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read a table at fractional rows and columns."""
    i = np.minimum(rows.astype(int), len(table) - 2)
    a = (rows - i)[:, None]
    j = np.minimum(columns.astype(int), table.shape[1] - 2)
    b = columns - j
    part = table[:, j] * (1 - b) + table[:, j + 1] * b
    return part[i] * (1 - a) + part[i + 1] * a


def take(
    phrase: Phrase, lengths: np.ndarray, pitch: np.ndarray, singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Sing it once: float64 mono at 44.1 kHz, about unit level."""
    import pyworld

    places = time_map(phrase, lengths)
    n_bins = phrase.envelope.shape[1]
    columns = np.minimum(np.arange(n_bins) / singer.formants, n_bins - 1)
    envelope = between(phrase.envelope, places, columns)
    aperiodicity = between(phrase.aperiodicity, places, columns) ** singer.breath
    octaves = np.log2(np.maximum(np.linspace(0, 22.05, n_bins), 1))
    envelope *= 10 ** (singer.tilt_db * np.minimum(octaves, 3) / 10)
    swell = gaussian_filter1d(rng.standard_normal(len(places)), 60, mode="nearest")
    envelope *= 10 ** (2.5 * swell)[:, None]
    voiced = phrase.f0[np.minimum(places.astype(int), len(phrase.f0) - 1)] > 0
    centre = np.median(phrase.f0[phrase.f0 > 0]) * 2 ** (singer.transpose / 12)
    f0 = np.where(voiced, np.clip(centre * 2 ** (pitch / 12), 62, 1100), 0.0)
    # WORLD's noise is the same every time: start elsewhere in it, or takes comb.
    lead = int(rng.integers(20, 200))
    envelope = np.concatenate([np.full((lead, n_bins), 1e-12), envelope])
    aperiodicity = np.concatenate([np.ones((lead, n_bins)), aperiodicity])
    y = pyworld.synthesize(
        np.concatenate([np.zeros(lead), f0]), envelope,
        np.clip(aperiodicity, 1e-3, 1), SAMPLE_RATE, FRAME_S * 1000,
    )[int(lead * FRAME_S * SAMPLE_RATE):]  # fmt: skip
    return unit_level(y)


def unit_level(y: np.ndarray) -> np.ndarray:
    return y / (np.sqrt(np.mean(y**2)) + 1e-6)


def perform(
    take: Callable[..., np.ndarray], n_syllables: int, kind: str, singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """One phrase by one or more singers: float32 (n_samples, 2).

    `take(lengths, pitch, singer, rng)` sings it once.
    """
    scale = SCALES[rng.integers(len(SCALES))]
    lengths = draw_lengths(n_syllables, rng)
    steps = draw_melody(len(lengths), rng)
    voices = KINDS[kind][rng.integers(len(KINDS[kind]))]
    out = np.zeros((int(lengths.sum() * FRAME_S * SAMPLE_RATE) + 8000, 2))
    for number, above in enumerate(voices):
        who = singer
        if kind == "choir" or (number and rng.random() < 0.5):
            who = draw_singer(rng)
            who.transpose = singer.transpose  # in the same key
        if kind == "choir" and rng.random() < 0.3:
            who.transpose += rng.choice([-12, 12])
        loose = lengths * rng.uniform(0.97, 1.03, len(lengths)) if number else lengths
        pitch = draw_pitch(steps + above, loose, scale, who, rng)
        pitch += rng.normal(0, 0.12) if number else 0
        y = take(loose, pitch, who, rng)
        late = int(rng.uniform(0, 0.03) * SAMPLE_RATE) if number else 0
        pan = rng.uniform(-0.8, 0.8) if len(voices) > 1 and (number or above) else 0
        level = 0.7 if number and kind == "harmony" else 1.0
        y = y[: len(out) - late, None] * np.array([1 - pan, 1 + pan]) * level
        out[late : late + len(y)] += y
    level = 10 ** (rng.uniform(-24, -15) / 20)
    out *= level / (np.sqrt(np.mean(out**2)) + 1e-9)
    return np.float32(out / max(1.0, np.abs(out).max() / 0.95))


def sing(
    speech: np.ndarray, top_hz: float, minutes: float, seed: int
) -> dict[str, np.ndarray]:
    """Kind -> float32 (n_samples, 2): about `minutes` in all, with rests between."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    seconds = dict.fromkeys(KINDS, 0.0)
    singer = draw_singer(rng)
    for number, x in enumerate(phrases_of(speech, rng)):
        if sum(seconds.values()) > minutes * 60:
            break
        phrase = analyse(x, top_hz)
        if phrase is None:
            continue
        if number % 4 == 0:
            singer = draw_singer(rng)
        # The analysis costs as much as three takes, so each is sung twice.
        for _ in range(2):
            kind = min(KINDS, key=lambda k: seconds[k] / SHARE[k])
            y = perform(partial(take, phrase), len(phrase.nuclei), kind, singer, rng)
            rest = np.zeros((int(rng.exponential(0.5) * SAMPLE_RATE), 2), np.float32)
            out[kind] += [y, rest]
            seconds[kind] += (len(y) + len(rest)) / SAMPLE_RATE
    return {k: np.concatenate(v) for k, v in out.items() if v}
