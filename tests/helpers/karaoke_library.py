"""A small library of everything that karaoke people have, made by ffmpeg."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
SECONDS = 3
TEXT = (
    "#TITLE:Größe\r\n#ARTIST:Ünï\r\n#MP3:us.mp3\r\n#BPM:300\r\n#GAP:100\r\n"
    ": 0 4 5 La\r\n* 5 4 5  la\r\nE\r\n"
)


def ffmpeg(*words: object) -> None:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    subprocess.run(line, check=True)


def noise(seed: int, n_samples: int = RATE * SECONDS) -> np.ndarray:
    """Noise whose bursts make a delay easy to find."""
    rng = np.random.default_rng(seed)
    bursts = (np.arange(n_samples) // 2205 % 3 == 0)[:, None]
    return (rng.normal(0, 0.1, (n_samples, 2)) * bursts).astype(np.float32)


def make_library(folder: Path) -> Path:
    """Fill a folder; return it."""
    folder.mkdir(parents=True)
    wav = folder / "Plain.wav"
    soundfile.write(wav, noise(1), RATE)
    ffmpeg("-i", wav, "-metadata", "title=Tagged", folder / "Tagged.mp3")
    ffmpeg("-i", wav, "-c:a", "aac", folder / "Apple.m4a")
    (folder / "Rock").mkdir()
    soundfile.write(folder / "Rock" / "Free.flac", noise(2), RATE)
    add_videos(folder, wav)
    add_cdg(folder, wav)
    add_ultrastar(folder / "UltraStar", wav)
    return folder


def add_videos(folder: Path, wav: Path) -> None:
    picture = ("-f", "lavfi", "-i", f"testsrc=size=64x64:rate=25:duration={SECONDS}")
    video = ("-c:v", "mpeg4", "-g", 10)
    both = (*picture, "-i", wav, "-map", "0:v", "-map", "1:a", *video)
    name = "Film - One---dQw4w9WgXcQ.mp4"
    ffmpeg(*both, "-c:a", "aac", "-metadata", "title=Film", folder / name)
    srt = folder / "lines.srt"
    srt.write_text("1\n00:00:00,500 --> 00:00:01,500\nLa la\n")
    ffmpeg(
        *(*picture, "-i", wav, "-i", srt, "-map", "0:v", "-map", "1:a", "-map", "2"),
        *(*video, "-c:a", "libopus", folder / "Matroska.mkv"),
    )
    srt.unlink()


def add_cdg(folder: Path, wav: Path) -> None:
    ffmpeg("-i", wav, folder / "Disc.mp3")
    cdg = np.random.default_rng(3).integers(0, 64, 7200 * SECONDS, np.uint8).tobytes()
    (folder / "Disc.cdg").write_bytes(cdg)
    with zipfile.ZipFile(folder / "Zipped.zip", "w") as archive:
        archive.write(folder / "Disc.mp3", "AB - C.mp3")
        archive.writestr("AB - C.cdg", cdg)


def add_ultrastar(folder: Path, wav: Path) -> None:
    folder.mkdir()
    ffmpeg("-i", wav, folder / "us.mp3")
    (folder / "Ünï - Größe.txt").write_bytes(TEXT.encode("cp1252"))


def decoded(path: Path | str, stream: str = "0:a:0", rate: int = RATE) -> np.ndarray:
    """Decode a stream as ffmpeg plays it, from the file's time 0."""
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", stream]
    line += ["-af", "aresample=async=1:first_pts=0", "-ar", str(rate), "-ac", "2"]
    done = subprocess.run([*line, "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, 2)


def samples(path: Path | str, rate: int = RATE) -> np.ndarray:
    """Decode a file's first sound as it comes, without regard to its times."""
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0"]
    done = subprocess.run(
        [*line, "-ac", "2", "-ar", str(rate), "-f", "f64le", "-"],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.float64).reshape(-1, 2)


def offset(x: np.ndarray, y: np.ndarray, most: int = 3000) -> int:
    """Samples by which y comes later than x, by cross-correlation."""
    a = x[5000 + most : 65000, 0] - x[5000 + most : 65000, 0].mean()
    n = 1 << 18
    b = y[5000 : 65000 + most, 0]
    product = np.fft.irfft(np.conj(np.fft.rfft(a, n)) * np.fft.rfft(b, n))
    lags = np.concatenate([product[: 2 * most]])
    return int(np.argmax(np.abs(lags))) - most


def video_hash(path: Path | str) -> str:
    """Digest of the picture's packets, untouched by containers."""
    line = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:v"]
    done = subprocess.run(
        [*line, "-c", "copy", "-f", "hash", "-"], capture_output=True, check=True
    )
    return done.stdout.decode()
