"""Build the training pool: fetch, decode, and write down where it came from.

    python -m tools.pool.corpus POOL --corpus CORPUS --packages PACKAGES

Every source becomes one `<name>.npy`, int16 (n_samples, 2) at 44.1 kHz, and one
line of `POOL/manifest.json`: role, origin, licence, minutes, split.  What is there
already is kept, so an interrupted run goes on.  Roles: `vocals` (dry or
produced singing or speech alone), `instrumental` (no voice), `music` (anything
else: the teacher labels it), `song` (vocals and instrumental of one song).
Debian packages are fetched with apt-get and unpacked, not installed; licences
come file by file from the package's own copyright file.  Then synthetic singers
and rendered backing are made (tools/pool/synthetic.py; about ten CPU minutes).  A split
goes by origin (package or artist), never by clip: `--hold-out ORIGIN`.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tools.pool import sampled, synthetic
from tools.pool.licences import ALLOWED, SHARED_LICENCES, family, package_licences
from tools.pool.phrases import extend_speech

SAMPLE_RATE = 44100
ARCHIVES = (".pk3", ".zip")  # zip files that hold a game's data
AUDIO_SUFFIXES = {".ogg", ".oga", ".opus", ".mp3", ".flac", ".wav", ".g722"}
MUSIC_PACKAGES = (
    "0ad-data",
    "ardentryst",
    "flare-game",
    "freeorion-data",
    "fretsonfire-songs-muldjord",
    "fretsonfire-songs-sectoid",
    "hyperrogue-music",
    "megaglest-data",
    "naev-data",
    "openclonk-data",
    "singularity-music",
    "supertuxkart-data",
    "ufoai-music",
    "unknown-horizons",
    "wordwarvi-sound",
)
SPEECH_PACKAGES = (
    "asterisk-core-sounds-en-g722",
    "asterisk-core-sounds-es-g722",
    "asterisk-core-sounds-fr-g722",
    "asterisk-core-sounds-it-g722",
    "asterisk-core-sounds-ru-g722",
    "festvox-ru",
)
OTHER_SINGERS = 39  # minutes: hibari, Kokoro and Sinsy
RECORDED = 45  # minutes of pieces with recorded instruments
KEYED = 84  # minutes, both stems, of songs around sung phrases
# Sounds of a game, not music.
NOT_MUSIC = ("*/audio/ambient/*", "*/audio/interface/*")
# Tracks in which a separator heard voices: mixtures for the teacher, never backing.
WITH_VOICES = (
    "*sara_airport*",
    "*subsea*",
    "*waves*",
    "*Through*Space*",
    "*van_theme*",
    "*turinItalyM*",
    "*van_mission3*",
    "*intro.ogg",
    "*galacticbattle*",
    "*muldjord*",
    "*Highland_Mist*",
    "*Dried_Tears*",
    "*Land_between*",
    "*Midwinter*",
)


@dataclass
class Source:
    """One file of the pool, or one part of it."""

    name: str
    role: str
    origin: str
    licence: str
    paths: tuple[str, ...]
    minutes: float = 0.0
    split: str = "train"


def decode(paths: tuple[str, ...]) -> np.ndarray:
    """Decode and join files with ffmpeg: int16 (n_samples, 2) at 44.1 kHz."""
    raw = [p for p in paths if p.endswith(".g722")]
    waves = [p for p in paths if p.endswith(".wav")]
    jobs = [(["-i", p], b"") for p in paths if p not in {*raw, *waves}]
    # One ffmpeg for hundreds of prompts: G.722 has no header, WAV takes a list.
    if raw:
        joined = b"".join(Path(p).read_bytes() for p in raw)
        jobs.append((["-f", "g722", "-i", "-"], joined))
    if waves:
        listed = "".join(f"file 'file:{Path(p).resolve()}'\n" for p in waves)
        options = ["-f", "concat", "-safe", "0", "-protocol_whitelist", "file,pipe,fd"]
        jobs.append(([*options, "-i", "-"], listed.encode()))
    parts = []
    for source, stdin in jobs:
        command = ["ffmpeg", "-v", "error", *source, "-f", "s16le"]
        command += ["-ac", "2", "-ar", str(SAMPLE_RATE), "-"]
        result = subprocess.run(command, input=stdin, capture_output=True, check=False)
        parts.append(np.frombuffer(result.stdout, np.int16))
    return np.concatenate(parts).reshape(-1, 2)


def fetch_package(folder: Path, package: str) -> Path:
    """Download and unpack one Debian package below `folder`."""
    root = folder / package
    if not root.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["apt-get", "download", package]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (deb,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
        deb.unlink()
        for suffix in ARCHIVES:
            for archive in root.rglob(f"*{suffix}"):
                open_archive(archive)
    return root


def open_archive(path: Path) -> None:
    """Put the audio files of a game's archive in its place."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if Path(name).suffix.lower() in AUDIO_SUFFIXES:
                archive.extract(name, path.parent)
    path.unlink()


