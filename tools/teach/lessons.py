"""Lessons: training mixtures with what the teacher says about them, on disk.

    python -m tools.teach.lessons LESSONS --pool POOL --teacher spleeter.npz --hours 10

The teacher's two nets cost more than a student's training step, and several
students learn from the same lessons, so its answers are computed once.  Its answer
is the mean of two views (see `views`) of more frames than the lesson keeps
(`tools.teach.teacher_views` says what that is worth on real songs).  Every lesson is an
.npz of two 6-second examples (5 MB, 0.44 MB per second of audio):

    mixture, vocals  int16 (2, 2, n_samples), 32767 is LEVEL; brought to TARGET_RMS_DB
    mask             uint8 (2, 2, n_frames, 1024), the teacher's vocals mask
    weight           float32 (2,), how far `vocals` is the truth

Running it again goes on where it stopped; the seed of a lesson is its number, so
the same pool gives the same lessons.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from tools.nets.spectrum import HOP, N_BINS, loudness_gain, stft
from tools.nets.unet import Teacher, ratio_mask
from tools.pool.mixtures import Mixtures

LEVEL = 2.0  # headroom of the int16 samples
N_FRAMES = 256
SOFTNESS = (
    0.65  # best of 0.4 to 1.25 for the averaged mask: tools/teach/teacher_views.py
)
MARGIN = 64  # frames the teacher hears on either side of a lesson


def to_int16(x: Tensor) -> np.ndarray:
    return (x / LEVEL).clamp(-1, 1).mul(32767).round().to(torch.int16).numpy()


def from_int16(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).float() * (LEVEL / 32767)


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that is there only when it is whole."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        yield file
    part.rename(path)


def soften(mask: Tensor, exponent: float = SOFTNESS) -> Tensor:
    """The teacher's mask, less sure of itself: see tools/teach/teacher_views.py."""
    vocals, rest = mask**exponent, (1 - mask) ** exponent
    return vocals / (vocals + rest)


# The softened mask in 255ths, by the mask in 255ths.
SOFTENED = (soften(torch.arange(256) / 255) * 255).round().to(torch.uint8).numpy()


class Lessons(torch.utils.data.IterableDataset):
    """Endless batches (mixture, vocals, mask, weight).

    The first half of a batch is `per_batch` lessons to learn from, the second as
    many of others, to lay over them (`tools.train.karaoke.overlay`).  The mask is what
    is to be learnt, in 255ths: the teacher's, softened, or the one in the folder
    `masks` (`tools.teach.ensemble`); there only lessons that have one are given.
    """

    per_batch = 1

    @staticmethod
    def seconds(batch: tuple[Tensor, ...]) -> float:
        """What there is to learn from in a batch."""
        return len(batch[0]) // 2 * batch[0].shape[2] / 44100

    def __init__(self, folder: Path, seed: int, masks: Path | None = None) -> None:
        self.folder, self.seed, self.masks = folder, seed, masks

    def __iter__(self):
        rng = np.random.default_rng(self.seed)
        while True:
            # Listed anew every round: lessons may still be written.
            paths = self.paths()
            rng.shuffle(paths)
            last = self.read(paths[-self.per_batch :], rng)
            for at in range(0, len(paths) - self.per_batch + 1, self.per_batch):
                new = self.read(paths[at : at + self.per_batch], rng)
                yield tuple(torch.cat(pair) for pair in zip(new, last, strict=True))
                last = new

    def paths(self) -> list[Path]:
        paths = sorted(self.folder.glob("*.npz"))
        if self.masks is None:
            return paths
        return [p for p in paths if (self.masks / f"{p.stem}.npy").exists()]

    def open(self, path: Path) -> dict[str, np.ndarray]:
        lesson = dict(np.load(path))
        if self.masks is None:
            lesson["mask"] = SOFTENED[lesson["mask"]]
        else:
            lesson["mask"] = np.load(self.masks / f"{path.stem}.npy")
        return lesson

    def read(self, paths: list[Path], rng: np.random.Generator) -> tuple:
        parts = [self.open(p) for p in paths]
        joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
        swap = slice(None, None, -1 if rng.random() < 0.5 else 1)
        mixture, vocals = (
            from_int16(np.ascontiguousarray(joined[k][:, swap]))
            for k in ("mixture", "vocals")
        )
        mask = torch.from_numpy(np.ascontiguousarray(joined["mask"][:, swap]))
        return mixture, vocals, mask, torch.from_numpy(joined["weight"])


def views(magnitude: Tensor) -> list[tuple[Tensor, slice]]:
    """What the teacher is asked about, and where its answer holds the lesson.

    Its result depends on where its grid of 64 frames begins, on the level and on
    which channel is which: errors that another view does not repeat.
    """
    shift = MARGIN // 2
    whole = magnitude, slice(MARGIN, MARGIN + N_FRAMES)
    moved = magnitude[:, :, shift : shift + N_FRAMES + MARGIN].flip(1) * 1.5
    return [whole, (moved, slice(MARGIN - shift, MARGIN - shift + N_FRAMES))]


def taught_mask(magnitude: Tensor, teachers: tuple[Teacher, Teacher]) -> Tensor:
    """Mean vocals mask of the views, (batch, 2, N_FRAMES, 1024)."""
    masks = []
    for i, (view, kept) in enumerate(views(magnitude)):
        x = view.contiguous(memory_format=torch.channels_last)
        mask = ratio_mask(*(t(x) for t in teachers))[:, :, kept]
        masks.append(mask.flip(1) if i else mask)
    return sum(masks) / len(masks)


@torch.no_grad()
def lesson(
    batch: tuple[np.ndarray, ...], teachers: tuple[Teacher, Teacher]
) -> dict[str, np.ndarray]:
    mixture, vocals = (torch.from_numpy(a) for a in batch[:2])
    kept = slice(MARGIN * HOP, -MARGIN * HOP)
    gain = loudness_gain(mixture[..., kept])
    mixture, vocals = mixture * gain, vocals * gain
    mask = taught_mask(stft(mixture)[..., :N_BINS].abs(), teachers)
    return {
        "mixture": to_int16(mixture[..., kept]),
        "vocals": to_int16(vocals[..., kept]),
        "mask": (mask * 255).round().to(torch.uint8).numpy(),
        "weight": batch[2],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lessons", type=Path)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.lessons.mkdir(parents=True, exist_ok=True)
    weights = dict(np.load(args.teacher))
    teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))
    seconds = 2 * (N_FRAMES + 3) * 1024 / 44100
    n_heard = N_FRAMES + 2 * MARGIN
    numbers = range(args.first, args.first + round(args.hours * 3600 / seconds))
    for number in numbers:
        path = args.lessons / f"{number:06d}.npz"
        if path.exists():
            continue
        batch = next(iter(Mixtures(args.pool, number, (n_heard,), 2 * n_heard)))
        with whole(path) as file:
            np.savez(file, **lesson(batch, teachers))


if __name__ == "__main__":
    main()
