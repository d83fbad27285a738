"""Tags beyond libsndfile's, from every container to every other one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgestem
from edgestem.sound import mp4
from edgestem.sound.covers import Cover, read_covers
from edgestem.sound.extras import as_comments, boxes, frames, read_extras
from edgestem.sound.ogg import add_comments
from edgestem.sound.own_tags import is_own_name
from edgestem.sound.tags import id3
from tools.judge.tags import (
    FIELDS,
    TARGETS,
    covers,
    make_song,
    pictures,
    read,
    wanted,
)

EXTRAS = {
    "albumartist": "Various Ärtists",
    "composer": "日本",
    "discnumber": "2",
    "bpm": "128",
    "key": "F#m",
    "lyrics": "La la\nla Größe",
    "replaygain_track_gain": "-7.20 dB",
    "replaygain_album_peak": "0.988",
    "own:MOOD": "happy",
}
COVER = Cover(b"\xff\xd8\xff" + bytes(3000), "image/jpeg")


def make(folder: Path, kind: str) -> Path:
    """Write a song with these tags, by our own writers of its container."""
    plain = folder / f"plain.{kind}"
    x = np.random.default_rng(1).normal(0, 0.1, (44100, 2))
    soundfile.write(plain, x, 44100)
    song = folder / f"song.{kind}"
    if kind == "mp3":
        song.write_bytes(
            id3({"title": "T"}, [COVER], frames(EXTRAS)) + plain.read_bytes()
        )
    else:
        plain.rename(song)
        with song.open("r+b") as file:
            add_comments(file, as_comments(EXTRAS))
    return song


@pytest.mark.parametrize("source", ["mp3", "ogg"])
@pytest.mark.parametrize("target", ["flac", "ogg", "mp3", "m4a", "alac", "opus"])
def test_every_tag_arrives(needs_ffmpeg, tmp_path, tiny_model, source, target) -> None:
    song = make(tmp_path, source)
    assert read_extras(song) == EXTRAS
    report = edgestem.separate_file(
        song, tmp_path / "out", file_format=target, model=tiny_model
    )
    for stem in report.outputs.values():
        assert read_extras(stem) == EXTRAS
        with_cover = source == "mp3"
        assert [c.data for c in read_covers(stem)] == [COVER.data] * with_cover
        if target in ("flac", "ogg", "mp3"):
            assert soundfile.info(stem).frames == report.n_samples
            assert np.any(soundfile.read(stem)[0])


@pytest.mark.parametrize("target", TARGETS)
def test_other_programs_read_every_field(
    needs_ffmpeg, tmp_path, tiny_model, target
) -> None:
    """17 frames of ID3v2.4 and two pictures, by mutagen; and from there once more."""
    names = [name for name in FIELDS if name != "title"]
    song = make_song(tmp_path)
    for n in "12":
        report = edgestem.separate_file(
            song, tmp_path / n, file_format=target, model=tiny_model
        )
        song = Path(report.outputs["instrumental"])
        found = read(song)
        assert found["title"][0].startswith("Größe (Instrumental)")
        assert {n: found[n] for n in names} == {n: wanted(n) for n in names}
        assert covers(song) == pictures()


def test_what_names_the_file_or_the_recording_is_left_behind() -> None:
    for name in ("MOOD", "Occasion", "My tag 2"):
        assert is_own_name(name)
    for name in (
        *("MusicBrainz Album Id", "ACOUSTID_ID", "iTunSMPB", "iTunNORM", "isrc"),
        *("TLEN", "encoder", "REPLAYGAIN_REFERENCE_LOUDNESS", "R128_TRACK_GAIN"),
        *("title", "METADATA_BLOCK_PICTURE", "", "a=b", "x" * 65, "Größe"),
    ):
        assert not is_own_name(name)


@pytest.mark.parametrize(
    "line", ["", "fLaC", "fLaC\x84\0\0\4\1\0\0\0", "ID3\4\0\0\0\0\0\x14TXXX\0\0\0\x09"]
)
def test_damaged_tags_are_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(line.encode("latin-1"))
    assert read_extras(path) == {}
    path.write_bytes(mp4.box(b"ftyp", b"M4A ") + mp4.box(b"moov", b"\0\0\1\0udta"))
    assert read_extras(path) == {}
    assert read_extras(tmp_path) == {}
    assert boxes({"bpm": "quick", "discnumber": "99999999"}) == []
