"""What the disk tells of a watched folder; nothing is lost where it does not."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem.karaoke import changes
from edgestem.karaoke.changes import Changes, Told

PATIENCE_S = 60.0
# As root of a user namespace: this user has no more inotify, or two folders of it.
LIMITED = 'echo {n} > /proc/sys/user/max_inotify_{what} && exec "$@"'


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder on a disk of this machine."""
    for place in (None, "/dev/shm"):
        with tempfile.TemporaryDirectory(dir=place) as name:
            if changes._Locality().is_local(Path(name)):
                yield Path(name)
                return
    pytest.skip("no disk here is this machine's own")


@pytest.fixture
def told() -> Iterator[Changes]:
    found = Changes()
    yield found
    found.close()


def test_a_root_that_the_table_of_mounts_lacks_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in a chroot: what is not known to be local is polled."""
    table = tmp_path / "mountinfo"
    table.write_text("22 28 0:21 / /proc rw - proc proc rw\n")
    monkeypatch.setattr(changes, "_MOUNTS", table)
    assert not changes._Locality().is_local(tmp_path)


def test_changes_in_old_and_new_folders_are_told(told, folder) -> None:
    new = folder / "new folder"
    assert told.follow([folder]) is Told.FROM_NOW
    assert told.follow([folder]) is Told.ALL
    assert not told.wait(0)
    new.mkdir()
    assert told.wait(PATIENCE_S)
    told.drain()
    assert not told.wait(0)
    assert told.follow([folder, new]) is Told.FROM_NOW
    with (new / "song.wav").open("wb") as file:
        assert told.wait(PATIENCE_S)  # it is there
        told.drain()
        file.write(b"sound")
        file.flush()
        assert not told.wait(0)
    assert told.wait(PATIENCE_S)  # it is closed
    for change in (
        lambda: (new / "song.wav").chmod(0),
        lambda: (new / "song.wav").rename(folder / "here.wav"),
        lambda: (folder / "here.wav").unlink(),
        lambda: shutil.rmtree(new),
    ):
        told.drain()
        change()
        assert told.wait(PATIENCE_S)
    new.mkdir()  # another folder of the old name
    assert told.follow([folder, new]) is Told.FROM_NOW
    assert told.follow([folder, new]) is Told.ALL
    assert told.follow([folder]) is Told.ALL
    told.drain()
    (new / "other.wav").touch()
    assert not told.wait(0)


def test_a_folder_that_has_gone_is_not_told_of(told, folder) -> None:
    assert told.follow([folder, folder / "gone"]) is Told.NOTHING
    assert told.follow([]) is Told.NOTHING


def test_network_disks_are_known_wherever_they_are_mounted(
    told, folder, tmp_path, monkeypatch
) -> None:
    nas = folder / "the nas"
    nas.mkdir()
    table = tmp_path / "mountinfo"
    escaped = str(nas).replace(" ", "\\040")
    lines = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
        f"2 1 8:1 / {folder} rw,relatime shared:1 - ext4 /dev/sda1 rw",
        f"3 2 0:9 / {escaped} rw - cifs //nas/songs rw",
    )
    table.write_text("\n".join(lines))
    monkeypatch.setattr(changes, "_MOUNTS", table)
    assert changes._Locality().is_local(folder)
    assert not changes._Locality().is_local(nas / "album")
    assert told.follow([folder, nas]) is Told.NOTHING
    (folder / "link").symlink_to(nas)
    assert told.follow([folder, folder / "link"]) is Told.NOTHING
    table.write_text("\n".join([*lines, f"4 3 8:2 / {escaped} rw - vfat /dev/b rw"]))
    assert told.follow([folder, nas]) is Told.FROM_NOW  # mounted over it


# ---- the command -----------------------------------------------------------------


def song(path: Path) -> None:
    x = np.random.default_rng(1).normal(0, 0.1, (22050, 2))
    soundfile.write(path, x, 44100)


@pytest.fixture
def watcher(
    command: Callable[..., list[str]], tiny_model: Path, folder: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def call(*words: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        line = command("watch", folder, "-o", folder / "out", "--layout", "flat")
        line += ["--json", "--model", str(tiny_model), *map(str, words)]
        process = subprocess.Popen([*before, *line], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield call
    for process in running:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def written(process: subprocess.Popen[str]) -> str:
    """Wait for the next song that was written; give its name."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    text = b""
    while True:
        assert select.select([fd], [], [], PATIENCE_S)[0], "nothing was written"
        data = os.read(fd, 1)
        assert data, "it has ended"
        text += data
        if data == b"\n":
            event, text = json.loads(text), b""
            if event["event"] == "written":
                return Path(event["input"]).name


def test_new_songs_are_told_and_not_waited_for(watcher, folder) -> None:
    song(folder / "first.wav")
    process = watcher("--interval", 3600, "--settle", 0.2)
    assert written(process) == "first.wav"
    song(folder / "second.wav")
    assert written(process) == "second.wav"
    (folder / "album").mkdir()
    song(folder / "album" / "third.wav")
    assert written(process) == "third.wav"
    song(folder / "album" / "fourth.wav")
    assert written(process) == "fourth.wav"


@pytest.mark.parametrize(("what", "n"), [("instances", 0), ("watches", 2)])
def test_where_nothing_is_told_it_looks(watcher, folder, what, n) -> None:
    """Too many folders, or too many programs that ask: every --interval seconds."""
    limits = ("unshare", "-rU", "sh", "-c", LIMITED.format(n=n, what=what), "sh")
    if subprocess.run([*limits, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    for name in ("a", "b", "c"):
        (folder / name).mkdir()
    process = watcher("--interval", 0.2, "--settle", 0.2, before=limits)
    for name in ("a", "b", "c"):
        song(folder / name / f"{name}.wav")
        assert written(process) == f"{name}.wav"
