"""Every way a delegate can fail, tried for real, with the sentence a user reads.

    python -m tools.ci.probe_table [--runtime NAME]

Compiles the delegates of tests/delegates, lets `edgestem.devices.probe` try each on a
test model, then walks the faults of a Coral through made-up /sys and /dev trees.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from edgestem.devices import choice as devices
from edgestem.devices import coral, probe
from edgestem.network import runtime
from edgestem.network.reading import read_config

TESTS = Path(__file__).parents[2] / "tests"
MODEL = TESTS / "data/tiny.tflite"
TIME_LIMIT = 5.0  # of a trial that hangs
Row = tuple[str, str]


def delegates(folder: Path, name: str | None) -> Iterator[Row]:
    """Try each test delegate; what works says how far its mask is off."""
    sys.path.insert(0, str(TESTS))
    import libraries

    for label in libraries.LIBRARIES:
        library = libraries.build(label, folder)
        job = probe.Trial(str(MODEL), str(MODEL), library, {}, name)
        limit = TIME_LIMIT if "hang" in label else probe.TIME_LIMIT
        yield label, told(probe.probe(job, limit))
    said = {"text": "the sky is too blue"}
    refuse = libraries.build("refuse", folder)
    job = probe.Trial(str(MODEL), str(MODEL), refuse, said, name)
    yield "refuse, with a text", told(probe.probe(job))


def told(done: probe.Probe) -> str:
    return done.reason or (
        f"works: {done.n_partitions} part of the model, mask off the CPU's by up to "
        f"{done.max_difference:.4f}"
    )


def files(folder: Path, name: str | None) -> Iterator[Row]:
    """Files that are no library at all, and libraries that are not there."""
    text = folder / "text.so"
    text.write_text("not a library\n" * 99)
    for label, library in (("no library", text), ("no file", folder / "none.so")):
        job = probe.Trial(str(MODEL), str(MODEL), str(library), {}, name)
        yield label, told(probe.probe(job))
    config = read_config(MODEL)
    for device in ("delegate:/nowhere/lib.so", *devices.KINDS):
        parsed = devices.parse_device(device)
        if devices.find_library(parsed) is None:
            yield device, told(devices.try_device(parsed, config, name))


def corals(root: Path) -> Iterator[Row]:
    """What is said when libedgetpu refuses without a word."""
    yield "coral, not there", coral.why_refused(coral.look(root, 4096))
    pci = root / "sys/bus/pci/devices/0"
    pci.mkdir(parents=True)
    (pci / "vendor").write_text("0x1ac1")
    (pci / "device").write_text("0x089a")
    yield "coral, 16 KiB pages", coral.why_refused(coral.look(root, 16384))
    yield "coral, no driver", coral.why_refused(coral.look(root, 4096))
    node = root / "dev/apex_0"
    node.parent.mkdir()
    node.touch()
    with mock.patch.object(coral.os, "access", lambda *_: False):
        yield "coral, no rights", coral.why_refused(coral.look(root, 4096))
    yield "coral, busy", coral.why_refused(coral.look(root, 4096))
    usb = coral.Coral((root / "dev/bus/usb/001/007",), 0, (), 4096)
    yield "usb coral, no rights", coral.why_refused(usb)


def signals() -> Iterator[Row]:
    """Deaths that a test library cannot die on purpose everywhere."""
    for number in (4, 6, 9):
        done = probe._verdict({"stage": "load"}, -number)
        yield f"signal {number}", done.reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", help="ai-edge-litert or tflite-runtime")
    name = parser.parse_args().runtime or next(iter(runtime.installed()))
    print(f"{name} {runtime.version(name)}, {MODEL.name}\n")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for rows in (delegates(place, name), files(place, name), signals()):
            show(rows)
        show(corals(place / "system"))


def show(rows: Iterator[Row]) -> None:
    for label, sentence in rows:
        print(f"{label:26} {sentence}", flush=True)


if __name__ == "__main__":
    main()
