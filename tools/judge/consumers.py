"""PiKaraoke's own code and stempeg on what `edgestem export` wrote.

    python tools/judge/consumers.py PIKARAOKE_FOLDER STEMS_FOLDER

In a virtual environment of its own: `pip install pikaraoke stempeg soundfile`.  The
first folder was exported in place with --layout pikaraoke, the second is -o of --layout
stems.  PiKaraoke's FileResolver opens each sibling, and its build_ffmpeg_cmd is run to
a file, plain, normalised and transposed: the sound that comes out is compared with our
instrumental by cross-correlation.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

RATE = 44100


def decode(path: Path, stream: str = "0:a:0") -> np.ndarray:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", stream]
    line += ["-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"]
    done = subprocess.run(line, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32)


def correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Greatest normalised correlation, and the samples by which y comes later."""
    n = 1 << int(np.ceil(np.log2(len(x) + len(y))))
    found = np.fft.irfft(np.conj(np.fft.rfft(x, n)) * np.fft.rfft(y, n))
    at = int(np.argmax(np.abs(found)))
    share = float(found[at] / np.sqrt(np.sum(x**2.0) * np.sum(y**2.0)))
    return share, at if at < n // 2 else at - n


def pikaraoke(folder: Path) -> None:
    from pikaraoke.lib.ffmpeg import build_ffmpeg_cmd
    from pikaraoke.lib.file_resolver import FileResolver
    from pikaraoke.lib.song_list import SongList

    songs = SongList()
    for path in sorted(folder.rglob("*.*")):
        if not songs.add_if_valid(str(path)):
            continue
        ours = decode(Path(FileResolver(str(path), "mp4").file_path or ""))
        for name, options in (
            ("plain", {"normalize_audio": False}),
            ("normalised", {"normalize_audio": True}),
            ("transposed", {"normalize_audio": False, "semitones": 2}),
        ):
            resolver = FileResolver(str(path), "mp4")  # a name of its own
            command = build_ffmpeg_cmd(resolver, force_mp4_encoding=True, **options)
            line = [*command.compile()]
            done = subprocess.run(line, capture_output=True, check=False)
            if done.returncode:
                print(f"{path.name}: {name}: {done.stderr.decode()[-200:]}")
                continue
            share, late = correlation(ours, decode(Path(resolver.output_file)))
            print(
                f"{path.name}: {name}: correlation {share:.3f}, {late} samples late, "
                f"duration {resolver.duration} s"
            )


def stempeg(folder: Path) -> None:
    import stempeg as library

    for path in sorted(folder.rglob("*.stem.mp4")):
        stems, rate = library.read_stems(str(path))
        error = np.sum(stems[1:], axis=0) - stems[0]
        level = 10 * np.log10(np.mean(error**2) / np.mean(stems[0] ** 2))
        print(f"{path.name}: stempeg {stems.shape} at {rate} Hz, sum {level:.1f} dB")


if __name__ == "__main__":
    pikaraoke(Path(sys.argv[1]))
    stempeg(Path(sys.argv[2]))