def from_package(folder: Path, package: str) -> list[Source]:
    root = fetch_package(folder, package)
    licence_of = package_licences(root, package)
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    files = [p for p in files if p.is_file() and not p.is_symlink()]
    if package in SPEECH_PACKAGES:
        licence = licence_of(str(files[0]))
        paths = tuple(str(p) for p in files if "silence" not in str(p))
        return [Source(package, "vocals", package, licence, paths)]
    out = []
    for path in files:
        is_music = not any(fnmatch.fnmatch(str(path), n) for n in NOT_MUSIC)
        if path.stat().st_size < 150_000 or not is_music:
            continue
        licence = licence_of(str(path))
        name = f"{package}-{path.parent.name}-{path.stem}".replace(" ", "_")
        voiced = any(fnmatch.fnmatch(str(path), v) for v in WITH_VOICES)
        role = "music" if voiced else "instrumental"
        out.append(Source(name, role, package, licence, (str(path),)))
    return out


def from_shared(corpus: Path) -> list[Source]:
    train = corpus / "train"
    out = []
    for folder in sorted(p for p in train.iterdir() if p.is_dir()):
        licence = SHARED_LICENCES[folder.name]
        files = sorted(folder.glob("*.ogg"))
        if folder.name == "everything-is-free":
            for path in files:
                name = f"song-{path.stem}"
                out.append(Source(name, "song", folder.name, licence, (str(path),)))
        elif folder.name == "tannerhelland":
            for path in files:
                name = f"tannerhelland-{path.stem}"
                path_tuple = (str(path),)
                out.append(
                    Source(name, "instrumental", folder.name, licence, path_tuple)
                )
        else:
            paths = tuple(map(str, files))
            out.append(Source(folder.name, "vocals", folder.name, licence, paths))
    return out


def write_source(pool: Path, source: Source, n_bytes: float) -> Source | None:
    """Decode one source into the pool; None if too short, or no room is left."""
    target = pool / f"{source.name}.npy"
    if not target.exists():
        if sum(p.stat().st_size for p in pool.glob("*.npy")) > n_bytes:
            return None
        audio = decode(source.paths)
        if len(audio) < 15 * SAMPLE_RATE:
            return None
        if source.name in SPEECH_PACKAGES:  # all of it ends below 8 kHz
            top = synthetic.VOICES[source.name]
            x = extend_speech(np.float32(audio[:, 0]), top, seed=0)
            audio = np.repeat(np.int16(np.clip(x, -32767, 32767))[:, None], 2, 1)
        synthetic.save(target, audio)
    return measured(pool, source)


def measured(pool: Path, source: Source) -> Source:
    n_samples = len(np.load(pool / f"{source.name}.npy", mmap_mode="r"))
    source.minutes = round(n_samples / SAMPLE_RATE / 60, 2)
    return source


def in_turns(sources: list[Source]) -> list[Source]:
    """Every origin in turn, so that a small disk budget still holds variety."""
    seen: dict[str, int] = {}
    keyed = []
    for s in sources:
        seen[s.origin] = seen.get(s.origin, 0) + 1
        keyed.append((seen[s.origin], s))
    return [s for _, s in sorted(keyed, key=lambda pair: pair[0])]


