"""Count the work per second of audio: kernel, network, and Spleeter's in the same run.

    python -m tools.bench.instructions.table [--spleeter DIR] [--arm64 FOLDER] MODEL

x86-64 with callgrind; aarch64 with qemu-user and a counting plugin when FOLDER (of
tools/ci/arm/run.sh arm64) is given.  DIR is what tools/export/spleeter.py wrote.  Then
an estimate for Raspberry Pis whose assumptions are printed beside it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
# Spleeter fp16 on one Cortex-A76 thread, as sherpa-onnx publishes it (RK3588).
SPLEETER_RTF_A76 = 0.258
# Board, core for qemu, clock in GHz, instructions per cycle that int8 and float SIMD
# code reaches on it: assumed, from the cores' issue widths (A53: two, in order, with a
# 64-bit SIMD path; A72: three; A76: four, two 128-bit SIMD pipes).
# What /proc/cpuinfo shows on the boards, for the libraries that choose kernels by it.
CPUINFO = """processor\t: {number}
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part}
CPU revision\t: 4

"""
BASE = "fp asimd evtstrm crc32 cpuid"
CORES = {
    "cortex-a53": ("0xd03", BASE),
    "cortex-a72": ("0xd08", BASE),
    "cortex-a76": ("0xd0b", f"{BASE} atomics fphp asimdhp asimdrdm lrcpc asimddp"),
}
BOARDS = (
    ("Pi 3 / Zero 2", "cortex-a53", 1.2, 0.7),
    ("Pi 4", "cortex-a72", 1.5, 1.2),
    ("Pi 5", "cortex-a76", 2.4, 2.0),
)


def build(source: str, folder: Path) -> Path:
    library = folder / f"{source}.so"
    subprocess.run(
        [
            *("cc", "-std=c11", "-O2", "-shared", "-fPIC"),
            *(str(HERE / f"{source}.c"), "-o", str(library)),
        ],
        check=True,
    )
    return library


class X86:
    """This machine, below callgrind; valgrind hides AVX-512 from the programs."""

    name = "x86-64"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = build("marker", folder)

    def run(self, part: str, model: Path, runtime: str) -> tuple[int, float, str]:
        out = self.folder / "callgrind.out"
        environment = os.environ | {
            "EDGESTEM_MARKER": str(self.marker),
            "PYTHONPATH": str(PROJECT),
        }
        result = subprocess.run(
            [
                *("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"),
                *("--collect-atstart=no", sys.executable),
                *(str(HERE / "measure.py"), part, str(model), runtime),
            ],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        (total,) = (x for x in out.read_text().splitlines() if x.startswith("summary"))
        return int(total.split()[1]), *about(result.stdout)


class Arm64:
    """The aarch64 userland, below qemu with the counting plugin."""

    def __init__(self, folder: Path, root: Path, cpu: str) -> None:
        self.name, self.root, self.cpu = f"aarch64 {cpu}", root, cpu
        self.plugin = build("count", folder)
        part, features = CORES[cpu]
        text = "".join(
            CPUINFO.format(number=i, part=part, features=features) for i in range(4)
        )
        # qemu looks below the root first, so these stand for the machine's own.
        (root / "proc/cpuinfo").write_text(text)
        cpus = root / "sys/devices/system/cpu"
        cpus.mkdir(parents=True, exist_ok=True)
        for name in ("possible", "present"):
            (cpus / name).write_text("0-3\n")

    def run(self, part: str, model: Path, runtime: str) -> tuple[int, float, str]:
        site = "/venv/lib/python3.11/site-packages"
        environment = os.environ | {"PYTHONHOME": "/usr", "PYTHONPATH": site}
        environment.pop("EDGESTEM_MARKER", None)
        result = subprocess.run(
            [
                *("qemu-aarch64", "-cpu", self.cpu, "-L", str(self.root)),
                *("-plugin", str(self.plugin), f"{self.root}/usr/bin/python3.11"),
                *(str(HERE / "measure.py"), part, str(model), runtime),
            ],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        marks = [
            int(line.split()[1])
            for line in result.stderr.splitlines()
            if line.startswith("@instructions")
        ]
        return marks[-1] - marks[-2], *about(result.stdout)


def about(out: str) -> tuple[float, str]:
    """Seconds of audio, and what did the work."""
    *others, last = out.splitlines()
    return float(last.split()[1]), others[-1]


def measure(
    machine: X86 | Arm64, model: Path, spleeter: Path | None, runtimes: list[str]
) -> dict[str, float]:
    """Instructions per second of audio of every part, in millions."""
    rows = {}
    parts = [("analysis", model, ""), ("synthesis", model, "")]
    for runtime in runtimes:
        parts.append(("network", model, runtime))
        if spleeter is not None:
            parts += [
                ("network", spleeter / f"spleeter_{kind}.tflite", runtime)
                for kind in ("float", "int8")
            ]
    for part, path, runtime in parts:
        count, seconds, who = machine.run(part, path, runtime)
        label = part if part != "network" else f"{path.stem} {runtime}"
        rows[label] = count / seconds / 1e6
        print(f"{machine.name:22} {label:34} {rows[label]:9.1f} M/s  {who}", flush=True)
    return rows


def estimate(
    board: str, ghz: float, ipc: float, rows: dict, model: Path, runtimes: list[str]
) -> None:
    """RTF by instructions / (clock * IPC), and by the ratio to Spleeter's."""
    kernel = rows["analysis"] + rows["synthesis"]
    for runtime in runtimes:
        ours = kernel + rows[f"{model.stem} {runtime}"]
        line = f"{board:14} {runtime:15} {ours / 1000 / (ghz * ipc):6.3f} by clock"
        if f"spleeter_float {runtime}" not in rows:
            print(line)
            continue
        theirs = 2 * rows[f"spleeter_float {runtime}"]
        print(
            f"{line}, {ours / theirs:6.3f} of two Spleeter nets"
            + (f", {SPLEETER_RTF_A76 * ours / theirs:.3f} by that ratio to its "
               f"published {SPLEETER_RTF_A76}" if board == "Pi 5" else "")
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--spleeter", type=Path, help="without: only our model")
    parser.add_argument("--no-x86", action="store_true", help="only --arm64")
    parser.add_argument(
        "--arm64", type=Path, help="folder of tools/ci/arm/run.sh arm64"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, help="only this one")
    args = parser.parse_args()
    runtimes = [args.runtime] if args.runtime else list(RUNTIMES)
    model, spleeter = args.model.resolve(), args.spleeter and args.spleeter.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not args.no_x86:
            measure(X86(folder), model, spleeter, runtimes)
        if args.arm64 is None:
            return
        root = args.arm64.resolve() / "root"
        for board, cpu, ghz, ipc in BOARDS:
            rows = measure(Arm64(folder, root, cpu), model, spleeter, runtimes)
            print(f"  {board}: one thread at {ghz} GHz, {ipc} instructions a cycle:")
            estimate(board, ghz, ipc, rows, model, runtimes)


if __name__ == "__main__":
    main()
