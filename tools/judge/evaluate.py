"""How good are the stems: every system on the same songs, in one run.

    python -m tools.judge.evaluate SONGS --checkpoint models/karaoke.pt \\
        --teacher TEACHER/spleeter.npz --report docs/evaluation.md --extra

For every song found below SONGS (see tools/pool/songs.py for the layouts), at its
natural level: full-track SDR and the SDR of BSSEval v4 (median of 1 s windows) of
both stems, and what is left of the vocals in the instrumental, by band
(tools/judge/metrics.py).  Systems: each --model through the engine, the float
checkpoint, Spleeter 2stems float (both official nets, mask zero above 11 kHz as
published), the same with its mask kept as "the rest" above 11 kHz, the same nets
in post-training int8 through TFLite, centre cancellation, the mixture as it is,
and the ideal ratio mask.  Songs that chose constants and songs that chose nothing are
reported apart (tools/judge/halves.py).  --report writes a page and its pictures;
--extra adds loudness, 48 kHz, songs without vocals, a cappella
(tools/judge/robustness.py); --keep
remembers each system's figures of each song, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgestem.network.catalogue import model_path
from edgestem.network.reading import read_config
from tools.bench.footprint import footprint
from tools.export.spleeter import Net
from tools.judge import halves, metrics, systems
from tools.judge.report import page, plot, spectrograms
from tools.judge.robustness import extra_sections
from tools.judge.systems import System
from tools.nets.checkpoint import rest_beside
from tools.pool import songs

RATE = 44100
# Per song: both SDRs of both stems, and the two rows of metrics.leakage.
Scores = halves.Scores


def engine_row(model: str) -> str:
    return f"edgestem {Path(model).stem} int8"


def build(args: argparse.Namespace, folder: Path) -> dict[str, System]:
    """Every system but the ideal mask, by the name of its row."""
    rows: dict[str, System] = {
        engine_row(m): systems.through_engine(m, args.runtime) for m in args.model
    }
    for path in args.checkpoint:
        rows[f"edgestem {path.stem} float"] = systems.student(path)
    if args.teacher:
        peer = systems.remembered(systems.spleeter(args.teacher))
        rows["Spleeter 2stems float"] = peer
        rows["Spleeter 2stems float, full band"] = systems.full_band(peer)
        rows["Spleeter 2stems int8"] = systems.spleeter_int8(
            args.teacher, [m for _, m, _, _ in mixtures(args.songs, 13)], folder
        )
    rows["centre cancellation"] = systems.centre_cancellation
    rows["mixture as it is"] = systems.as_it_is
    return rows


def mixtures(
    root: Path, seconds: int | None = None
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (name, mixture, vocals, instrumental) of every song, or of its start."""
    for song in songs.find(root):
        vocals, rest = songs.load(song)
        if seconds:
            vocals, rest = vocals[: seconds * RATE], rest[: seconds * RATE]
        yield song.name, np.ascontiguousarray(vocals + rest), vocals, rest


def score(truths: systems.Pair, estimates: systems.Pair) -> dict[str, list[float]]:
    pairs = list(zip(truths, estimates, strict=True))
    return {
        "sdr": [songs.sdr(t, e) for t, e in pairs],
        "bsseval": metrics.bsseval(truths, estimates, RATE),
        **metrics.leakage(*truths, estimates[1], RATE),
    }


class Kept:
    """Figures of an earlier run, in a folder: a file for each system and song."""

    def __init__(self, folder: Path | None, made_of: dict[str, str]) -> None:
        self.folder, self.made_of = folder, made_of
        if folder:
            folder.mkdir(parents=True, exist_ok=True)

    def path(self, system: str, song: str, truths: systems.Pair) -> Path | None:
        """Where the figures are of what this system is now, on these samples."""
        if self.folder is None:
            return None
        found = hashlib.sha256(f"{system} {self.made_of.get(system, '')}".encode())
        for stem in truths:
            found.update(np.ascontiguousarray(stem))
        return self.folder / f"{song}-{found.hexdigest()[:24]}.json"


def made_of(args: argparse.Namespace) -> dict[str, str]:
    """What each of our systems depends on, by the name of its row."""
    out = {engine_row(m): read_config(model_path(m)).digest for m in args.model}
    for path in args.checkpoint:
        files = [p for p in (path, rest_beside(path)) if p.exists()]
        digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
        out[f"edgestem {path.stem} float"] = " ".join(digests)
    return out


def evaluate(root: Path, rows: dict[str, System], kept: Kept) -> Scores:
    """Row -> song -> scores; one estimate in memory at a time."""
    results: Scores = {name: {} for name in [*rows, "ideal ratio mask"]}
    for song, mixture, vocals, rest in mixtures(root):
        print(f"evaluate: {song}", file=sys.stderr)
        for name in results:
            path = kept.path(name, song, (vocals, rest))
            if path and path.exists():
                results[name][song] = json.loads(path.read_text())
                continue
            if name in rows:
                estimates = rows[name](mixture)
            else:
                estimates = systems.ideal(vocals, rest)
            results[name][song] = score((vocals, rest), estimates)
            if path:
                path.write_text(json.dumps(results[name][song]))
            del estimates
            gc.collect()
    if not results["ideal ratio mask"]:
        raise SystemExit(f"evaluate: no song with known stems below {root}")
    return results


