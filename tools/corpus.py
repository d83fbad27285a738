"""Build the training pool: fetch, decode, and write down where it came from.

    python -m tools.corpus POOL --corpus ../shared/corpus --packages

Every source becomes one `<name>.npy`, int16 (n_samples, 2) at 44.1 kHz, and one
line of `POOL/manifest.json`: role, source, licence, minutes.  What is there
already is kept, so an interrupted run goes on.  Roles: `vocals` (dry or
produced singing or speech alone), `instrumental` (no voice), `music` (anything
else: the teacher labels it), `song` (vocals and instrumental of one song).
Debian packages are fetched with apt-get and unpacked, not installed; licences
come file by file from the package's own copyright file.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 44100
AUDIO_SUFFIXES = {".ogg", ".oga", ".opus", ".mp3", ".flac", ".wav", ".g722"}
ALLOWED = ("cc0", "cc-by", "mit", "expat", "public-domain", "bsd")
REFUSED = ("nc", "nd", "gpl", "sampling")

MUSIC_PACKAGES = (
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
    "festvox-ru",
)
# Packages whose copyright file is prose; read by hand.
PROSE_LICENCES = {
    "fretsonfire-songs-muldjord": "CC-BY-SA-3.0",
    "fretsonfire-songs-sectoid": "MIT",
    "openclonk-data": "CC-BY-3.0",
    "singularity-music": "CC-BY-SA-3.0",
}
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
)
SHARED_LICENCES = {
    "everything-is-free": "CC0-1.0",
    "hitsuboku-kumi": "custom permissive (Cubialpha, Hitsuboku Kumi)",
    "scottpoid": "custom permissive (Scott, SCOTTPOID)",
    "vocobox": "MIT",
    "vocadito": "CC-BY-4.0",
    "tannerhelland": "CC-BY-4.0",
}


@dataclass
class Source:
    """One file of the pool, or one part of it."""

    name: str
    role: str
    origin: str
    licence: str
    paths: tuple[str, ...]
    minutes: float = 0.0


def decode(paths: tuple[str, ...]) -> np.ndarray:
    """Decode and join files with ffmpeg: int16 (n_samples, 2) at 44.1 kHz."""
    parts = []
    for path in paths:
        raw = ["-f", "g722"] if path.endswith(".g722") else []
        command = ["ffmpeg", "-v", "error", *raw, "-i", path, "-f", "s16le"]
        command += ["-ac", "2", "-ar", str(SAMPLE_RATE), "-"]
        result = subprocess.run(command, capture_output=True, check=False)
        parts.append(np.frombuffer(result.stdout, np.int16))
    return np.concatenate(parts).reshape(-1, 2)


def is_allowed(licence: str) -> bool:
    words = licence.lower()
    return any(a in words for a in ALLOWED) and not any(r in words for r in REFUSED)


def package_licences(root: Path, package: str) -> object:
    """Return a function: path inside the package -> licence name, or ''."""
    if package in PROSE_LICENCES:
        return lambda path: PROSE_LICENCES[package]
    from debian.copyright import Copyright

    text = (root / f"usr/share/doc/{package}/copyright").read_text(errors="replace")
    copyright_file = Copyright(text.splitlines(), strict=False)

    def lookup(path: str) -> str:
        # The stanzas name source paths; installed ones end the same way.
        found = ""
        for stanza in copyright_file.all_files_paragraphs():
            for pattern in stanza.files:
                if pattern == "*" or fnmatch.fnmatch(path, f"*{pattern.lstrip('./')}"):
                    found = stanza.license.synopsis if stanza.license else ""
        return found

    return lookup


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
    return root


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
        if path.stat().st_size < 150_000:  # effects, not music
            continue
        licence = licence_of(str(path))
        if not is_allowed(licence):
            continue
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


def write_source(pool: Path, source: Source) -> Source | None:
    """Decode one source into the pool; None when it is too short to be music."""
    target = pool / f"{source.name}.npy"
    if not target.exists():
        audio = decode(source.paths)
        if len(audio) < 15 * SAMPLE_RATE:
            return None
        partial = target.with_suffix(".part.npy")
        np.save(partial, audio)
        partial.rename(target)
    n_samples = len(np.load(target, mmap_mode="r"))
    source.minutes = round(n_samples / SAMPLE_RATE / 60, 2)
    return source


def table(sources: list[Source]) -> str:
    """Markdown for the model card: minutes by origin, role and licence."""
    minutes: dict[tuple[str, str, str], float] = {}
    for s in sources:
        key = (s.origin, s.role, s.licence)
        minutes[key] = minutes.get(key, 0.0) + s.minutes
    rows = [f"| {a} | {b} | {c} | {m:.1f} |" for (a, b, c), m in minutes.items()]
    head = ["| source | role | licence | minutes |", "|---|---|---|---|"]
    return "\n".join(head + rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pool", type=Path, help="folder to write; 10 MB a minute")
    parser.add_argument("--corpus", type=Path, required=True, help="shared corpus")
    parser.add_argument("--packages", type=Path, help="folder for Debian packages")
    args = parser.parse_args()
    args.pool.mkdir(parents=True, exist_ok=True)
    sources = from_shared(args.corpus)
    if args.packages:
        for package in MUSIC_PACKAGES + SPEECH_PACKAGES:
            sources += from_package(args.packages, package)
    with ThreadPoolExecutor(2) as workers:
        done = workers.map(lambda s: write_source(args.pool, s), sources)
        kept = [s for s in done if s is not None]
    manifest = [asdict(s) for s in kept]
    (args.pool / "manifest.json").write_text(json.dumps(manifest, indent=1))
    print(table(kept))
    for role in ("song", "vocals", "instrumental", "music"):
        minutes = sum(s.minutes for s in kept if s.role == role)
        print(f"{role:13s}{minutes:8.1f} min", file=sys.stderr)


if __name__ == "__main__":
    main()
