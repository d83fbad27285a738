"""An evening at the terminal: a set waits, sentences stay readable, faders go back."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shows import Show

from edgestem.network.compute import ANY
from edgestem.play.commands import Console
from edgestem.play.items import Item
from edgestem.play.rehearsal import rehearse
from edgestem.stems import SILENT_DB

Write = Callable[..., Path]


class Screen:
    """A terminal with `edgestem play` on it."""

    def __init__(self, line: list[str], folder: Path) -> None:
        self._fd, tty = pty.openpty()
        self.process = subprocess.Popen(
            line, stdin=tty, stdout=tty, stderr=tty, cwd=folder
        )
        os.close(tty)
        self.text = ""

    def wait(self, is_there: Callable[[str], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not is_there(self.text):
            assert time.monotonic() < end, self.text[-2000:]
            if select.select([self._fd], [], [], 0.2)[0]:
                self.text += os.read(self._fd, 65536).decode()

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def close(self) -> int:
        self.press("q")
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            os.close(self._fd)


def test_a_set_waits_and_sentences_do_not_run_into_the_display(
    command: Callable[..., list[str]],
    write_song: Write,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    write_song("a.wav", np.zeros((30 * 44100, 2), np.float32), subtype="PCM_16")
    (tmp_path / "b.mp3").write_bytes(b"no song at all")
    (tmp_path / "set.toml").write_text(
        '[[song]]\nfile = "a.wav"\n[[song]]\nfile = "b.mp3"\n'
    )
    more = ["--null", "timed", "--store", "none", "--pedal", "none"]
    line = command("play", "set.toml", "--model", tiny_model, *more)
    screen = Screen([str(word) for word in line], tmp_path)
    screen.wait(lambda text: "b.mp3 is no song" in text and "1/2  ready" in text)
    assert "playing" not in screen.text, "a set waits for a press"
    before = screen.text.split("b.mp3 is no song")[0]
    assert before.endswith("\r\x1b[K"), "the sentence has a line of its own"
    n = len(screen.text)
    screen.wait(lambda text: "1/2  ready" in text[n:])  # drawn again, unchanged
    screen.press(" ")
    screen.wait(lambda text: "1/2  playing" in text)
    assert screen.close() == 0


def test_a_songs_own_fader_does_not_stay_for_the_next_song(write_song: Write) -> None:
    songs = [write_song(f"{n}.wav", subtype="PCM_16") for n in "abcd"]
    items = [Item(songs[0]), Item(songs[1], vocals_db=-14.0),
             Item(songs[2], vocals_db=-6.0), Item(songs[3])]  # fmt: skip
    with Show(items) as show:
        console = Console(show.player)

        def select(number: int) -> float:
            console.do(f"select {number}")
            show.wait(lambda: show.player.index == number - 1)
            show.wait_cued()
            return float(console.faders["vocals"])

        assert select(2) == -14 and select(3) == -6
        assert select(4) == SILENT_DB, "back where it was before them"
        assert select(2) == -14
        console.do("vocals -3")
        assert select(4) == -3, "who moved it meanwhile meant it"
        assert select(3) == -6 and select(1) == -3


def test_a_missing_song_is_bad_in_the_rehearsal(
    run: Callable[..., subprocess.CompletedProcess[str]],
    write_song: Write,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    write_song("a.wav", subtype="PCM_16")
    (tmp_path / "set.toml").write_text(
        '[[song]]\nfile = "a.wav"\n[[song]]\nfile = "gone.flac"\n'
    )
    more = ["--model", tiny_model, "--store", "none", "--null", "timed"]
    done = run("play", "set.toml", "--check", *more)
    assert done.returncode == 1 and done.stderr == ""
    (bad,) = (line for line in done.stdout.splitlines() if line.startswith("BAD"))
    assert bad == "BAD   gone.flac is not there"


@pytest.mark.parametrize(
    ("card", "is_good", "text"),
    [
        ("U24", True, "U24 is there"),
        ("hw:CARD=U24,DEV=0", True, "is there"),
        ("U25", False, "U25 is missing"),
        ("default", True, "PCH, U24"),
        (None, True, "PCH, U24"),
    ],
)
def test_the_rehearsal_looks_for_the_shows_card(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path,
    card: str | None, is_good: bool, text: str,
) -> None:  # fmt: skip
    """The kernel's own list, as a machine with two cards had it."""
    cards = tmp_path / "cards"
    cards.write_text(
        " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n"
        "                      HDA Intel PCH at 0xf7f10000 irq 30\n"
        " 1 [U24            ]: USB-Audio - U24XL\n"
        "                      ESI U24XL at usb-0000:00:14.0-2, full speed\n"
    )
    monkeypatch.setattr("edgestem.play.rehearsal.CARDS", cards)
    found = list(rehearse([], str(tiny_model), ANY, None, card))
    (line,) = (pair for pair in found if pair[1].startswith("sound cards"))
    assert line[0] is is_good and text in line[1], line


READ_ONLY = """
set -e
mount -t tmpfs tmpfs disk
cp -r store/. disk/kept 2>/dev/null || cp -r store disk/kept
mount -o remount,ro disk
"$@"
"""


def test_a_store_on_a_read_only_disk_is_read(
    command: Callable[..., list[str]],
    write_song: Write,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """A real disk of its own, in a namespace of its own."""
    space = ["unshare", "-rm"]
    if subprocess.run([*space, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine has no namespaces for this user")
    old, new = write_song("old.wav"), write_song("new.wav", np.ones((9999, 2)) / 8)
    more = ["--null", "fast", "--model", tiny_model]
    words = [str(w) for w in command("play", old, *more, "--store", "store")]
    subprocess.run(words, cwd=tmp_path, check=True)
    (tmp_path / "disk").mkdir()

    def play(*songs: Path, store: list[str], **variables: str) -> str:
        words = [str(w) for w in command("play", *songs, *more, *store)]
        done = subprocess.run(
            [*space, "sh", "-c", READ_ONLY, "sh", *words], cwd=tmp_path, text=True,
            capture_output=True, check=True, env=os.environ | variables,
        )  # fmt: skip
        return done.stderr

    said = play(old, store=["--store", "disk/kept"])
    assert said == "", "it was there: nothing has to be kept"
    said = play(new, store=["--store", "disk/kept"])
    assert said.startswith("new.wav is not kept in the store: ")
    assert "Read-only file system" in said and said.count("\n") == 1
    said = play(old, store=[], XDG_DATA_HOME=str(tmp_path / "disk" / "data"))
    assert "Read-only file system" in said and "nothing is kept" in said
