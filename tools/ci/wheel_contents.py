"""Check what a wheel holds: all rooms, the shipped models, and nothing else.

    python tools/ci/wheel_contents.py FILE.whl PROJECT

One sentence for each fault; exit status 1 if there is one.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MODELS_BYTES = 28_000_000  # zipped, all models together: the project's budget
# Top folder in the wheel -> ends of names that may be in it; .dist-info is checked by
# auditwheel and pip.
MAY = {
    "edgestem": {".py", ".so", "py.typed", "page.html"},
    "_edgestem_models": {".tflite", ".json", "__init__.py", "MODEL_CARD.md"},
    "_edgestem_units": {".service", ".socket", ".path", "__init__.py"},
}
# What the folders are called in the project.
SOURCES = {
    "edgestem": "edgestem",
    "_edgestem_models": "models",
    "_edgestem_units": "packaging/systemd",
}


def faults(wheel: Path, project: Path) -> list[str]:
    """List what is wrong with a wheel of this project."""
    with zipfile.ZipFile(wheel) as archive:
        infos = {i.filename: i for i in archive.infolist() if not i.is_dir()}
    return [*_missing(set(infos), project), *_strangers(infos), *_sizes(infos)]


def _missing(names: set[str], project: Path) -> Iterator[str]:
    """Yield files that git knows and the wheel lacks."""
    for top, folder in SOURCES.items():
        for path in _tracked(project, folder):
            name = f"{top}/{path}"
            if _may(PurePosixPath(name)) and name not in names:
                yield f"{name} is missing"
    if not any(n.startswith("edgestem/_native") for n in names):
        yield "the compiled kernel is missing"


def _tracked(project: Path, folder: str) -> list[str]:
    """Names of the files that git knows below a folder, relative to it."""
    listed = subprocess.run(
        ["git", "-C", project / folder, "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name]


def _may(path: PurePosixPath) -> bool:
    return bool({path.suffix, path.name} & MAY.get(path.parts[0], set()))


def _strangers(names: dict[str, zipfile.ZipInfo]) -> Iterator[str]:
    for name in names:
        path = PurePosixPath(name)
        if not path.parts[0].endswith(".dist-info") and not _may(path):
            yield f"{name} has no business in a wheel"


def _sizes(infos: dict[str, zipfile.ZipInfo]) -> Iterator[str]:
    size = models_size(infos)
    if size > MODELS_BYTES:
        yield f"models have {size} bytes zipped, more than {MODELS_BYTES}"


def models_size(infos: dict[str, zipfile.ZipInfo]) -> int:
    """Size of all models as they lie in the wheel, bytes."""
    return sum(i.compress_size for name, i in infos.items() if ".tflite" in name)


def main(wheel: Path, project: Path) -> int:
    """Print faults, or what was found."""
    found = faults(wheel, project)
    for sentence in found:
        print(f"{wheel.name}: {sentence}", file=sys.stderr)
    with zipfile.ZipFile(wheel) as archive:
        infos = {i.filename: i for i in archive.infolist()}
    print(f"{len(infos)} files, models {models_size(infos) / 1e6:.1f} MB zipped")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
