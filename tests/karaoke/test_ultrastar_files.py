"""UltraStar texts of all kinds on a disk: what `export` does to their bytes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm
from karaoke_rules import performous, usdx

Export = Callable[..., subprocess.CompletedProcess[str]]
HEADS = (
    "", "#VERSION:1.0.0\n", "#VERSION:1.1.0\n#AUDIO:{song}\n", "#ENCODING:CP1252\n",
    "#ENCODING:UTF8\n",
)  # fmt: skip
DUETS = ("", "#P1:Änne\n#P2:Bob\n", "#DUETSINGERP1:A\n#DUETSINGERP2:B\n")
ENDS = ("\n", "\r\n")
PAGES = ("utf-8", "utf-8-sig", "cp1252", "ascii")
TEXT = (
    "{head}#TITLE:Größe\n#ARTIST:Ünï\n{own}#MP3:{song}\n#BPM:300,5\n#GAP:100\n{duet}"
    ": 0 4 5 Grö\n* 5 4 5 ße\n- 12\nP1\n: 14 2 3 x\nP2\n: 14 2 3 #no header\nE\n"
)
OWNS = ("", "#EDITION:Mein [VOC] Spiel\n#COVER:none.jpg\n", "#VOCALS:\n")


@pytest.fixture
def export(command: Callable[..., list[str]], tiny_model: Path) -> Export:
    def call(*words: object) -> subprocess.CompletedProcess[str]:
        line = command("export", *words, "--layout", "ultrastar", "-q")
        line += ["--model", str(tiny_model)] * ("--undo" not in words)
        return warm.run(line, capture_output=True, text=True, check=False)

    return call


def make_texts(folder: Path) -> dict[Path, bytes]:
    """Write texts of every kind that a program of today would list."""
    song = "Lied Größe.flac"
    x = np.random.default_rng(1).normal(0, 0.1, (4410, 2))
    soundfile.write(folder / song, x, 44100, "PCM_16")
    soundfile.write(folder / "plain.flac", x, 44100, "PCM_16")
    found = {}
    for number in range(len(HEADS) * len(DUETS) * len(ENDS) * len(PAGES) * len(OWNS)):
        rest, at = number, []
        for choices in (HEADS, DUETS, ENDS, PAGES, OWNS):
            rest, one = divmod(rest, len(choices))
            at.append(choices[one])
        head, duet, end, page, own = at
        is_utf8 = page.startswith("utf-8")
        if ("VERSION" in head and not is_utf8) or ("UTF8" in head and not is_utf8):
            continue  # USDX would read mojibake: no such text is listed
        if "CP1252" in head and is_utf8:
            continue
        used = "plain.flac" if page == "ascii" else song
        text = TEXT.format(head=head.format(song=used), own=own, song=used, duet=duet)
        if page == "ascii":
            text = text.translate(str.maketrans("ößÜïÄ", "osUiA"))
        path = folder / f"Lied {number} Größe.txt"
        path.write_bytes(text.replace("\n", end).encode(page))
        found[path] = path.read_bytes()
    return found


def without_ours(data: bytes) -> list[bytes]:
    names = (b"#INSTRUMENTAL:", b"#VOCALS:")
    return [line for line in data.split(b"\n") if not line.startswith(names)]


def test_two_hundred_texts_there_and_back(export: Export, tmp_path: Path) -> None:
    texts = make_texts(tmp_path)
    assert len(texts) >= 200
    for text in texts:
        usdx(text)  # it is listed before
    done = export(tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path: path.read_bytes() for path in texts}
    for path, before in texts.items():
        after = written[path]
        assert without_ours(after) == without_ours(before), path
        n_new = after.count(b"\n") - before.count(b"\n")
        assert n_new == (1 if b"#VOCALS:" in before else 2)
        assert after.count(b"\r\n") in (0, after.count(b"\n"))
        stems = {
            "instrumental": path.with_name(f"{path.stem} [INSTR].flac"),
            "vocals": path.with_name(f"{path.stem} [VOC].flac"),
        }
        assert usdx(path)["instrumental"] == stems["instrumental"], before[:60]
        found = performous(path)
        assert {name: found[name] for name in stems} == stems, before[:60]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert export(tmp_path).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert export(tmp_path, "--undo").returncode == 0
    assert {path: path.read_bytes() for path in tmp_path.glob("*.txt")} == texts
    assert len(list(tmp_path.iterdir())) == len(texts) + 2
