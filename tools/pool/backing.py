"""Rendered backing: own chord progressions and patterns, played by fluidsynth.

Piano ballads, jazz trios, acoustic guitars, rock, funk, strings, electronic and
so on, from General MIDI soundfonts under the MIT licence.  No choir and no voice
programs: what is rendered here is instrumental by construction (tools/pool/styles.py).
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.pool.styles import (
    CRASH,
    DRUMS,
    MAJOR,
    MINOR,
    PROGRESSIONS,
    STYLES,
    TOM,
    Style,
)

SAMPLE_RATE = 44100
TICKS = 480  # a quarter note


@dataclass
class Score:
    """Notes and events of one piece, in ticks."""

    tempo: float
    rng: np.random.Generator
    events: list[tuple[int, bytes]] = field(default_factory=list)

    def note(self, channel: int, at: float, length: float, pitch: int, loud: float):
        """Add a note; `at` and `length` in quarters, a little loose."""
        start = max(0, int((at + self.rng.normal(0, 0.008)) * TICKS))
        velocity = int(np.clip(loud + self.rng.normal(0, 6), 20, 127))
        end = start + max(20, int(length * TICKS))
        pitch = int(np.clip(pitch, 21, 108))
        self.events.append((start, bytes([0x90 | channel, pitch, velocity])))
        self.events.append((end, bytes([0x80 | channel, pitch, 0])))

    def control(self, channel: int, at: float, number: int, value: int) -> None:
        self.events.append((int(at * TICKS), bytes([0xB0 | channel, number, value])))

    def bend(self, channel: int, at: float, semitones: float) -> None:
        """Bend a channel's notes, by up to 2 semitones (General MIDI's range)."""
        value = int(np.clip(8192 + 4096 * semitones, 0, 16383))
        event = bytes([0xE0 | channel, value & 0x7F, value >> 7])
        self.events.append((int(at * TICKS), event))

    def program(self, channel: int, number: int) -> None:
        self.events.append((0, bytes([0xC0 | channel, number])))

    def write(self, path: Path) -> None:
        """One standard MIDI file, format 0."""
        micros = int(60e6 / self.tempo)
        body = b"\0\xff\x51\x03" + micros.to_bytes(3, "big")
        at = 0
        for tick, event in sorted(self.events, key=lambda e: e[0]):
            body += variable_length(tick - at) + event
            at = tick
        body += b"\0\xff\x2f\0"
        head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, TICKS)
        path.write_bytes(head + b"MTrk" + struct.pack(">I", len(body)) + body)


def variable_length(n: int) -> bytes:
    out = [n & 0x7F]
    while n := n >> 7:
        out.append(0x80 | (n & 0x7F))
    return bytes(reversed(out))


# ---- patterns: (score, channel, first quarter, chord, octave, scale) --------
# A chord is its MIDI pitches near middle C, root first.


def comp(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for beat in range(4):
        if beat in (0, 2) or s.rng.random() < 0.6:
            for p in chord:
                s.note(ch, at + beat, 0.95, p + up, 78 if beat == 0 else 64)
    s.note(ch, at, 3.8, chord[0] - 24 + up, 80)


def stabs(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for place in s.rng.choice(16, s.rng.integers(2, 6), replace=False) / 4:
        for p in [*chord[1:], chord[0] + 12]:
            s.note(ch, at + place, s.rng.choice([0.2, 0.4, 0.9]), p + up, 78)


def skank(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for beat in range(4):
        for p in chord:
            s.note(ch, at + beat + 0.5, 0.22, p + up, 82)


def arpeggio(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    line = [chord[0] - 12, *chord, chord[0] + 12]
    order = (line + line[-2:0:-1]) * 2
    step = 0.25 if s.tempo < 100 else 0.5
    for k in range(int(4 / step)):
        s.note(ch, at + k * step, step * 2, order[k % len(order)] + up, 72)


def pick(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for k in range(8):
        p = chord[0] - 12 if k % 4 == 0 else s.rng.choice(chord) + 12 * (k % 3 == 2)
        s.note(ch, at + k / 2, 1.4, int(p) + up, 76)


def strum(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    voices = [chord[0] - 12, *chord, chord[0] + 12]
    for k, hit in enumerate("x.xox.xo" if s.rng.random() < 0.7 else "x..x..x."):
        if hit != ".":
            for i, p in enumerate(voices if k % 2 == 0 else voices[:1:-1]):
                loud = 84 if hit == "x" else 62
                s.note(ch, at + k / 2 + 0.02 * i, 0.48, p + up, loud)


def power(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    root = chord[0] - 12 + up
    held = s.rng.random() < 0.3
    for k in range(1 if held else 8):
        for p in (root, root + 7, root + 12):
            s.note(ch, at + k / 2, 3.9 if held else 0.42, p, 88 if k % 2 == 0 else 74)


def pad(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for p in chord:
        s.note(ch, at, 4.1, p + up, 66)


def bass(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    root = chord[0] - 24 + up
    line = ((0, 0), (1.5, 0), (2, 7), (3, 0), (3.5, 12))
    for place, interval in line:
        if place == 0 or s.rng.random() < 0.65:
            s.note(ch, at + place, 0.7, root + interval, 92)


def walk(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    tones = [chord[0], chord[1], chord[2], chord[0] + int(s.rng.choice([-1, 1, 11]))]
    for beat, p in enumerate(tones):
        s.note(ch, at + beat, 0.9, p - 24 + up, 88)


def slap(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for k, hit in enumerate("x..xo.x...xo..x."):
        if hit != "." and s.rng.random() < 0.85:
            p = chord[0] - 24 + (12 if hit == "o" else 0) + up
            s.note(ch, at + k / 4, 0.22, p, 98)


def offbeat(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    for k in range(8):
        if k % 2 or s.rng.random() < 0.5:
            s.note(ch, at + k / 2, 0.4, chord[0] - 24 + up, 96)


def lead(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    """A melody that phrases like a singer would: it is what a net confuses."""
    if s.rng.random() < 0.2:
        return
    place = float(s.rng.choice([0, 0.5, 1]))
    p = int(s.rng.choice(chord)) + 12 + up
    while place < 4:
        length = float(s.rng.choice([0.5, 1, 1.5, 2, 0.25]))
        s.note(ch, at + place, min(length, 4 - place) * 0.95, p, 84)
        if length >= 1:  # vibrato on what is held
            s.control(ch, at + place + 0.3, 1, int(s.rng.integers(20, 100)))
            s.control(ch, at + place + length, 1, 0)
        near = [c + 12 * o + up for c in chord for o in (0, 1, 2)]
        near = sorted(near, key=lambda q: abs(q - p))[:5]
        p = int(s.rng.choice(near)) + int(s.rng.choice([0, 0, 0, -2, 2]))
        place += length


def steel(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    """Two strings that glide into their notes, held, as a pedal steel does."""
    place = float(s.rng.choice([0, 0.5, 1]))
    while place < 4:
        length = float(s.rng.choice([1, 1.5, 2, 3]))
        first = int(s.rng.integers(len(chord)))
        for k in (first, first + int(s.rng.integers(1, 3))):
            p = chord[k % len(chord)] + 12 * (k // len(chord)) + up
            s.note(ch, at + place, min(length, 4 - place) * 0.98, p, 80)
        away = float(s.rng.choice([-2, -1, -1, 1, 0]))
        for k in range(9):
            s.bend(ch, at + place + 0.05 * k, away * (1 - k / 8))
        if length >= 1.5:
            s.control(ch, at + place + 0.6, 1, int(s.rng.integers(20, 90)))
            s.control(ch, at + place + length, 1, 0)
        place += length + float(s.rng.choice([0, 0, 0.5]))


def roll(s: Score, ch: int, at: float, chord: list[int], up: int) -> None:
    """Timpani: single strokes, and rolls that swell."""
    root = chord[0] - 24 + up
    if s.rng.random() < 0.5:
        for place in s.rng.choice(8, int(s.rng.integers(1, 4)), replace=False) / 2:
            s.note(ch, at + place, 0.9, root + int(s.rng.choice([0, 0, -5])), 96)
        return
    for k in range(32):
        s.note(ch, at + k / 8, 0.3, root, 50 + 1.8 * k)


PATTERNS: dict[str, Callable[[Score, int, float, list[int], int], None]] = {
    f.__name__: f
    for f in (comp, stabs, skank, arpeggio, pick, strum, power, pad, bass, walk, slap,
              offbeat, lead, steel, roll)
}  # fmt: skip


def chord_of(degree: int, key: int, scale: tuple[int, ...], seventh: bool) -> list[int]:
    """Pitches of the chord on a degree, root between G3 and F#4."""
    steps = (0, 2, 4, 6) if seventh else (0, 2, 4)
    pitches = [scale[(degree + k) % 7] + 12 * ((degree + k) // 7) for k in steps]
    low = 55 + (key + pitches[0] - 55) % 12
    return [p - pitches[0] + low for p in pitches]


def drum_bar(s: Score, at: float, name: str, swing: float, fill: bool) -> None:
    for pitch, hits in DRUMS[name].items():
        for k, hit in enumerate(hits):
            if hit != ".":
                late = swing / 4 if k % 4 == 2 else 0
                s.note(9, at + k / 4 + late, 0.2, pitch, 98 if hit == "x" else 66)
    if fill:
        for k in range(4):
            s.note(9, at + 3 + k / 4, 0.2, TOM + 2 * (3 - k), 90)
        s.note(9, at + 4, 0.5, CRASH, 96)


@dataclass(frozen=True)
class Key:
    """What a singer sings in: quarters a minute, pitch class, scale."""

    tempo: float
    pitch: int
    scale: tuple[int, ...]


def compose(style: Style, seconds: float, seed: int, given: Key | None = None) -> Score:
    """Make a piece: sections of a progression, parts come in and drop out."""
    rng = np.random.default_rng(seed)
    tempo = given.tempo if given else float(rng.uniform(*style.tempo))
    score = Score(tempo, rng)
    for ch, part in enumerate(style.parts):
        score.program(ch, int(rng.choice(part.programs)))
        for number, value in ((7, part.level), (10, part.pan), (91, 50)):
            score.control(ch, 0, number, value)
    score.program(9, int(rng.choice(style.kit)))
    key = given or Key(tempo, int(rng.integers(12)), (MAJOR, MINOR)[rng.integers(2)])
    n_bars = int(seconds * score.tempo / 240)
    drums = str(rng.choice(style.drums)) if style.drums else ""
    for bar in range(n_bars):
        if bar % 8 == 0:
            progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
            playing = rng.random(len(style.parts)) < 0.8
            playing[rng.integers(len(playing))] = True
            drummed = bool(drums) and rng.random() < 0.85
        degree = progression[bar % len(progression)]
        chord = chord_of(degree, key.pitch, key.scale, rng.random() < style.sevenths)
        for ch, part in enumerate(style.parts):
            if playing[ch]:
                PATTERNS[part.pattern](score, ch, bar * 4, chord, 12 * part.octave)
        if drummed:
            drum_bar(score, bar * 4, drums, style.swing, bar % 8 == 7)
    return score


def fluidsynth(score: Score, soundfont: Path) -> np.ndarray:
    """What fluidsynth makes of a score: float32 (n_samples, 2)."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "piece.mid", Path(folder) / "piece.wav"
        score.write(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.4", "-r", str(SAMPLE_RATE)]
        command += ["-O", "float", "-T", "wav", "-F", str(wav)]
        subprocess.run([*command, str(soundfont), str(midi)], check=True)
        x: np.ndarray = soundfile.read(wav, dtype="float32", always_2d=True)[0]
    return x


def with_headroom(*stems: np.ndarray) -> list[np.ndarray]:
    """Float to int16 at one gain, the peak of the stems' sum at -3 dBFS."""
    peak = np.abs(sum(stems)).max() + 1e-9
    return [np.int16(np.clip(x / peak * 32767 * 0.7, -32767, 32767)) for x in stems]


def render(style: str, soundfont: Path, seconds: float, seed: int) -> np.ndarray:
    """Play a piece: int16 (n_samples, 2) at 44.1 kHz, peak at -3 dBFS."""
    score = compose(STYLES[style], seconds, seed)
    return with_headroom(fluidsynth(score, soundfont))[0]
