"""Tags, covers and boxes of strangers' files: whatever they hold, nothing is raised."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from edgestem.sound import mp4
from edgestem.sound.covers import (
    Cover,
    flac_blocks,
    picture_comment,
    read_covers,
)
from edgestem.sound.ogg import comments
from edgestem.sound.tags import id3, is_stem

COVER = Cover(b"\x89PNG\r\n\x1a\n" + bytes(300), "image/png")
TAGS = {"title": "a", "software": "edgestem 1, vocals"}


def seeds() -> dict[str, bytes]:
    """A file's beginning of each container, with tags, the mark and a cover."""
    udta = mp4.user_data(TAGS, [(COVER.mime, COVER.data)], stem=b"{}")
    packet = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 2)
    for text in (
        "software=edgestem 1",
        f"METADATA_BLOCK_PICTURE={picture_comment(COVER)}",
    ):
        data = text.encode()
        packet += struct.pack("<I", len(data)) + data
    table = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
    page = b"OggS" + bytes(22) + bytes([len(table)]) + table + packet
    first = b"OggS" + bytes(22) + b"\1\2hi"
    return {
        "id3": id3(TAGS, [COVER]) + bytes(100),
        "flac": b"fLaC\0\0\0\x22" + bytes(34) + flac_blocks((COVER,)) + b"\x81\0\0\0",
        "mp4": mp4.box(b"ftyp", b"M4A ") + mp4.box(b"moov", udta),
        "ogg": first + page,
    }


@pytest.mark.parametrize("kind", sorted(seeds()))
def test_the_seeds_are_what_they_seem(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(seeds()[kind])
    assert [c.data for c in read_covers(path)] == [COVER.data]
    if kind in ("mp4", "ogg"):
        assert is_stem(path)


@pytest.mark.parametrize("kind", sorted(seeds()))
def test_cut_and_changed_files_raise_nothing(tmp_path: Path, kind: str) -> None:
    rng, seed = random.Random(kind), seeds()[kind]
    path = tmp_path / "a"
    for number in range(600):
        data = bytearray(seed)
        if number < 200:
            data = data[: rng.randrange(len(data))]
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.choice((0, 1, 127, 128, 255))
        path.write_bytes(data)
        read_covers(path)
        is_stem(path)


def test_boxes_that_lie_about_their_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for size in (0, 1, 7, 8, 9, 1 << 31, (1 << 32) - 1):
        path.write_bytes(struct.pack(">I4s", size, b"moov") + bytes(20))
        with path.open("r+b") as file:
            before = path.read_bytes()
            try:
                mp4.mark(file, "x")
            except (ValueError, struct.error):
                assert path.read_bytes() == before
    with pytest.raises(ValueError), path.open("rb") as file:
        list(comments(file.fileno()))
