"""Units as systemd reads them: valid, closed, and with paths that are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgestem.service.installation import Installation, this_installation
from edgestem.service.units import SYSTEM, UNITS, USER, ServiceError, fill, quoted

needs_systemd = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="no systemd-analyze"
)
PACKAGED = Installation(("/usr/bin/edgestem",), ())
# What systemd-analyze calls the exposure, in tenths of ten: at most.
EXPOSURE = {
    ("daemon", SYSTEM): 10,
    ("daemon", USER): 30,
    ("play", SYSTEM): 25,
    ("play", USER): 30,
    ("watch", SYSTEM): 15,
    ("watch", USER): 30,
}


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    folder, out = tmp_path / "in $x 100%", tmp_path / 'the "stems"'
    folder.mkdir()
    out.mkdir()
    return {"DIR": str(folder), "OUT": str(out), "LAYOUT": "ultrastar", "USER": "root"}


def program(tmp_path: Path) -> Installation:
    """Make an installation in an odd place, whose program can be run."""
    path = tmp_path / "a venv" / "bin" / "edgestem"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    path.chmod(0o755)
    return Installation((str(path),), (path.parents[1],))


@needs_systemd
@pytest.mark.parametrize(("kind", "scope"), EXPOSURE)
def test_units_are_valid_and_the_exposure_is_low(
    tmp_path: Path, watched: dict[str, str], kind: str, scope: str
) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in fill(kind, scope, program(tmp_path), watched).items():
        assert "@EDGESTEM@" not in text and "@HOME@" not in text
        (folder / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", f"--{scope}", "verify", "--man=no", *folder.iterdir()],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
    )
    ours = [line for line in done.stderr.splitlines() if "edgestem" in line]
    assert done.returncode == 0 and not ours, done.stderr
    limit = f"--threshold={EXPOSURE[kind, scope]}"
    service = next(folder.glob("*.service"))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", limit, service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-200:]


def test_every_unit_has_its_kind() -> None:
    for kind, names in UNITS.items():
        for scope in (SYSTEM, USER):
            texts = fill(kind, scope, PACKAGED, {})
            assert tuple(texts) == names
            assert "/usr/bin/edgestem " in texts[names[0]]


def test_a_service_that_was_told_to_end_has_not_failed() -> None:
    """143 is the status of every command that SIGTERM ends (tests/play, tests/cli)."""
    for kind, names in UNITS.items():
        for scope in (SYSTEM, USER):
            text = fill(kind, scope, PACKAGED, {})[names[0]]
            assert "\nSuccessExitStatus=143\n" in text


def test_units_need_no_program_that_a_small_debian_lacks() -> None:
    """minbase has /bin/sh and no /bin/kill, which is a package of its own there."""
    for kind in UNITS:
        for scope in (SYSTEM, USER):
            for text in fill(kind, scope, PACKAGED, {}).values():
                found = re.findall(r"^Exec\w+=\+?(\S+)", text, re.MULTILINE)
                assert set(found) <= {"/usr/bin/edgestem", "/bin/sh"}


def test_the_package_sees_no_home_and_a_venv_in_one_sees_itself_only() -> None:
    text = fill("daemon", SYSTEM, PACKAGED)["edgestem.service"]
    assert "ProtectHome=yes\n" in text
    assert "\nBindReadOnlyPaths" not in text
    venv = Path("/home/pi/a venv")
    here = Installation(
        (str(venv / "bin/edgestem"),), (venv, venv / "lib", Path("/opt"))
    )
    text = fill("daemon", SYSTEM, here)["edgestem.service"]
    assert "ProtectHome=tmpfs\n" in text
    assert text.count("\nBindReadOnlyPaths=") == 1  # nothing inside another
    assert '\nBindReadOnlyPaths="/home/pi/a venv"\n' in text
    assert 'ExecStart="/home/pi/a venv/bin/edgestem" serve\n' in text
    text = fill("daemon", USER, here)["edgestem.service"]
    assert "ProtectHome=read-only\n" in text  # its own home


def test_words_reach_the_program_as_they_are() -> None:
    assert quoted("/srv/music") == "/srv/music"
    assert quoted("100% sure") == '"100%% sure"'
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    with pytest.raises(ServiceError, match="rename it"):
        quoted("two\nlines")


def test_a_dollar_is_doubled_in_commands_only(watched: dict[str, str]) -> None:
    text = fill("watch", SYSTEM, PACKAGED, watched)["edgestem-watch.service"]
    lines = text.splitlines()
    (command,) = (line for line in lines if line.startswith("ExecStart="))
    (mounts,) = (line for line in lines if line.startswith("RequiresMountsFor="))
    assert "in $$x 100%%" in command and "in $x 100%%" in mounts
    assert command.endswith(" --layout ultrastar")
    text = fill("watch", SYSTEM, PACKAGED, watched | {"LAYOUT": ""})
    assert "--layout" not in text["edgestem-watch.service"]


def test_this_installation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = this_installation()
    assert os.access(found.words[0], os.X_OK)
    assert Path(sys.prefix) in found.folders
    monkeypatch.setattr(sys, "argv", ["/usr/bin/edgestem-that-is-not-there"])
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert this_installation().words == ("/usr/bin/python3", "-m", "edgestem")
