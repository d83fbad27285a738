"""The network alone, one thread, beside Spleeter's in TFLite float, one run.

    python -m tools.export.spleeter TEACHER/spleeter.npz SPLEETER
    python -m tools.bench.network models/karaoke.tflite SPLEETER/spleeter_float.tflite

RTF per second of audio that comes out: a block net's context frames are paid for.
Spleeter 2stems runs two such nets, so its figure counts twice.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from edgestem.network.runtime import installed
from tools.bench.footprint import call_of


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ours", type=Path)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    for runtime in installed():
        nets = {}
        for path in (args.ours, args.peer):
            call, seconds = call_of(path, runtime)
            call()
            nets[path] = (call, seconds, [])
        for _ in range(args.rounds):
            for call, seconds, rtf in nets.values():
                start = time.perf_counter()
                call()
                rtf.append((time.perf_counter() - start) / seconds)
        ours, peer = (statistics.median(n[2]) for n in nets.values())
        print(f"{runtime}: RTF {ours:.4f}, peer 2 x {peer:.4f}: {2 * peer / ours:.1f}")


if __name__ == "__main__":
    main()