def made(args: argparse.Namespace, kept: list[Source]) -> list[Source]:
    """Synthetic singers from the voices that were kept, and rendered backing."""
    out: list[Source] = []
    voices = {s.name: s for s in kept if s.name in synthetic.VOICES}
    if args.singers > 0 and "apache" in args.licences:
        synthetic.speak(args.pool / "hibari.npy")
        speaker = Source("hibari", "vocals", "hibari-tts", "Apache-2.0", ())
        out, voices["hibari"] = [speaker], speaker
    if args.singers > 0:
        pieces = synthetic.sing_lines(args.pool, args.licences, args.jobs)
        out += [Source(name, "vocals", *source, ()) for name, source in pieces.items()]
        synthetic.sing(args.pool, list(voices), args.singers, args.jobs)
        out += [
            Source(name, "vocals", s.origin, s.licence, ())
            for voice, s in voices.items()
            for name in synthetic.sung_names(voice).values()
        ]
    if args.backing > 0 and args.packages and "mit" in args.licences:
        fonts = {
            package: fetch_package(args.packages, package) / path
            for package, path in synthetic.SOUNDFONTS.items()
        }
        pieces = synthetic.play(args.pool, fonts, args.backing, args.jobs)
        out += [Source(name, "instrumental", font, "MIT", ()) for name, font in pieces]
        if "cc0" in args.licences:
            songs = synthetic.play_keyed(args.pool, args.corpus, fonts, args.jobs)
            out += [Source(n, "song", origin, terms, ()) for n, origin, terms in songs]
        if family(sampled.LICENCE) in args.licences:
            font = fonts["fluid-soundfont-gm"]
            names = synthetic.play_recorded(args.pool, args.packages, font, args.jobs)
            origin, licence = "recorded-instruments", sampled.LICENCE
            out += [Source(name, "instrumental", origin, licence, ()) for name in names]
    there = [s for s in out if (args.pool / f"{s.name}.npy").exists()]
    return [measured(args.pool, s) for s in there]


def table(sources: list[Source]) -> str:
    """Markdown for the model card: minutes by origin, role and licence."""
    minutes: dict[tuple[str, str, str], float] = {}
    for s in sources:
        key = (s.origin, s.role, s.licence)
        minutes[key] = minutes.get(key, 0.0) + s.minutes
    rows = [f"| {a} | {b} | {c} | {m:.1f} |" for (a, b, c), m in minutes.items()]
    head = ["| source | role | licence | minutes |", "|---|---|---|---|"]
    return "\n".join(head + rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pool", type=Path, help="folder to write; 10 MB a minute")
    parser.add_argument("--corpus", type=Path, required=True, help="shared corpus")
    parser.add_argument("--packages", type=Path, help="folder for Debian packages")
    parser.add_argument("--licences", default=",".join(ALLOWED), help="families to use")
    parser.add_argument("--singers", type=float, default=72, help="minutes; 0: none")
    parser.add_argument("--backing", type=float, default=90, help="minutes; 0: none")
    parser.add_argument("--gigabytes", type=float, default=12, help="disk for the pool")
    parser.add_argument("--hold-out", nargs="*", default=[], metavar="ORIGIN")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.licences = set(args.licences.lower().split(","))
    if unknown := args.licences - {*ALLOWED, "gpl"}:
        parser.error(f"--licences: no family {unknown}; there are {ALLOWED} and gpl")
    return args


def main() -> None:
    args = parse_arguments()
    args.pool.mkdir(parents=True, exist_ok=True)
    sources = from_shared(args.corpus)
    if args.packages:
        for package in MUSIC_PACKAGES + SPEECH_PACKAGES:
            sources += from_package(args.packages, package)
    sources = [s for s in sources if family(s.licence) in args.licences]
    # What is made at the end needs its room too: 4 bytes a sample.
    minutes = args.singers + args.backing + (args.singers > 0) * OTHER_SINGERS
    minutes += (args.backing > 0) * (RECORDED + KEYED)
    room = args.gigabytes * 1e9 - minutes * 60 * 4 * SAMPLE_RATE
    with ThreadPoolExecutor(args.jobs) as workers:
        done = workers.map(
            lambda s: write_source(args.pool, s, room), in_turns(sources)
        )
        kept = [s for s in done if s is not None]
    kept += made(args, kept)
    for s in kept:
        s.split = "held-out" if s.origin in args.hold_out else "train"
    manifest = [asdict(s) for s in kept]
    (args.pool / "manifest.json").write_text(json.dumps(manifest, indent=1))
    print(table(kept))
    for role in ("song", "vocals", "instrumental", "music"):
        minutes = sum(s.minutes for s in kept if s.role == role)
        print(f"{role:13s}{minutes:8.1f} min", file=sys.stderr)


if __name__ == "__main__":
    main()
