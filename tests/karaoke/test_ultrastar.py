"""UltraStar texts: two lines, and every other byte as it was."""

from __future__ import annotations

import itertools

import pytest

from edgestem.errors import AudioError
from edgestem.karaoke.ultrastar import (
    audio_of,
    encoding_of,
    headers,
    is_text,
    value_of,
    with_stems,
    without_stems,
)

NAMES = {"INSTRUMENTAL": "Ünï - S [INSTR].mp3", "VOCALS": "Ünï - S [VOC].mp3"}
NOTES = ": 0 4 5 Größe\n* 5 4 5 ~\n- 12\nP1\n: 14 2 3 x\nP2\n: 14 2 3 #no header\nE\n"
TEXTS = [
    f"{version}#TITLE:Größe\n#ARTIST:Ünï\n{own}#MP3:a.mp3\n{blank}#BPM:300,5\n{duet}{NOTES}"
    for version, own, blank, duet in itertools.product(
        ("", "#VERSION:1.0.0\n", "#VERSION:1.1.0\n#AUDIO:b.mp3\n"),
        ("", "#instrumental: old.mp3 \n", "#VOCALS:\n"),
        ("", "\n"),
        ("", "#P1:A\n#P2:B\n"),
    )
]


def variants(text: str) -> list[bytes]:
    """One text in all encodings and line ends."""
    ends = [text, text.replace("\n", "\r\n"), text.replace("\n", "\r")]
    found = [e.encode(code) for e in ends for code in ("utf-8", "utf-8-sig", "cp1252")]
    cut = text[: text.index(": 0")].rstrip("\n")  # a head without its last line end
    return [*found, cut.encode()]


ALL = [data for text in TEXTS for data in variants(text)]


def lines(data: bytes) -> list[bytes]:
    mark = b"\n" if b"\n" in data else b"\r"
    return data.split(mark)


def test_there_are_many_texts() -> None:
    assert len(ALL) >= 200


@pytest.mark.parametrize("number", range(len(ALL)))
def test_only_two_lines_differ(number: int) -> None:
    data = ALL[number]
    assert is_text(data)
    new = with_stems(data, NAMES)
    assert with_stems(new, NAMES) == new
    before = [x for x in lines(data) if not _is_ours(x)]
    after = [x for x in lines(new) if not _is_ours(x)]
    assert b"\n".join(before).strip(b"\r\n") == b"\n".join(after).strip(b"\r\n")
    encoding = encoding_of(data)
    for key, name in NAMES.items():
        assert value_of(new, key) == name.encode(encoding)
    assert len(headers(new)) == len({*(h.key for h in headers(data)), *NAMES})
    if not any(h.key in NAMES for h in headers(data)) and headers(data)[-1].ending:
        assert without_stems(new, NAMES) == data
    assert audio_of(new) == audio_of(data)


def _is_ours(line: bytes) -> bool:
    line = line.removeprefix(b"\xef\xbb\xbf").upper()
    return line.startswith((b"#INSTRUMENTAL:", b"#VOCALS:"))


def test_lines_that_are_ours_are_removed_and_others_are_not() -> None:
    data = b"#TITLE:a\n#MP3:a.mp3\n#VOCALS:mine.mp3\n: 0 1 2 x\nE\n"
    assert without_stems(data, NAMES) == data
    assert with_stems(data, {}) == data


def test_which_file_is_the_song() -> None:
    both = b"#TITLE:t\n#AUDIO:new.ogg\n#MP3:old.mp3\n"
    assert audio_of(both) == "old.mp3"  # without a version programs know no #AUDIO
    assert audio_of(b"#VERSION:0.3.0\n" + both) == "old.mp3"
    assert audio_of(b"#VERSION:1.0.0\n" + both) == "new.ogg"
    with pytest.raises(ValueError, match="#MP3"):
        audio_of(b"#TITLE:t\n")


def test_a_name_that_the_code_page_lacks_is_said() -> None:
    data = "#TITLE:Größe\n#MP3:a.mp3\nE\n".encode("cp1252")
    with pytest.raises(AudioError, match="save the text as UTF-8"):
        with_stems(data, {"INSTRUMENTAL": "日本 [INSTR].mp3"})


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"E\n", b"#\n#:\n#TITLE\n", b"# TITLE : x\n", b"\xff\xfe#\0"]
)
def test_what_is_no_song_is_none(data: bytes) -> None:
    assert not is_text(data)
    headers(data)
