"""Measure one cell of docs/matrix.md where it is installed; print its record.

    python3 cell.py PROGRAM HOW SONG SECOND [NAME=VALUE ...]
    python3 cell.py cut SONG SECOND

PROGRAM: edgestem, as installed.  HOW: what installed it.  SONG is the first one that
this installation separates, and its time is the record's; of SECOND, one second of a
song that all cells get, the stems' digest is.  NAME=VALUE goes into the record.
Runs with any Python and nothing else, as a clean system has it; but for `cut`, which
makes SECOND where soundfile is installed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
import wave
from pathlib import Path
from tempfile import TemporaryDirectory


def measure(program: str, how: str, song: Path, second: Path) -> dict[str, object]:
    """Separate both songs; what was installed and how it went."""
    about = json.loads(_run(program, "info", "--json"))
    runtime, version = next(iter(about["runtimes"].items()))
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        _run(program, "separate", song, "-o", folder)
        seconds = time.monotonic() - started
        _run(program, "verify", Path(folder, song.stem), song)
        if song != second:  # an emulated machine has time for one
            _run(program, "separate", second, "-o", folder)
        stems = Path(folder, second.stem)
        both = [_samples(stems / f"{n}.wav") for n in ("vocals", "instrumental")]
    return {
        "system": _system(),
        "python": about["python"],
        "machine": about["machine"],
        "runtime": f"{runtime} {version}",
        "how": how,
        "edgestem": about["edgestem"],
        "numpy": about["numpy"],
        "simd": about["simd"],
        "song": song.name,
        "first_song_s": round(seconds, 1),
        "stems": hashlib.sha256(b"".join(both)).hexdigest()[:16],
    }


def _samples(stem: Path) -> bytes:
    """Read what is heard: beside it stands the version that made it."""
    with wave.open(str(stem)) as file:
        return file.readframes(file.getnframes())


def _run(*words: str | Path) -> str:
    done = subprocess.run(
        [str(word) for word in words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"cell: {' '.join(map(str, words))}: {done.returncode}")
    return done.stdout


def _system() -> str:
    rows = Path("/etc/os-release").read_text().splitlines()
    table = dict(row.split("=", 1) for row in rows if "=" in row)
    name = table.get("NAME", "Linux").strip('"').removesuffix(" GNU/Linux")
    version = table.get("VERSION_ID") or table.get("VERSION_CODENAME") or ""
    return f"{name} {version}".replace('"', "").strip()


def cut(song: str, second: str) -> None:
    """Write the eleventh second of a song, in 16 bits."""
    import soundfile

    rate = soundfile.info(song).samplerate
    samples, _ = soundfile.read(song, start=10 * rate, frames=rate, dtype="int16")
    soundfile.write(second, samples, rate, subtype="PCM_16")


def main() -> None:
    if sys.argv[1] == "cut":
        cut(*sys.argv[2:])
        return
    program, how, song, second, *more = sys.argv[1:]
    found = measure(program, how, Path(song), Path(second))
    for word in more:
        name, _, value = word.partition("=")
        found[name] = int(value) if value.isdigit() else value
    print("cell:", json.dumps(found))


if __name__ == "__main__":
    main()
