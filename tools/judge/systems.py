"""The systems that tools.judge.evaluate puts side by side.

A system is a function: mixture, float32 (n_samples, 2) at its rate, to the pair
(vocals, instrumental) of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import edgestem
from edgestem.network.runtime import open_interpreter
from tools.export import live as export_live
from tools.export.spleeter import write_pair
from tools.judge import blocks
from tools.nets import spectrum, stage
from tools.nets.bands import SYNTHESIS
from tools.nets.checkpoint import load_model
from tools.nets.unet import Teacher, UNet, ratio_mask
from tools.teach.spleeter import N_BINS
from tools.train.live import live_vocals

Pair = tuple[np.ndarray, np.ndarray]
System = Callable[[np.ndarray], Pair]
SPLEETER_FRAMES = 512


def through_engine(model: str, runtime: str | None, rate: int = 44100) -> System:
    separator = edgestem.Separator(rate, 2, model=model, runtime=runtime)

    def run(mixture: np.ndarray) -> Pair:
        separator.reset()
        parts = zip(separator.push(mixture), separator.flush(), strict=True)
        late = separator.latency_samples
        vocals, rest = (np.concatenate(p)[late:] for p in parts)
        return vocals, rest

    return run


def by_mask(
    make: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> System:
    """Estimates from a function (padded samples, X) -> masks of both stems."""

    @torch.no_grad()
    def run(mixture: np.ndarray) -> Pair:
        x, X = spectrum.song_spectrum(mixture)
        masks = make(x, X)
        vocals, rest = (
            spectrum.overlap_add(m * X, len(mixture)).T.numpy() for m in masks
        )
        return vocals, rest

    return run


def spleeter(path: Path) -> System:
    """Both official nets in float, nothing above 11 kHz, as published."""
    weights = dict(np.load(path))
    teachers = (Teacher(weights, "vocals"), Teacher(weights, "accompaniment"))

    def masks(x: torch.Tensor, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vocals = blocks.teacher_mask(X, teachers)
        rest = 1 - vocals
        rest[:, :, N_BINS:] = 0
        return vocals, rest

    return by_mask(masks)


def remembered(run: System) -> System:
    """Answer the same mixture again without work."""
    last: list = [None, None]

    def again(mixture: np.ndarray) -> Pair:
        if mixture is not last[0]:
            last[:] = [mixture, run(mixture)]
        return last[1]

    return again


def full_band(run: System) -> System:
    """The instrumental as what the vocals leave: with what is above 11 kHz."""

    def rest_of(mixture: np.ndarray) -> Pair:
        vocals, _ = run(mixture)
        return vocals, mixture - vocals

    return rest_of


def spleeter_int8(path: Path, songs: list[np.ndarray], folder: Path) -> System:
    """Both nets after plain post-training quantisation, run by TFLite.

    Calibrated on the first patch of each song that is going to be measured, which
    is kinder than any user could be.
    """
    patches = []
    for song in songs:
        X = spectrum.song_spectrum(song)[1][:, :SPLEETER_FRAMES, :N_BINS].abs()
        X = torch.nn.functional.pad(X, (0, 0, 0, SPLEETER_FRAMES - X.shape[1]))
        patches.append(X.permute(1, 2, 0)[None].numpy())
    paths = write_pair(dict(np.load(path)), folder, patches)
    nets = [open_interpreter(p)[0] for p in paths]

    def masks(x: torch.Tensor, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vocals = torch.zeros(X.shape)
        for start in range(0, X.shape[1], SPLEETER_FRAMES):
            part = X[:, start : start + SPLEETER_FRAMES, :N_BINS].abs()
            n = part.shape[1]
            part = torch.nn.functional.pad(part, (0, 0, 0, SPLEETER_FRAMES - n))
            feats = part.permute(1, 2, 0)[None].numpy()
            stems = [torch.from_numpy(invoke_int8(net, feats)) for net in nets]
            mask = ratio_mask(*stems)[0].permute(2, 0, 1)
            vocals[:, start : start + n, :N_BINS] = mask[:, :n]
        rest = 1 - vocals
        rest[:, :, N_BINS:] = 0
        return vocals, rest

    return by_mask(masks)


def invoke_int8(net, x: np.ndarray) -> np.ndarray:
    """Real numbers in and out of an int8 net."""
    source, sink = net.get_input_details()[0], net.get_output_details()[0]
    scale, zero = source["quantization"]
    net.set_tensor(
        source["index"], np.int8(np.clip(np.round(x / scale) + zero, -128, 127))
    )
    net.invoke()
    scale, zero = sink["quantization"]
    return (np.float32(net.get_tensor(sink["index"])) - zero) * np.float32(scale)


def by_vocals(separate: Callable[[np.ndarray], np.ndarray]) -> System:
    """Estimates from a function mixture -> vocals; the rest is the instrumental."""

    def run(mixture: np.ndarray) -> Pair:
        vocals = separate(mixture)
        return vocals, mixture - vocals

    return run


def student(path: Path) -> System:
    """The float weights of one of our models, as its training measures them."""
    name = path.stem
    if name == "live":
        live, _ = export_live.load_net(path)
        return by_vocals(lambda mixture: live_vocals(live, mixture, SYNTHESIS))
    net = load_model(path)
    if name in stage.HOPS and isinstance(net, UNet):
        hop = stage.HOPS[name]
        return by_vocals(lambda mixture: stage.stage_vocals(net, mixture, hop))
    return by_vocals(lambda mixture: blocks.vocals_of(net, mixture))


def centre_cancellation(mixture: np.ndarray) -> Pair:
    """(L - R) / 2 on both sides: what karaoke boxes did before networks."""
    side = (mixture[:, :1] - mixture[:, 1:]) / 2
    rest = np.repeat(side, 2, axis=1)
    return mixture - rest, rest


def as_it_is(mixture: np.ndarray) -> Pair:
    return mixture, mixture


def ideal(vocals: np.ndarray, rest: np.ndarray) -> Pair:
    """The ratio mask that knows the stems; a ceiling for any mask of this STFT."""
    V, R = (spectrum.song_spectrum(a)[1] for a in (vocals, rest))
    mask = V.abs() / (V.abs() + R.abs() + 1e-9)
    estimate = spectrum.overlap_add(mask * (V + R), len(vocals)).T.numpy()
    return estimate, vocals + rest - estimate
