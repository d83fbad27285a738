"""What happens to a voice or a mix between the microphone and the listener.

Every function takes x, float32 (2, n_samples), and a random generator, draws its
own settings and returns the same shape.  Cheap: six seconds cost a few
milliseconds each, because a training example may pass through most of them.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

SAMPLE_RATE = 44100
Rng = np.random.Generator


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float32))))


def resample(x: np.ndarray, n_samples: int, speed: float) -> np.ndarray:
    """Linear interpolation: cheap, and its dullness is augmentation too."""
    if speed == 1.0:
        return x[:, :n_samples]
    at = np.minimum(np.arange(n_samples) * speed, x.shape[1] - 1.001)
    i = at.astype(np.int64)
    f = (at - i).astype(np.float32)
    return x[:, i] * (1 - f) + x[:, i + 1] * f


def tilt(x: np.ndarray, rng: Rng, depth_db: float = 6.0) -> np.ndarray:
    """A smooth random equaliser of a few decibels."""
    X = rfft(x)
    octaves = np.log2(np.linspace(1, 1024, X.shape[1], dtype=np.float32))
    knots = rng.uniform(-depth_db, depth_db, 6)
    gain = 10 ** (np.interp(octaves, np.linspace(0, 10, 6), knots) / 20)
    return irfft(X * np.float32(gain), x.shape[1])


def codec(x: np.ndarray, rng: Rng) -> np.ndarray:
    """End the band as MP3 and AAC of 64 to 160 kbit/s do: at 11 to 16 kHz."""
    X = rfft(x)
    hz = np.linspace(0, SAMPLE_RATE / 2, X.shape[1], dtype=np.float32)
    X *= np.clip((rng.uniform(11000, 16500) - hz) / 300, 0, 1)
    return irfft(X, x.shape[1])


def pan(x: np.ndarray, rng: Rng, spread: float = 0.15) -> np.ndarray:
    """Mostly near the centre, as singers stand."""
    place = np.clip(rng.normal(0, spread), -1, 1)
    return x * np.float32([[1 - place], [1 + place]])


def breath(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Sing with air: above 1 to 2.5 kHz the voice's own spectrum as noise."""
    n, hop = 1024, 256
    window = np.hanning(n + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(
        np.pad(x.mean(0), (n, n + hop)), n
    )[::hop]
    X = np.abs(rfft(frames * window))
    hz = np.linspace(0, SAMPLE_RATE / 2, X.shape[1], dtype=np.float32)
    X *= np.clip((hz - rng.uniform(1000, 2500)) / 500, 0, 1)
    turns = rng.random(X.shape, dtype=np.float32)
    noise = irfft(X * np.exp(2j * np.pi * turns), n).astype(np.float32) * window
    out = np.zeros((len(noise) - 1) * hop + n, np.float32)
    for k, frame in enumerate(noise):
        out[k * hop : k * hop + n] += frame
    air = out[n : n + x.shape[1]] * np.float32(rng.uniform(0.4, 1.5) / 1.5)
    return np.float32(rng.uniform(0.3, 0.8)) * x + air


def double(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Add a second take: detuned, late, to one side."""
    late = int(rng.integers(300, 1500))
    twin = resample(np.roll(x, late, 1), x.shape[1], 1 + rng.uniform(0.002, 0.008))
    return x + 0.6 * twin * np.float32([[1], [rng.uniform(0.2, 1)]])


def echo(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Add repeats, perhaps from side to side."""
    out = x.copy()
    late = int(rng.uniform(0.09, 0.6) * SAMPLE_RATE)
    gain, feedback = rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.6)
    sides = np.float32([[1], [1]])
    if rng.random() < 0.5:
        sides = np.float32([[1.3], [0.4]])
    for k in range(1, 5):
        at = k * late
        if at >= x.shape[1]:
            break
        out[:, at:] += np.float32(gain) * sides * x[:, :-at]
        gain, sides = gain * feedback, sides[::-1]
    return out


def reverb(x: np.ndarray, rng: Rng) -> np.ndarray:
    """A synthetic room of 0.15 to 2.5 s: decaying noise, darker as it decays."""
    n = int(np.exp(rng.uniform(np.log(0.15), np.log(2.5))) * SAMPLE_RATE)
    decay = np.exp(-6.9 / n * np.arange(n, dtype=np.float32))
    tail = rng.standard_normal((2, n), dtype=np.float32) * decay
    dull = decay**2  # one sample of memory, more of it late
    tail[:, 1:] = tail[:, 1:] * dull[1:] + 0.7 * (1 - dull[1:]) * tail[:, :-1]
    tail[:, : int(rng.uniform(0, 0.06) * SAMPLE_RATE)] = 0
    tail /= np.sqrt(np.sum(tail**2, axis=1, keepdims=True)) + 1e-9
    size = next_fast_len(x.shape[1] + n, real=True)
    wet = irfft(rfft(x, size) * rfft(tail, size), size)
    return x + np.float32(rng.uniform(0.05, 0.6)) * wet[:, : x.shape[1]]


def compression(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Gain (n_samples,) of a compressor that listens to x: apply it to what sums."""
    block = 256
    n_blocks = x.shape[1] // block
    power = np.square(x[:, : n_blocks * block]).mean(0).reshape(n_blocks, block).mean(1)
    level = 10 * np.log10(power + 1e-9)
    threshold = np.percentile(level, rng.uniform(30, 80))
    over = np.maximum(level - threshold, 0) * (1 - 1 / rng.uniform(1.5, 8))
    attack, release = np.exp(
        -block / SAMPLE_RATE / rng.uniform([0.003, 0.05], [0.03, 0.4])
    )
    state, cut = 0.0, np.empty(n_blocks)
    for i, o in enumerate(over.tolist()):
        k = attack if o > state else release
        state = k * state + (1 - k) * o
        cut[i] = state
    at = np.arange(n_blocks) * block + block / 2
    return np.float32(10 ** (-np.interp(np.arange(x.shape[1]), at, cut) / 20))


def clipping(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Gain (2, n_samples) that drives x by 2 to 12 dB into full scale."""
    drive = 10 ** (rng.uniform(2, 12) / 20) / (np.abs(x).max() + 1e-6)
    loud = x * np.float32(drive)
    return np.float32(drive) * np.minimum(1, 1 / np.maximum(np.abs(loud), 1e-6))


def produced(x: np.ndarray, rng: Rng) -> np.ndarray:
    """Do what a mixing desk does to a dry voice."""
    chance = rng.random(8)
    if chance[7] < 0.08:
        x = breath(x, rng)
    if chance[0] < 0.5:
        x = x * compression(x, rng)
    if chance[1] < 0.2:
        x = double(x, rng)
    x = pan(x, rng)
    if chance[2] < 0.2:
        x = echo(x, rng)
    if chance[3] < 0.6:
        x = reverb(x, rng)
    if chance[4] < 0.7:
        x = tilt(x, rng, 5.0)
    if chance[5] < 0.15:
        x = codec(x, rng)
    return x


def comings_and_goings(n_samples: int, rng: Rng) -> np.ndarray:
    """Gain (n_samples,), 0 or 1: phrases of 0.5 to 4 s with rests between."""
    at, value = [0.0], [float(rng.random() < 0.5)]
    now = 0.0
    while now < n_samples:
        now += rng.uniform(0.5, 4) * SAMPLE_RATE
        fade = rng.uniform(0.005, 0.15) * SAMPLE_RATE
        at += [now, now + fade]
        value += [value[-1], 1 - value[-1]]
        now += fade
    return np.float32(np.interp(np.arange(n_samples), at, value))
