"""What is in the wheel, and that the sdist does not know who built it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.ci.repack_sdist import repack
from tools.ci.wheel_contents import MODELS_BYTES, faults

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
KNOWN = pytest.mark.skipif(
    not (PROJECT / ".git").exists(), reason="no git: nobody knows what belongs here"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of $EDGESTEM_WHEEL, or one that is built here, as pip would."""
    if named := os.environ.get("EDGESTEM_WHEEL"):
        return Path(named)
    folder = tmp_path_factory.mktemp("wheel")
    names = subprocess.run(
        ["git", "-C", PROJECT, "ls-files", "-z", "--", "edgestem", "models", "native",
         "packaging", "*.toml", "setup.py", "README.md", "LICENSE", "NOTICE"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.split("\0")):
        if (PROJECT / name).exists() and not name.endswith(".pt"):
            copy = folder / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((PROJECT / name).read_bytes())
    (folder / "tree/models/left.pt").write_bytes(b"a checkpoint that lies there")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "-o", folder, folder / "tree"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (found,) = folder.glob("*.whl")
    return found


@KNOWN
def test_all_rooms_are_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    assert faults(wheel, PROJECT) == []
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    rooms = {n.split("/")[1] for n in names if n.startswith("edgestem/")}
    folders = {p.parent.name for p in PROJECT.glob("edgestem/*/__init__.py")}
    assert folders and folders <= rooms
    assert "-cp310-abi3-" in wheel.name
    assert not [n for n in names if n.endswith((".pt", ".c", ".h"))]
    assert not [n for n in names if "EXPERIMENTS" in n or "test" in n.lower()]
    assert "_edgestem_units/system/edgestem.socket" in names
    (licence,) = (n for n in names if n.endswith("licenses/LICENSE"))
    assert licence.replace("LICENSE", "NOTICE") in names


@KNOWN
def test_a_wheel_with_faults_is_told(wheel: Path, tmp_path: Path) -> None:
    bad = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(bad, "w") as after:
        for name in before.namelist():
            if name not in ("edgestem/engine/separator.py", "edgestem/_native.abi3.so"):
                after.writestr(name, before.read(name))
        after.writestr("_edgestem_models/EXPERIMENTS.md", "what was tried")
        after.writestr("_edgestem_models/more.tflite", os.urandom(MODELS_BYTES // 4))
    found = "; ".join(faults(bad, PROJECT))
    assert "edgestem/engine/separator.py is missing" in found
    assert "kernel is missing" in found
    assert "EXPERIMENTS.md has no business in a wheel" in found
    assert "bytes zipped, more than" in found  # stored ones are larger, too


def test_an_sdist_does_not_know_when_and_by_whom_it_was_made(tmp_path: Path) -> None:
    def make(path: Path, names: list[str], seconds: int, user: str) -> bytes:
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.mtime, info.uname, info.uid = seconds, user, seconds
                info.mode = 0o664 if user == "eve" else 0o600
                info.size = len(name)
                archive.addfile(info, io.BytesIO(name.encode()))
        repack(path, 1_700_000_000)
        return path.read_bytes()

    first = make(tmp_path / "e-1.tar.gz", ["e-1/b", "e-1/a"], 1_700_000_009, "eve")
    second = make(tmp_path / "other.tar.gz", ["e-1/a", "e-1/b"], 7, "adam")
    assert first == second
    with tarfile.open(tmp_path / "e-1.tar.gz") as archive:
        assert archive.getnames() == ["e-1/a", "e-1/b"]
        assert archive.extractfile("e-1/b").read() == b"e-1/b"  # type: ignore[union-attr]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e-1.tar.gz", "other.tar.gz"]
