"""Separate the same song here and say how far the other machine's stems are off.

`compare.py SONG.wav OUT MODELS`: OUT/song/*.wav are the other machine's stems,
OUT/model and OUT/runtime say who made them.  `compare.py --make SONG.wav` makes one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

import edgestem
from edgestem.diagnose.bench import RATE, music

DATA = Path(__file__).parents[3] / "tests/data"


def separate(song: Path, model: Path, runtime: str) -> dict[str, np.ndarray]:
    """Separate as `edgestem separate` does; int16 values of both stems."""
    with TemporaryDirectory() as folder:
        edgestem.separate_file(song, folder, model=model, runtime=runtime)
        return {p.stem: read(p) for p in Path(folder).rglob("*.wav")}


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16")[0].astype(np.int64)


def main() -> None:
    if sys.argv[1] == "--make":
        soundfile.write(sys.argv[2], music(6.0), RATE, subtype="PCM_16")
        return
    song, out = Path(sys.argv[1]), Path(sys.argv[2])
    model = Path((out / "model").read_text().strip())
    folder = Path(sys.argv[3]) if model.parent.name == "models" else DATA
    runtime = (out / "runtime").read_text().strip()
    here = separate(song, folder / model.name, runtime)
    for name, mine in sorted(here.items()):
        theirs = read(out / "song" / f"{name}.wav")
        assert mine.shape == theirs.shape
        off = np.abs(mine - theirs)
        energy, error = float((mine**2).sum()), float((off**2).sum())
        found = "identical to the bit"
        if error:
            found = (
                f"residual {10 * np.log10(error / energy):.1f} dB of the stem, "
                f"{100 * (off > 0).mean():.3f} % of the samples differ, "
                f"most {off.max()} steps of 16 bits"
            )
        print(f"{model.stem} {runtime} {name}: {found}")


if __name__ == "__main__":
    main()