def footprints(args: argparse.Namespace, folder: Path) -> dict[str, dict]:
    """RTF and memory of the nets that TFLite runs; Spleeter's are two."""
    nets = {engine_row(m): model_path(m) for m in args.model}
    if args.teacher:
        plain = folder / "spleeter_float.tflite"
        Net(dict(np.load(args.teacher)), systems.SPLEETER_FRAMES, {}).write(plain)
        nets["Spleeter 2stems float"] = plain
        nets["Spleeter 2stems int8"] = folder / "vocals_int8.tflite"
    out: dict[str, dict] = {}
    for _ in range(3):  # in turns, and the quietest turn counts: others work here too
        for name, path in nets.items():
            turn = footprint(path, args.runtime)
            turn["rtf"] = min(turn["rtf"], out.get(name, turn)["rtf"])
            out[name] = turn
    for name in out:
        if name.startswith("Spleeter"):
            out[name]["rtf"] *= 2
    return out


def picture_name(args: argparse.Namespace) -> str:
    return args.report.with_suffix(".png").name if args.report else "-"


def shown_command(args: argparse.Namespace) -> str:
    """Say how it was run, without this machine's paths."""
    parts = ["python -m tools.judge.evaluate SONGS"]
    parts += [f"--model {Path(m).stem}" for m in args.model]
    if args.runtime:
        parts.append(f"--runtime {args.runtime}")
    parts += [f"--checkpoint {path.name}" for path in args.checkpoint]
    if args.teacher:
        parts.append("--teacher TEACHER/spleeter.npz")
    parts += ["--extra"] * args.extra
    if args.json:
        parts.append(f"--json {args.json.name}")
    if args.report or not args.json:
        parts.append(f"--report {args.report.name if args.report else 'PAGE.md'}")
    return " ".join(parts)


def worst_song(results: Scores) -> str:
    """Where the first row is furthest behind Spleeter (else: simply worst)."""
    ours = next(iter(results.values()))
    peer = results.get("Spleeter 2stems float", {})

    def lead(song: str) -> float:
        return ours[song]["sdr"][1] - (peer[song]["sdr"][1] if peer else 0)

    return min(ours, key=lead)


def write_report(args: argparse.Namespace, data: dict, rows: dict[str, System]) -> None:
    """The page, its plot, and what the first system did to its worst song."""
    args.report.write_text(page(data, picture_name(args)))
    plot(data, args.report.with_suffix(".png"))
    worst = worst_song(data["scores"])
    first = next(iter(rows))
    for name, mixture, _, rest in mixtures(args.songs):
        if name == worst:
            estimate = rows[first](mixture)[1]
            span = loudest(estimate - rest, 12 * RATE)
            panels = {
                "mixture": mixture[span],
                "true instrumental": rest[span],
                "estimated instrumental": estimate[span],
                "error": (estimate - rest)[span],
            }
            path = args.report.with_name(f"{args.report.stem}-worst.png")
            spectrograms(path, f"{name}, {first}", panels)


def loudest(x: np.ndarray, n_samples: int) -> slice:
    """Find the stretch of so many samples, on whole seconds, with the most energy."""
    energy = np.concatenate([[0], np.cumsum(np.sum(np.float64(x) ** 2, axis=1))])
    starts = np.arange(0, max(1, len(x) - n_samples), RATE)
    ends = np.minimum(starts + n_samples, len(x))
    start = int(starts[np.argmax(energy[ends] - energy[starts])])
    return slice(start, start + n_samples)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model", action="append", help="name or .tflite; repeatable")
    parser.add_argument("--runtime", help="TFLite distribution; default the fastest")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="float weights: karaoke.pt, stage.pt or live.pt; repeatable",
    )
    parser.add_argument("--teacher", type=Path, help="spleeter.npz of tools/spleeter")
    parser.add_argument("--extra", action="store_true", help="loudness, 48 kHz ...")
    parser.add_argument("--report", type=Path, help="write this .md and its .png")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--keep", type=Path, help="folder of figures to go on from")
    parser.add_argument("--sidecar", type=Path, help="put the means into this sidecar")
    args = parser.parse_args()
    args.model = args.model or ["karaoke"]
    return args


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="evaluate-") as name:
        folder = Path(name)
        rows = build(args, folder)
        results = evaluate(args.songs, rows, Kept(args.keep, made_of(args)))
        speed = footprints(args, folder)
    extra = extra_sections(args, rows) if args.extra else {}
    data = {
        "scores": results,
        "footprint": speed,
        "extra": extra,
        "commands": [shown_command(args)],
    }
    if args.json:
        args.json.write_text(json.dumps(data, indent=1) + "\n")
    if args.sidecar:
        sidecar = json.loads(args.sidecar.read_text())
        sidecar["figures"] = halves.figures(results)
        args.sidecar.write_text(json.dumps(sidecar, indent=1) + "\n")
    print(page(data, picture_name(args)))
    if args.report:
        write_report(args, data, rows)


if __name__ == "__main__":
    main()
