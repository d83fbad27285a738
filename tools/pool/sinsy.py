"""Sinsy sings: a statistical singer with a score (PyPI's pysinsy).

Its voice is Nagoya Institute of Technology's NIT SONG070 F001 (CC-BY-3.0).  Scores are
melodies of tools.pool.singers on Japanese syllables without sense, as MusicXML.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample

from tools.pool.phrases import SAMPLE_RATE
from tools.pool.singers import SCALES, draw_melody, pitch_of, unit_level

NAMES = "CCDDEFFGGAAB"
SHARP = {1, 3, 6, 8, 10}
SYLLABLES = (
    "あいうえおかきくけこさしすせそたちつてとなにぬねの"
    "はひふへほまみむめもらりるれろやゆよわん"
)
LOWEST, HIGHEST = 57, 76  # A3 to E5, its range
BEATS, HOW_OFTEN = (1, 2, 3, 4, 8), (0.4, 0.34, 0.1, 0.12, 0.04)  # eighths
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><score-partwise version="2.0"><part-list>'
    '<score-part id="P1"><part-name>song</part-name></score-part></part-list>'
    '<part id="P1">'
)
TEMPO = '<direction><sound tempo="{}"/></direction>'
# Each note is a measure of its own length: others would be cut or filled up.
MEASURE = (
    "<measure><attributes><divisions>2</divisions><key><fifths>0</fifths></key><time>"
    "<beats>{length}</beats><beat-type>8</beat-type></time></attributes>{tempo}<note>"
    "{what}<duration>{length}</duration><voice>1</voice>{lyric}</note></measure>"
)


def score(rng: np.random.Generator) -> str:
    """MusicXML of a phrase between two rests."""
    n = int(rng.integers(6, 16))
    scale = SCALES[rng.integers(len(SCALES))]
    keys = int(rng.integers(62, 72)) + np.int64(pitch_of(draw_melody(n, rng), scale))
    lengths = rng.choice(BEATS, n, p=HOW_OFTEN)
    rest = {"length": 2, "what": "<rest/>", "lyric": ""}
    tempo = TEMPO.format(int(rng.uniform(70, 150)))
    out = [HEAD, MEASURE.format(**rest, tempo=tempo)]
    for key, length in zip(np.clip(keys, LOWEST, HIGHEST), lengths, strict=True):
        octave, step = divmod(int(key), 12)
        alter = f"<alter>{int(step in SHARP)}</alter>"
        tone = f"<step>{NAMES[step]}</step>{alter}<octave>{octave - 1}</octave>"
        kana = rng.choice(list(SYLLABLES))
        lyric = f"<lyric><syllabic>single</syllabic><text>{kana}</text></lyric>"
        pitch = f"<pitch>{tone}</pitch>"
        out.append(MEASURE.format(length=length, tempo="", what=pitch, lyric=lyric))
    out.append(MEASURE.format(**rest, tempo=""))
    return "".join([*out, "</part></score-partwise>"])


def package() -> Any:
    try:
        import pysinsy
    except ImportError as cause:
        raise SystemExit(
            "corpus: pysinsy is not installed: "
            "pip install -e '.[train]', or --singers 0"
        ) from cause
    return pysinsy


@cache
def voice() -> Any:
    """The singer, read once."""
    pysinsy = package()
    singer = pysinsy.sinsy.Sinsy()
    assert singer.setLanguages("j", pysinsy.get_default_dic_dir())
    assert singer.loadVoices(pysinsy.get_default_htsvoice())
    return singer


def take(rng: np.random.Generator) -> np.ndarray:
    """One phrase: float64 mono at 44.1 kHz, about unit level."""
    singer = voice()
    singer.clearScore()
    # All-pass constant of the voice's envelope: 0.55 is its own, less a bigger head.
    singer.setAlpha(float(rng.uniform(0.5, 0.6)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score.xml"
        path.write_text(score(rng), encoding="utf-8")
        assert singer.loadScoreFromMusicXML(str(path))
    x, rate = singer.synthesize()
    y = resample(x, int(len(x) * SAMPLE_RATE / rate))
    return unit_level(y)


def sing(seconds: float, seed: int) -> np.ndarray:
    """Phrases with rests: int16 (n_samples, 2), both channels alike."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        y = take(rng)
        if np.abs(y).max() > 12:  # its filter has rung
            continue
        parts += [y * 10 ** (rng.uniform(-27, -22) / 20)]
        parts += [np.zeros(int(rng.exponential(0.5) * SAMPLE_RATE))]
    mono = np.int16(np.clip(np.concatenate(parts), -1, 1) * 32767)
    return np.repeat(mono[:, None], 2, 1)
