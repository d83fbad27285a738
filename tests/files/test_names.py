"""Name templates, tags, covers and the mark: what stems say of their song."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm

import edgestem
from edgestem.files.batch import Naming, plan
from edgestem.files.names import NameTemplate
from edgestem.files.output import Output
from edgestem.files.search import Found, search
from edgestem.files.separate import FileSeparator
from edgestem.sound.covers import Cover, read_covers
from edgestem.sound.reading import open_song
from edgestem.sound.tags import is_stem

ALL = ["wav", "flac", "ogg", "mp3", "m4a", "alac", "opus"]
STEMS = ("vocals", "instrumental")


def ffmpeg(*words: object) -> None:
    line = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    subprocess.run(line, check=True)


@pytest.fixture
def covered_song(
    needs_ffmpeg: None, write_song: Callable[..., Path], tmp_path: Path
) -> Path:
    """An mp3 of a second with tags and two covers, a JPEG and a PNG."""
    for kind in ("jpg", "png"):
        picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=1", "-frames:v", 1)
        ffmpeg(*picture, tmp_path / f"cover.{kind}")
    tags = {"title": "Größe/日本", "artist": "AC/DC: live?", "album": "..", "track": 3}
    song = tmp_path / "covered.mp3"
    ffmpeg(
        *("-i", write_song("plain.wav")),
        *("-i", tmp_path / "cover.jpg", "-i", tmp_path / "cover.png"),
        *("-map", "0:a", "-map", "1", "-map", "2", "-c:v", "copy"),
        *(word for k, v in tags.items() for word in ("-metadata", f"{k}={v}")),
        *("-id3v2_version", "3", song),
    )
    return song


def naming(template: str, file_format: str = "wav") -> Naming:
    return Naming(NameTemplate(template), STEMS, file_format)


# ---- templates -------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["a", "é", "日", "𝄞"])
def test_long_tags_make_names_that_a_disk_takes(
    needs_ffmpeg, write_song, tmp_path, tiny_model, letter: str
) -> None:
    """255 bytes, a part's hidden name with them."""
    long = letter * 300
    tags = ("-metadata", f"title={long}", "-metadata", f"artist={long}")
    ffmpeg("-i", write_song("plain.wav"), *tags, tmp_path / "long.mp3")
    made = naming("{artist} - {title} ({stem}).{ext}", "flac")
    targets = made.targets(tmp_path, str(tmp_path / "long.mp3"), Path())
    assert targets["vocals"].name.startswith(letter * 20)
    output = Output(file_format="flac")
    FileSeparator(output, tiny_model).to_files(tmp_path / "long.mp3", targets)
    assert all(target.is_file() for target in targets.values())


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("../{song} {stem}.{ext}", "leave the output folder"),
        ("a/../../{song} {stem}.{ext}", "leave the output folder"),
        ("/tmp/{song} {stem}.{ext}", "leave the output folder"),
        ("a//{stem}.{ext}", "leave the output folder"),
        (".{song} {stem}.{ext}", "hidden"),
        ("{song} {stem}", "end with"),
        ("{song} {stem}.wav", "end with"),
        ("{song} {year} {stem}.{ext}", "no field {year}"),
        ("{song!r} {stem}.{ext}", "nothing more"),
        ("{song:>99999999} {stem}.{ext}", "nothing more"),
        ("{song.__class__} {stem}.{ext}", "no field"),
        ("{song {stem}.{ext}", ""),
        ("{} {stem}.{ext}", "no field"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused(template: str, why: str) -> None:
    with pytest.raises(ValueError, match="--name") as caught:
        NameTemplate(template)
    assert why in str(caught.value)


def test_two_stems_of_one_name_are_refused() -> None:
    template = NameTemplate("{song}.{ext}")
    with pytest.raises(ValueError, match=r"add \{stem\}"):
        template.check(STEMS)
    template.check(("instrumental",))


def test_tags_cannot_lead_out_of_the_folder(covered_song: Path, tmp_path) -> None:
    template = naming("{artist}/{album}/{track} {title} ({stem}).{ext}", "mp3")
    (task,) = plan([str(covered_song)], tmp_path / "out", template).tasks
    place = task.targets["vocals"].relative_to(tmp_path / "out")
    # The album ".." is no name, so there is none.
    assert str(place) == "AC_DC_ live_/Unknown album/03 Größe_日本 (vocals).mp3"


def test_no_name_is_a_device_of_windows(covered_song: Path, tmp_path) -> None:
    """A FAT stick that Windows reads: AUX, con.mp3 and the like cannot be opened."""
    devices = ("aux", "CON", "nul", "Prn", "com1", "LPT9", "con.live", "aux ")
    songs = ("auxiliary", "com", "com10", "a con", "console.1")
    template = NameTemplate("{song}/{stem}.{ext}")
    for name in (*devices, *songs):
        made = template.targets(
            tmp_path, f"{name}.wav", folder=Path(), stems=STEMS, file_format="wav"
        )
        place = made["vocals"].parent.name
        start = name.split(".")[0].rstrip()
        wanted = name if name in songs else f"{start}_{name[len(start) :]}"
        assert place == wanted
    tagged = tmp_path / "tagged.mp3"
    ffmpeg("-i", covered_song, "-metadata", "artist=Aux", "-c", "copy", tagged)
    made = naming("{artist}/{title} ({stem}).{ext}").targets(
        tmp_path, str(tagged), Path()
    )
    assert made["vocals"].parent == tmp_path / "Aux_"


def test_a_folder_keeps_its_folders_by_the_field(write_song, tmp_path) -> None:
    write_song("in/a/one.wav"), write_song("in/two.wav")
    made = plan(
        [str(tmp_path / "in")], tmp_path, naming("{folder}/{song}-{stem}.{ext}")
    )
    names = [str(t.targets["vocals"].relative_to(tmp_path)) for t in made.tasks]
    assert sorted(names) == ["a/one-vocals.wav", "two-vocals.wav"]


def test_songs_that_would_share_a_name_are_a_problem(write_song, tmp_path) -> None:
    write_song("in/a/one.wav"), write_song("in/b/one.wav")
    made = plan([str(tmp_path / "in")], tmp_path, naming("{song}-{stem}.{ext}"))
    assert len(made.tasks) == 1
    assert [p.code for p in made.problems] == ["same_name"]
    assert "add {folder}/" in str(made.problems[0])


def test_the_command_names_files_and_finds_them_again(
    command, write_song, tmp_path
) -> None:
    song = write_song("in/one.wav")
    words = ("separate", song.parent, "-o", song.parent, "--json", "--skip-existing")
    line = command(*words, "--name", "{song} ({stem}).{ext}")
    first = warm.run(line, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    names = {"one.wav", "one (vocals).wav", "one (instrumental).wav"}
    assert {p.name for p in song.parent.iterdir()} == names
    again = warm.run(line, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    *songs, last = [json.loads(text) for text in again.stdout.splitlines()]
    assert [s["skipped"] for s in songs] == [True]
    assert last["summary"]["left_out"] == {"stem": 2}


def test_a_senseless_name_ends_with_one_sentence(command, write_song) -> None:
    line = command("separate", write_song(), "--name", "../{stem}.{ext}")
    found = warm.run(line, capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1


# ---- formats, tags, covers and the mark ------------------------------------------


@pytest.mark.parametrize("file_format", ALL)
@pytest.mark.parametrize("sample_rate", [44100, 48000])
def test_every_format_begins_at_its_first_sample(
    needs_ffmpeg,
    write_song,
    stereo_song,
    tmp_path,
    tiny_model,
    file_format,
    sample_rate,
) -> None:
    """Cross-correlation with the mixture, decoded by ffmpeg, says no delay."""
    song = write_song(x=stereo_song, sample_rate=sample_rate, subtype="PCM_16")
    report = edgestem.separate_file(
        song, tmp_path / "out", file_format=file_format, model=tiny_model
    )
    raw = tmp_path / "raw.wav"
    ffmpeg("-i", report.outputs["instrumental"], "-ar", sample_rate, raw)
    found, _ = soundfile.read(raw)
    both = [soundfile.read(raw)[0][:, 0]]
    ffmpeg("-i", report.outputs["vocals"], "-ar", sample_rate, raw)
    both.append(soundfile.read(raw)[0][:, 0])
    n = len(stereo_song)
    assert all(n <= len(x) <= n + 2048 for x in both), len(found)
    total = both[0][20_000:40_000] + both[1][20_000:40_000]
    mixture = stereo_song[19_000:41_000, 0]
    lags = np.correlate(mixture - mixture.mean(), total - total.mean(), "valid")
    assert int(np.argmax(lags)) == 1000


@pytest.mark.parametrize("file_format", ALL)
def test_tags_covers_and_the_mark_arrive(
    covered_song: Path, tmp_path, tiny_model, file_format: str
) -> None:
    report = edgestem.separate_file(
        covered_song, tmp_path / "out", file_format=file_format, model=tiny_model
    )
    stem = report.outputs["instrumental"]
    assert is_stem(stem)
    song = open_song(stem)
    song.close()
    assert song.tags["title"] == "Größe/日本 (Instrumental)"
    assert song.tags["artist"] == "AC/DC: live?"
    assert song.tags["tracknumber"].split("/")[0] == "3"
    if file_format == "wav":  # it has no place for pictures
        return
    covers = read_covers(stem)
    assert [(c.mime, c.data) for c in covers] == [
        ("image/jpeg", (tmp_path / "cover.jpg").read_bytes()),
        ("image/png", (tmp_path / "cover.png").read_bytes()),
    ]
    probe = ("ffprobe", "-v", "error", "-show_streams", "-of", "json", stem)
    found = json.loads(subprocess.run(probe, capture_output=True, check=True).stdout)
    kinds = [s["codec_type"] for s in found["streams"]]
    assert sorted(kinds) == ["audio", "video", "video"]


def test_what_is_no_file_with_covers_has_none(tmp_path) -> None:
    for data in (b"", b"ID3", b"ID3\3\0\0\0\0\0\x7fAPIC", b"fLaC", b"fLaC\6\0\0\1\0"):
        path = tmp_path / "bad"
        path.write_bytes(data)
        assert read_covers(path) == ()
        assert not is_stem(path)
    for data in (b"OggS", b"\0\0\0\x08ftypM4A ", b"\xff\xff\xff\xffftypmoov", b"RIFF"):
        path.write_bytes(data)
        assert read_covers(path) == ()
        assert not is_stem(path)
    assert read_covers(tmp_path / "nowhere") == ()
    assert Cover(b"x", "image/png").kind == 3


def test_a_stem_is_no_song_wherever_it_lies(
    needs_ffmpeg, write_song, tmp_path, tiny_model
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    song = write_song()
    for number, file_format in enumerate(ALL):
        output = Output(file_format=file_format)
        report = FileSeparator(output, tiny_model).to_folder(
            song, tmp_path / file_format
        )
        stem = Path(report.outputs["vocals"])
        stem.rename(library / f"Song {number}{stem.suffix}")
    song.rename(library / "real.wav")
    found = Found()
    search(library, tmp_path / "elsewhere", found)
    assert [p.name for p in found.songs] == ["real.wav"]
    assert found.counts() == {"stem": len(ALL)}


def test_ffmpeg_that_is_not_there_is_said(
    write_song, tmp_path, tiny_model, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(edgestem.AudioError, match="apt install ffmpeg") as caught:
        edgestem.separate_file(
            write_song(), tmp_path / "out", file_format="m4a", model=tiny_model
        )
    assert caught.value.code == "ffmpeg_missing"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file_format", ["m4a", "opus"])
def test_no_room_leaves_no_stem(
    needs_ffmpeg, command, write_song, tmp_path, file_format
) -> None:
    """A limit on file sizes stands for a full disk."""
    x = np.random.default_rng(5).normal(0, 0.3, (44100 * 8, 2))
    song = write_song(x=x)
    words = ("separate", song, "-o", tmp_path / "out", "--format", file_format)
    script = 'ulimit -f 60; trap "" XFSZ; exec "$@"'
    line = ["bash", "-c", script, "x", *command(*words)]
    found = warm.run(line, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1, found.stderr
    assert not (tmp_path / "out").exists()
