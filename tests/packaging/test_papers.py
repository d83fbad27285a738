"""What a release says about itself, and what the Debian package lays down."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgestem.daemon.system.config import load_config
from tools.ci import deb_files
from tools.ci.sbom import bill

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "edgestem-1.2-cp310-abi3-manylinux2014_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_edgestem_models/a.tflite", b"weights")
        archive.writestr("_edgestem_models/a.json", '{"licence": "CC-BY-4.0"}')
        archive.writestr(
            "edgestem-1.2.dist-info/METADATA",
            "Name: edgestem\nVersion: 1.2\nLicense-Expression: MIT\n"
            "Requires-Dist: numpy>=1.23.2\nRequires-Dist: scipy; extra == 'test'\n",
        )
        archive.writestr(
            "edgestem-1.2.dist-info/entry_points.txt",
            "[console_scripts]\nedgestem = edgestem.__main__:main\nmore = a.b:go\n",
        )
    return path


def test_the_bill_names_files_models_and_needs(wheel: Path) -> None:
    found = bill([wheel], 1_700_000_000)
    assert found == bill([wheel], 1_700_000_000)  # reproducible, its number too
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["serialNumber"])
    parts = {part["name"]: part for part in found["components"]}
    assert set(parts) == {"a.tflite", "numpy", wheel.name}
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert parts[wheel.name]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert parts["a.tflite"]["licenses"] == [{"license": {"id": "CC-BY-4.0"}}]
    assert found["dependencies"][0]["dependsOn"] == ["pkg:pypi/numpy"]
    json.dumps(found)


def test_programs_are_the_wheel_s(wheel: Path) -> None:
    found = deb_files.programs(wheel)
    assert set(found) == {"edgestem", "more"}
    assert "from a.b import go" in found["more"]
    for text in found.values():
        compile(text, "program", "exec")
        assert text.startswith("#!/usr/bin/python3 -I\n")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TOML reader")
def test_the_conffile_changes_nothing_until_a_line_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {})
    file = tmp_path / "edgestem.toml"
    file.write_text(deb_files.toml())
    usual = load_config(str(file))
    empty = tmp_path / "empty.toml"
    empty.write_text("")
    assert usual == load_config(str(empty))
    free = re.sub(r"^#(?=\w+ = )", "", deb_files.toml(), flags=re.M)
    assert free.count("\n") == deb_files.toml().count("\n") and free != deb_files.toml()
    file.write_text(free)  # every field, at its default
    assert load_config(str(file)) == usual


def test_files_are_laid_where_they_are_looked_for(wheel: Path, tmp_path: Path) -> None:
    root, debian = tmp_path / "root", tmp_path / "debian"
    debian.mkdir()
    deb_files.main(wheel, root, debian)
    program = root / "usr/bin/edgestem"
    assert program.stat().st_mode & 0o777 == 0o755
    assert (root / "etc/default/edgestem").stat().st_mode & 0o777 == 0o644
    assert {"edgestem.service", "edgestem.socket", "edgestem.user.service"} <= {
        path.name for path in debian.iterdir()
    }
    text = (debian / "edgestem.service").read_text()
    assert "ExecStart=/usr/bin/edgestem serve\n" in text and "@" not in text.split(
        "SystemCallFilter"
    )[0]  # fmt: skip
    bash = root / "usr/share/bash-completion/completions/edgestem"
    subprocess.run(["bash", "-n", bash], check=True)


SCRIPTS = (
    *("wheels", "wheel_arm", "deb", "deb_life", "deb_inside", "guest", "chroots"),
    *("clean", "clean_inside", "image", "services_inside", "arm/run", "arm/inside"),
)


@pytest.mark.parametrize("name", [*SCRIPTS, "guest_inside", "../release"])
def test_scripts_are_shell(name: str) -> None:
    subprocess.run(["sh", "-n", PROJECT / f"tools/ci/{name}.sh"], check=True)


def test_tests_on_arm_ask_nothing_that_its_pytest_does_not_know(tmp_path: Path) -> None:
    """Debian 12's is 7.2 without plugins, and it takes no unknown option."""
    script = (PROJECT / "tools/ci/arm/inside.sh").read_text()
    (line,) = re.findall(r"sed -E '(.*)' /job/pyproject.toml", script)
    done = subprocess.run(
        ["sed", "-E", line, PROJECT / "pyproject.toml"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    options = done.stdout.split("[tool.pytest.ini_options]\n")[1].split("\n\n")[0]
    assert set(re.findall(r"^(\w+) = ", options, re.M)) <= {
        *("testpaths", "addopts", "pythonpath", "xfail_strict", "markers"),
        *("faulthandler_timeout", "filterwarnings"),
    }
    for part in re.findall(r"for part in (.*); do", script)[0].split():
        assert (PROJECT / "tests" / part).exists()


@pytest.mark.parametrize("name", ["wheels", "wheel_arm", "deb", "deb_life", "guest"])
def test_scripts_say_how_they_are_used(name: str) -> None:
    done = subprocess.run(
        ["sh", PROJECT / f"tools/ci/{name}.sh"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 or "usage" in done.stderr, done
    assert f"usage: {name}.sh" in done.stderr


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="no git here")
@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_a_release_wants_a_clean_tag(tmp_path: Path) -> None:
    if "dev" not in (PROJECT / "edgestem/version.py").read_text():
        pytest.skip("this tree may be a release")
    done = subprocess.run(
        ["sh", PROJECT / "tools/release.sh", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.match(r"release: (the tree is not clean|HEAD is not tagged)", done.stderr)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Make a repository with nothing but what a release looks at first."""
    folder = tmp_path / "sources"
    (folder / "tools").mkdir(parents=True)
    (folder / "edgestem").mkdir()
    for name in ("release.sh", "say.sh"):
        shutil.copy(PROJECT / "tools" / name, folder / "tools")
    (tmp_path / "bin").mkdir()
    for name in ("dh", "qemu-aarch64-static", "aarch64-linux-gnu-gcc"):
        path = tmp_path / "bin" / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return folder


def release(sources: Path, version: str, title: str, *words: str) -> str:
    """Commit and tag a version, release it; what was said."""
    (sources / "edgestem/version.py").write_text(f'__version__ = "{version}"\n')
    (sources / "CHANGELOG.md").write_text(f"# Changelog\n\n## {title}\n\nNew.\n")
    git = ["git", "-C", sources, "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    for line in (["init", "-q"], ["add", "."], ["commit", "-qm", version]):
        subprocess.run([*git, *line], check=True)
    subprocess.run([*git, "tag", f"v{version}"], check=True)
    done = subprocess.run(
        ["sh", sources / "tools/release.sh", sources.parent / "out", *words],
        env=os.environ | {"PATH": f"{sources.parent / 'bin'}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr + done.stdout


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
@pytest.mark.parametrize(
    ("version", "title", "said"),
    [
        ("1.2.dev0", "1.2 (unreleased)", "1.2.dev0 is a version in the making"),
        ("1.2", "1.2 (unreleased)", "says that 1.2 is unreleased: write its day"),
        ("1.3rc1", "1.2 (2026-11-30)", "begins with ## 1.2 (2026-11-30), not with 1.3"),
        ("1.2", "1.20 (2026-11-30)", "not with 1.2"),
    ],
)
def test_a_release_refuses_before_anything_is_built(
    sources: Path, version: str, title: str, said: str
) -> None:
    found = release(sources, version, title)
    assert found.startswith("release: ") and said in found
    assert not (sources.parent / "out/TABLE.md").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="it needs no such compiler")
def test_a_release_without_a_cross_compiler_s_headers_is_told_so_first(
    sources: Path,
) -> None:
    compiler = sources.parent / "bin/aarch64-linux-gnu-gcc"
    compiler.write_text("#!/bin/sh\nexit 1\n")  # as it ends without <stdlib.h>
    found = release(sources, "1.2", "1.2 (2026-11-30)")
    said = "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    assert found == f"release: {said}\n"
    done = subprocess.run(
        ["sh", PROJECT / "tools/ci/wheels.sh", sources.parent / "wheels", "aarch64"],
        env=os.environ | {"PATH": f"{compiler.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, f"{said}\n")


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
@pytest.mark.parametrize(
    ("version", "title"), [("1.2", "1.2 (2026-11-30)"), ("1.2rc1", "1.2 (unreleased)")]
)
def test_what_a_release_leaves_out_stands_in_its_table(
    sources: Path, version: str, title: str
) -> None:
    words = ("--no-tests", "run before", "--no-arm", "slow", "--no-guests", "slow")
    found = release(sources, version, title, *words)
    assert "nothing to pack" in found  # there are no scripts here that make wheels
    table = (sources.parent / "out/TABLE.md").read_text()
    assert table.startswith(f"# edgestem {version}: what was run on what\n")
    assert table.count("| unrun: run before |") == 3
    assert "| FAILED (" in table
