"""`edgestem service` with the real systemctl, in the root folder of an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgestem.service.systemd import is_ours, marked

pytestmark = pytest.mark.skipif(not shutil.which("systemctl"), reason="no systemctl")
PROGRAM = Path(sys.executable).with_name("edgestem")


def service(
    *words: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "service", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (env or {}),
    )


def units(root: Path) -> set[str]:
    return {p.name for p in root.rglob("*") if p.suffix in (".service", ".socket")}


def test_install_enables_show_tells_and_remove_leaves_nothing(tmp_path: Path) -> None:
    done = service("install", "daemon", "--root", tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "etc/systemd/system"
    assert (folder / "sockets.target.wants/edgestem.socket").is_symlink()
    assert f"ExecStart={PROGRAM} serve\n" in (folder / "edgestem.service").read_text()
    assert f"wrote {folder / 'edgestem.service'}" in done.stdout
    assert "to undo: sudo " in done.stdout
    state = service("show", "--root", tmp_path).stdout
    assert "daemon: edgestem.socket enabled" in state and "play: not inst" in state
    again = service("install", "daemon", "--root", tmp_path)
    assert again.returncode == 0, again.stderr
    undo = done.stdout.split("to undo: sudo ")[1].split()
    done = subprocess.run(undo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert units(tmp_path) == set()
    done = service("remove", "daemon", "--root", tmp_path)
    assert done.returncode == 1 and "[no_service]" in done.stderr


def test_a_file_of_somebody_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / "etc/systemd/system"
    folder.mkdir(parents=True)
    theirs = folder / "edgestem.socket"
    theirs.write_text("[Socket]\nListenStream=/run/theirs\n")
    done = service("install", "daemon", "--root", tmp_path)
    assert done.returncode == 1 and "[service_taken]" in done.stderr
    assert units(tmp_path) == {"edgestem.socket"}  # nothing half-installed
    theirs.unlink()
    assert service("install", "daemon", "--root", tmp_path).returncode == 0
    with (folder / "edgestem.service").open("a") as file:
        file.write("Nice=0\n")  # changed by hand
    for what in ("install", "remove"):
        done = service(what, "daemon", "--root", tmp_path)
        assert done.returncode == 1 and "[service_taken]" in done.stderr, what
    assert units(tmp_path) == {"edgestem.service", "edgestem.socket"}


def test_a_user_s_service_lies_in_the_user_s_folder(tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    done = service("install", "daemon", "--user", env=home)
    if done.returncode:  # a machine with systemd, and a user without a session
        assert "[service_refused]" in done.stderr
    assert (tmp_path / "systemd/user/edgestem.socket").exists()
    assert is_ours(tmp_path / "systemd/user/edgestem.service")
    service("remove", "daemon", "--user", env=home)


def test_a_service_of_another_version_is_refused(tmp_path: Path) -> None:
    known = subprocess.run(
        [PROGRAM, "--help"], capture_output=True, text=True, check=True
    ).stdout
    done = service("install", "play", "--root", tmp_path)
    if "\n    play " in known:
        assert done.returncode == 0, done.stderr
        assert "it plays /etc/edgestem/play.toml" in done.stdout
        assert 'EDGESTEM_PLAY="--card NAME"' in done.stdout
        found = tmp_path.rglob("edgestem-play.service")
        (unit,) = (path for path in found if not path.is_symlink())
        assert "socket $EDGESTEM_PLAY\n" in unit.read_text()
    else:
        assert done.returncode == 1 and "not in this version" in done.stderr
        assert units(tmp_path) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("install",),
        ("install", "watch"),
        ("install", "watch", "/tmp"),
        ("install", "daemon", "/tmp"),
        ("remove", "watch", "/tmp"),
        ("install", "daemon", "--user", "--root", "/tmp"),
        ("start", "daemon"),
    ],
)
def test_words_that_make_no_sense(words: tuple[str, ...]) -> None:
    done = service(*words)
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") <= 2 and "[usage]" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="root becomes nobody")
def test_without_root_the_way_out_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code = (
        "import os; from edgestem.service import actions;"
        "from edgestem.service.installation import this_installation;"
        "from edgestem.service.systemd import Manager;"
        "from pathlib import Path; here = this_installation();"
        "os.setgid(65534); os.setuid(65534);"
        f"m = Manager('system', Path({str(tmp_path)!r}));"
        "s = actions.Service('daemon', m, here)\n"
        "try: print(*actions.install(s))\n"
        "except Exception as e: print(e, getattr(e, 'code', repr(e)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "sudo" in done.stdout and "service_refused" in done.stdout, done
    assert units(tmp_path) == set()


def test_the_mark_knows_a_changed_text(tmp_path: Path) -> None:
    unit = tmp_path / "edgestem.service"
    unit.write_text(marked(unit.name, "[Unit]\nDescription=x\n"))
    assert is_ours(unit)
    unit.write_text(unit.read_text() + "\n")
    assert not is_ours(unit)
