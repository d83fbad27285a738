"""The shell's words about hardware: devices, doctor, bench, lint.

Each takes its arguments and returns (text for stdout, exit status).
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli.values import filled, real, threads
from edgestem.network.choices import DEFAULT
from edgestem.network.choices import RUNTIMES as _MODULES

if TYPE_CHECKING:
    from edgestem.network.compute import Compute

RUNTIMES = tuple(distribution for _, distribution in _MODULES)
Parser = argparse.ArgumentParser


def add_parsers(command: Callable[[str, str], Parser]) -> None:
    """Add the four commands to the command line."""
    devices = command("devices", "show where the network can run, or why not")
    devices.add_argument("--try", dest="names", action="append", metavar="DEVICE",
        help="only this one: coral:usb, delegate:/path/lib.so ...")  # fmt: skip
    doctor = command("doctor", "print one page about this machine for a bug report")
    bench = command("bench", "measure each stage on this machine")
    bench.add_argument("--seconds", type=real(0.1, 3600), default=20.0, metavar="S",
        help="of audio, 0.1 to 3600 (default: 20)")  # fmt: skip
    bench.add_argument("--save", type=Path, metavar="FILE", help="write a reference")
    bench.add_argument("--compare", type=Path, metavar="FILE",
        help="warn when slower or faster than this reference")  # fmt: skip
    lint = command("lint", "check a model against the Edge TPU's rules")
    lint.add_argument("files", nargs="+", type=filled, metavar="MODEL",
        help="name or .tflite file")  # fmt: skip
    lint.add_argument("--target", choices=("edgetpu",), default="edgetpu")
    for parser in (devices, doctor):
        add_model_option(parser)
    add_network_options(bench)
    for parser in (devices, bench):
        add_options(parser, is_bench=parser is bench)
    for parser in (devices, doctor, bench, lint):
        parser.add_argument("--json", action="store_true", help="print JSON")


def add_model_option(parser: Parser, default: str = DEFAULT) -> None:
    """Add --model; `default` is for people, the parser says None."""
    parser.add_argument("--model", type=filled, metavar="MODEL",
        help=f"name or .tflite file (default: {default})")  # fmt: skip


def add_network_options(
    parser: Parser, default: str = DEFAULT, threads_default: str = "1"
) -> None:
    """Add the options that choose a network and who runs it."""
    add_model_option(parser, default)
    parser.add_argument("--threads", type=threads, metavar="N",
        help=f"threads of the network (default: {threads_default})")  # fmt: skip
    parser.add_argument("--runtime", choices=RUNTIMES,
        help="TFLite runtime (default: the fastest installed)")  # fmt: skip


def add_options(parser: Parser, is_bench: bool = True) -> None:
    """Add the options that choose a device."""
    if is_bench:
        parser.add_argument("--device", default="auto",
            help="auto, cpu, coral[:usb|:pci|:N], armnn, gpu or "
            "delegate:/path/lib.so (default: auto)")  # fmt: skip
        parser.add_argument("--no-fallback", dest="fallback", action="store_false",
            help="fail where the device is refused, do not go to the CPU")  # fmt: skip
    parser.add_argument("--delegate-opt", dest="delegate_options", action="append",
        default=[], metavar="KEY=VALUE", type=_key_value,
        help="hand an option to the device's library")  # fmt: skip


def make_compute(args: argparse.Namespace) -> Compute:
    """Turn the options of the network and the device into what they ask for."""
    from edgestem.network.compute import Compute

    return Compute(
        threads=args.threads,
        fft=getattr(args, "fft", "auto"),
        runtime=args.runtime,
        device=args.device,
        device_options=dict(args.delegate_options),
        fallback=args.fallback,
    )


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text}")
    return key, value


def run(args: argparse.Namespace) -> tuple[str, int]:
    """Do a command."""
    return {"devices": _devices, "doctor": _doctor, "bench": _bench, "lint": _lint}[
        args.command
    ](args)


def _devices(args: argparse.Namespace) -> tuple[str, int]:
    from edgestem.devices.choice import AUTO
    from edgestem.diagnose.doctor import device_lines, survey, to_json
    from edgestem.network.catalogue import model_path
    from edgestem.network.reading import read_config

    config = read_config(model_path(args.model or DEFAULT))
    names = tuple(args.names or AUTO)
    found = survey(config, names, dict(args.delegate_options))
    lines = device_lines(found, is_verbose=args.verbose)
    text = json.dumps(to_json(found)) if args.json else "\n".join(lines)
    refused = any(done is None or done.reason for done in found.values())
    return text, 1 if args.names and refused else 0


def _doctor(args: argparse.Namespace) -> tuple[str, int]:
    from dataclasses import asdict

    from edgestem.diagnose.doctor import examine, worst

    lines = list(examine(args.model or DEFAULT))
    text = "\n".join(line.in_full() if args.verbose else str(line) for line in lines)
    if args.json:
        text = json.dumps([asdict(line) for line in lines])
    return text, 1 if worst(lines) == "fail" else 0


def _bench(args: argparse.Namespace) -> tuple[str, int]:
    from dataclasses import asdict

    from edgestem.diagnose.bench import Comparison, bench, compare, save, to_lines

    result = bench(
        args.seconds, model=args.model or DEFAULT, threads=args.threads,
        runtime=args.runtime, device=args.device,
        device_options=dict(args.delegate_options),
        fallback=args.fallback,
    )  # fmt: skip
    found = compare(result, args.compare) if args.compare else Comparison()
    if args.save:
        save(result, args.save)
    text = "\n".join(to_lines(result) + found.lines)
    if args.json:
        text = json.dumps(asdict(result) | {"comparison": found.lines})
    return text, 0 if found.is_alike else 1


def _network(name: str) -> Path:
    """Find the .tflite file of a model's name, or of a path to any such file."""
    from edgestem.network.catalogue import model_path
    from edgestem.network.reading import read_config

    if name.endswith(".tflite") or os.path.exists(name):  # noqa: PTH110 - never raises
        return Path(name)
    return read_config(model_path(name)).path


def _lint(args: argparse.Namespace) -> tuple[str, int]:
    from edgestem.lint.report import lint, to_lines

    reports = [lint(_network(name)) for name in args.files]
    if args.json:
        text = json.dumps([report.to_json() for report in reports])
    else:
        text = "\n\n".join("\n".join(to_lines(report)) for report in reports)
    return text, 0 if all(report.is_clean for report in reports) else 1
