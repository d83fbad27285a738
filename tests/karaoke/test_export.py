"""Layouts: what each writes of a mixed library, in step, and nothing twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import warm
from karaoke_library import (
    RATE,
    TEXT,
    decoded,
    ffmpeg,
    make_library,
    noise,
    offset,
    samples,
    video_hash,
)

from edgestem.karaoke.export import Export as Plans
from edgestem.karaoke.items import Item
from edgestem.karaoke.layouts.choice import make_layout
from edgestem.karaoke.layouts.layout import Settings
from edgestem.karaoke.makers import Separating
from edgestem.network.choices import DEFAULT
from edgestem.network.compute import ANY
from edgestem.sound import mp4
from edgestem.sound.formats import ALL_CONTAINERS
from edgestem.sound.tags import is_stem

Export = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLE = Path(__file__).parents[2] / "examples" / "song.ogg"


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, needs_ffmpeg: None) -> Path:
    return make_library(tmp_path_factory.mktemp("made") / "library")


@pytest.fixture
def library(made_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_once, tmp_path / "library"))


@pytest.fixture
def export(command: Callable[..., list[str]], tiny_model: Path) -> Export:
    def call(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
        line = command("export", *words, "--model", tiny_model)
        return warm.run(
            line, capture_output=True, text=True, env=os.environ | env, check=False
        )

    return call


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def twice(
    export: Export, library: Path, *words: object, songs: Sequence[Path] = ()
) -> dict[str, int]:
    """Export, and once more: the second run does nothing and ends with 0.

    All songs of the library, or some of them.
    """
    words = (*(songs or (library,)), *words, "--json")
    first = export(*words)
    assert first.returncode == 0, first.stderr
    before = tree(library.parent)
    second = export(*words)
    assert second.returncode == 0, second.stderr
    assert tree(library.parent) == before
    counts = [json.loads(r.stdout.splitlines()[-1])["summary"] for r in (first, second)]
    assert counts[1]["written"] == 0
    assert counts[1]["skipped"] == counts[0]["written"]
    assert counts[0]["failed"] == 0
    return counts[0]


def streams(path: Path) -> list[dict]:
    line = ("ffprobe", "-v", "error", "-show_streams", "-show_chapters", "-of", "json")
    done = subprocess.run([*line, str(path)], capture_output=True, check=True)
    return json.loads(done.stdout)["streams"]


# ---- sound files ---------------------------------------------------------------


def test_folders_and_flat(export, library, tmp_path) -> None:
    out = tmp_path / "out"
    assert twice(export, library, "-o", out, "--layout", "folders")["written"] == 9
    assert (out / "Rock" / "Free" / "vocals.mp3").is_file()
    assert (out / "UltraStar" / "us" / "instrumental.mp3").is_file()
    flat = tmp_path / "flat"
    words = ("-o", flat, "--layout", "flat", "--format", "opus")
    songs = [library / name for name in ("Zipped.zip", "Plain.wav", "Apple.m4a")]
    assert twice(export, library, *words, songs=songs)["written"] == 3
    assert (flat / "Zipped (vocals).opus").is_file()


def test_openhome_has_its_two_folders_of_whole_names(export, library) -> None:
    assert twice(export, library, "--layout", "openhome")["written"] == 9
    names = {p.name for p in (library / "nonvocal").iterdir()}
    assert names == {p.name for p in (library / "vocal").iterdir()}
    assert "Film - One---dQw4w9WgXcQ.mp4.m4a" in names
    song = decoded(library / "Film - One---dQw4w9WgXcQ.mp4")
    both = [
        decoded(library / d / "Film - One---dQw4w9WgXcQ.mp4.m4a")
        for d in ("vocal", "nonvocal")
    ]
    n = min(map(len, [song, *both]))
    assert offset(song[:n], both[0][:n] + both[1][:n]) == 0


def test_performous_stems_sum_to_the_song(export, library, tmp_path) -> None:
    out = tmp_path / "out"
    assert twice(export, library, "-o", out, "--layout", "performous")["written"] == 9
    stems = [soundfile.read(out / "Plain" / f"{n}.ogg")[0] for n in ("song", "vocals")]
    song = soundfile.read(library / "Plain.wav")[0]
    error = stems[0] + stems[1] - song
    assert 10 * np.log10(np.mean(error**2) / np.mean(song**2)) < -12  # ogg of noise
    assert offset(song, stems[0] + stems[1]) == 0


# ---- videos and MP3+G ------------------------------------------------------------


def test_pikaraoke_gets_siblings_in_step(export, library) -> None:
    counts = twice(export, library, "--layout", "pikaraoke")
    assert (counts["written"], counts["own"]) == (4, 0)
    film = library / "Film - One (Instrumental)---dQw4w9WgXcQ.mp4"
    original = library / "Film - One---dQw4w9WgXcQ.mp4"
    assert video_hash(film) == video_hash(original)
    assert [s["codec_type"] for s in streams(film)] == ["video", "audio"]
    assert is_stem(film)
    matroska = library / "Matroska (Instrumental).mkv"
    assert video_hash(matroska) == video_hash(library / "Matroska.mkv")
    kinds = [s["codec_type"] for s in streams(matroska)]
    assert kinds == ["video", "audio", "subtitle"]
    assert is_stem(matroska)


def test_cdg_pairs_and_zips_keep_their_lyrics_in_time(export, library) -> None:
    assert export(library, "--layout", "pikaraoke").returncode == 0
    cdg = (library / "Disc.cdg").read_bytes()
    assert (library / "Disc (Instrumental).cdg").read_bytes() == cdg
    n = soundfile.info(library / "Disc.mp3").frames
    assert soundfile.info(library / "Disc (Instrumental).mp3").frames == n
    with zipfile.ZipFile(library / "Zipped (Instrumental).zip") as archive:
        base = "Zipped (Instrumental)"
        assert archive.namelist() == [f"{base}.mp3", f"{base}.cdg"]
        assert archive.read(f"{base}.cdg") == cdg
        archive.extract(f"{base}.mp3", library)
    assert soundfile.info(library / f"{base}.mp3").frames == n


@pytest.mark.parametrize("file_format", [None, "flac"])
def test_tracks_are_titled_in_step_and_the_picture_is_untouched(
    export, library, tmp_path, file_format
) -> None:
    out = tmp_path / "out"
    words = ("-o", out, "--layout", "tracks", "--with-vocals")
    words += ("--format", file_format) if file_format else ()
    names = ("Film - One---dQw4w9WgXcQ.mp4", "Matroska.mkv", "Plain.wav")
    originals = [library / name for name in names]
    songs = originals if file_format else ()  # all of them once is enough
    counts = twice(export, library, *words, songs=songs)
    assert counts["written"] == (len(songs) or 8)
    for original in originals:
        (path,) = (p for p in out.iterdir() if p.stem == original.stem)
        found = [s for s in streams(path) if s["codec_type"] == "audio"]
        assert [s["disposition"]["default"] for s in found] == [1, 0, 0]
        names = ["Instrumental", "With vocals", "Vocals"]
        key = "handler_name" if path.suffix == ".mp4" else "title"
        assert [s["tags"][key] for s in found] == names
        assert found[0]["tags"]["language"] == "zxx"
        assert is_stem(path)
        if original.suffix != ".wav":
            assert video_hash(path) == video_hash(original)
        song = decoded(original)
        tracks = [decoded(path, f"0:a:{n}") for n in range(3)]
        n = min(map(len, [song, *tracks]))
        instrumental, whole, vocals = (t[:n] for t in tracks)
        between = offset(whole, instrumental + vocals)
        assert abs(between) <= (45 if path.suffix == ".mkv" else 0)  # it counts ms


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_films_keep_chapters_and_subtitles_and_every_track_is_in_step(
    export, needs_ffmpeg, tmp_path, container
) -> None:
    film = make_film(tmp_path / "in", container)
    out = tmp_path / "out"
    for layout in ("tracks", "pikaraoke"):
        words = ("-o", out / layout, "--layout", layout)
        words += ("--with-vocals",) * (layout == "tracks")
        assert export(film, *words).returncode == 0
        (path,) = (out / layout).iterdir()
        assert video_hash(path) == video_hash(film)
        assert chapters(path) == chapters(film) == ["Eins", "Zwei"]
        late = picture_starts(path) - picture_starts(film)  # Vorbis begins before 0
        assert late <= 0.003
        (before, text), (after, same) = map(subtitle, (film, path))
        assert (round(after - before - late, 3), same) == (0, text)
        song = decoded(film)
        for number in range(3 if layout == "tracks" else 1):
            found = offset(song, decoded(path, f"0:a:{number}"))
            assert found == round(late * RATE)


def make_film(folder: Path, container: str) -> Path:
    """Make a film with sound, subtitles and two chapters."""
    folder.mkdir()
    wav, srt, meta = (folder.parent / n for n in ("s.wav", "s.srt", "s.txt"))
    soundfile.write(wav, noise(7), RATE)
    srt.write_text("1\n00:00:00,500 --> 00:00:01,500\nLa la\n")
    chapter = "[CHAPTER]\nTIMEBASE=1/1000\nSTART={}\nEND={}\ntitle={}\n"
    both = chapter.format(0, 1000, "Eins") + chapter.format(1000, 3000, "Zwei")
    meta.write_text(";FFMETADATA1\n" + both)
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=3")
    maps = ("-map", "0:v", "-map", "1:a", "-map", "2", "-map_metadata", 3)
    kinds = ("aac", "mov_text") if container == "mp4" else ("flac", "srt")
    film = folder / f"Film.{container}"
    ffmpeg(*picture, "-i", wav, "-i", srt, "-i", meta, *maps, "-c:v", "mpeg4",
           "-c:a", kinds[0], "-c:s", kinds[1], film)  # fmt: skip
    return film


def chapters(path: Path) -> list[str]:
    line = ("ffprobe", "-v", "error", "-show_chapters", "-of", "json", str(path))
    done = subprocess.run(line, capture_output=True, check=True)
    return [c["tags"]["title"] for c in json.loads(done.stdout)["chapters"]]


def subtitle(path: Path) -> tuple[float, str]:
    line = ("ffprobe", "-v", "error", "-select_streams", "s", "-show_packets")
    line += ("-show_data", "-of", "json", str(path))
    done = subprocess.run(line, capture_output=True, check=True)
    packets = json.loads(done.stdout)["packets"]
    (found,) = (p for p in packets if "La la" in p["data"])
    return float(found["pts_time"]), found["data"]


def picture_starts(path: Path) -> float:
    line = ("ffprobe", "-v", "error", "-select_streams", "v", "-of", "csv=p=0")
    line += ("-show_entries", "frame=pts_time", "-read_intervals", "%+#1", str(path))
    done = subprocess.run(line, capture_output=True, check=True, text=True)
    return float(done.stdout.strip(",\n"))


def test_late_sound_in_a_film_stays_late(export, tmp_path, library) -> None:
    """Sound that starts 60 ms after the picture does so in all layouts."""
    late = tmp_path / "in" / "Late.mkv"
    late.parent.mkdir()
    film = str(library / "Matroska.mkv")
    line = ("ffmpeg", "-v", "error", "-i", film, "-itsoffset", "0.060", "-i", film)
    line += ("-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "flac", str(late))
    subprocess.run(line, check=True)
    out = tmp_path / "out"
    words = ("-o", out, "--layout", "tracks", "--with-vocals", "--format", "flac")
    assert export(late, *words).returncode == 0
    song = decoded(late)
    tracks = [decoded(out / "Late.mkv", f"0:a:{n}") for n in range(3)]
    n = min(map(len, [song, *tracks]))
    assert offset(song[:n], tracks[1][:n]) == 0
    assert abs(offset(song[:n], tracks[0][:n] + tracks[2][:n])) <= 1  # ms of Matroska


# ---- NI stems ----------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["m4a", "alac"])
def test_ni_stems_pass_mixxx_checks(export, library, tmp_path, file_format) -> None:
    """The rules of mixxx' steminfoimporter and soundsourcestem, from its source."""
    out = tmp_path / "out"
    words = ("-o", out, "--layout", "stems", "--format", file_format)
    few = [library / "Plain.wav", library / "Tagged.mp3"]
    songs = few if file_format == "alac" else ()
    counts = twice(export, library, *words, songs=songs)
    assert counts["written"] == (len(songs) or 8)
    path = out / "Plain.stem.mp4"
    found = streams(path)
    assert len(found) == 5
    assert {(s["codec_type"], s["channels"]) for s in found} == {("audio", 2)}
    assert [s["disposition"]["default"] for s in found] == [1, 0, 0, 0, 0]
    with path.open("rb") as file:
        moov = mp4.read_moov(file.fileno())
    said = json.loads(mp4.find(moov.payload, b"udta", b"stem"))
    assert said["version"] == 1
    names = [stem["name"] for stem in said["stems"]]
    assert names == ["-", "-", "Instrumental", "Vocals"]
    mix, one, two, instrumental, vocals = (
        decoded(path, f"0:a:{n}").astype(np.float64) for n in range(5)
    )
    assert not np.any(one) and not np.any(two)
    assert len({len(x) for x in (mix, one, two, instrumental, vocals)}) == 1
    song = soundfile.read(library / "Plain.wav", always_2d=True)[0]
    if file_format == "alac":
        assert np.array_equal(mix, song)
        assert np.abs(instrumental + vocals - mix).max() <= 1 / 32768
    assert offset(song, mix[: len(song)]) == 0
    tagged = out / "Tagged.stem.mp4"
    assert is_stem(tagged)
    probe = ("ffprobe", "-v", "error", "-show_entries", "format_tags=title")
    done = subprocess.run([*probe, str(tagged)], capture_output=True, text=True)
    assert "TAG:title=Tagged\n" in done.stdout


# ---- UltraStar ---------------------------------------------------------------------


def test_ultrastar_gets_two_lines_and_loses_them_again(export, library) -> None:
    before = tree(library)
    counts = twice(export, library, "--layout", "ultrastar")
    assert counts["written"] == 1
    folder = library / "UltraStar"
    name = "Ünï - Größe"
    lines = f"#INSTRUMENTAL:{name} [INSTR].mp3\r\n#VOCALS:{name} [VOC].mp3\r\n"
    at = TEXT.index(": 0")
    expected = TEXT[:at] + lines + TEXT[at:]
    assert (folder / f"{name}.txt").read_bytes() == expected.encode("cp1252")
    both = [decoded(folder / f"{name} [{w}].mp3") for w in ("INSTR", "VOC")]
    assert offset(decoded(folder / "us.mp3"), both[0] + both[1]) == 0
    undone = export(library, "--layout", "ultrastar", "--undo")
    assert undone.returncode == 0, undone.stderr
    after = tree(library)
    assert {k: v[1] for k, v in after.items()} == {k: v[1] for k, v in before.items()}


OWN = ("flac", "mp3", "ogg", "m4a")


@pytest.fixture(scope="session")
def texts_once(tmp_path_factory: pytest.TempPathFactory, needs_ffmpeg: None) -> Path:
    """Four texts of the same music, each with a file of its own kind."""
    folder = tmp_path_factory.mktemp("texts")
    text = "#TITLE:{0}\n#ARTIST:A\n#MP3:{0}.{0}\n#BPM:300\n: 0 4 5 La\nE\n"
    for own in OWN:
        words = ("-sample_fmt:a", "s16") if own == "flac" else ("-b:a", "192k")
        song = folder / f"{own}.{own}"
        ffmpeg("-ss", 5, "-t", 6, "-i", EXAMPLE, "-ar", 44100, *words, song)
        (folder / f"{own}.txt").write_text(text.format(own))
        np.save(folder / f"{own}.npy", samples(song))
    return folder


@pytest.fixture(scope="module")
def exported_texts(
    tmp_path_factory: pytest.TempPathFactory, texts_once: Path, tiny_model: Path
) -> Callable[[str], Path]:
    """Export the four texts, once for each format."""

    @cache
    def call(file_format: str) -> Path:
        folder = tmp_path_factory.mktemp(file_format) / "texts"
        shutil.copytree(texts_once, folder)
        words = ("--layout", "ultrastar", "--format", file_format)
        line = [sys.executable, "-m", "edgestem", "export", folder, *words]
        warm.run([*line, "--model", tiny_model], check=True, capture_output=True)
        return folder

    return call


@pytest.mark.parametrize("file_format", ALL_CONTAINERS)
@pytest.mark.parametrize("own", OWN)
def test_ultrastar_mix_law(texts_once, exported_texts, own, file_format) -> None:
    """UltraStar Deluxe plays s x song + (1 - s) x instrumental, in step: music.

    Half of each file is 25 ms late or early where an encoder's delay is left in: that
    is an error of about 0 dB.
    """
    folder = exported_texts(file_format)
    (instr,), (voc,) = (list(folder.glob(f"{own} *{w}*")) for w in ("INSTR", "VOC"))
    whole = np.load(texts_once / f"{own}.npy")
    instrumental, vocals = map(samples, (instr, voc))
    n = min(len(whole), len(instrumental), len(vocals))
    whole, instrumental, vocals = whole[:n], instrumental[:n], vocals[:n]
    is_exact = own == "flac" and file_format in ("flac", "wav", "alac")
    for share in (0.2, 0.5):
        wanted = instrumental + share * vocals
        error = share * whole + (1 - share) * instrumental - wanted
        level = 10 * np.log10(np.mean(error**2) / np.mean(wanted**2) + 1e-30)
        assert level < (-100 if is_exact else -25), (share, level)


# ---- what may not happen -----------------------------------------------------------


def test_what_edgestem_did_not_make_is_not_replaced(export, library, tmp_path) -> None:
    out = tmp_path / "out"
    (out / "Plain").mkdir(parents=True)
    (out / "Plain" / "vocals.mp3").write_bytes(b"precious")
    found = export(library / "Plain.wav", "-o", out, "--layout", "folders")
    assert found.returncode == 1
    assert "edgestem did not make it" in found.stderr
    assert (out / "Plain" / "vocals.mp3").read_bytes() == b"precious"


def test_a_changed_song_is_done_again(export, library, tmp_path) -> None:
    out = tmp_path / "out"
    song = library / "Plain.wav"
    assert export(song, "-o", out, "--layout", "folders").returncode == 0
    before = tree(out)
    shutil.copy(library / "Rock" / "Free.flac", song)
    later = song.stat().st_mtime_ns + 10**10
    os.utime(song, ns=(later, later))
    assert export(song, "-o", out, "--layout", "folders").returncode == 0
    assert tree(out) != before


def test_two_songs_of_one_name_are_said(export, library, tmp_path) -> None:
    shutil.copy(library / "Plain.wav", library / "Rock" / "Plain.wav")
    out = tmp_path / "out"
    found = export(library, "-o", out, "--layout", "flat", "--json")
    assert found.returncode == 1
    codes = [json.loads(text).get("error", {}) for text in found.stdout.splitlines()]
    assert [c["code"] for c in codes if c] == ["same_name"]


def test_two_songs_whose_names_a_disk_takes_for_one(tmp_path, monkeypatch) -> None:
    """`Halo` and `HALO` are one file on FAT: the second is said, not written over."""
    monkeypatch.setattr("edgestem.files.spelling.folds_case", lambda _: True)
    songs = [tmp_path / name for name in ("Halo.wav", "HALO.wav", "b.wav")]
    for song in songs:
        song.touch()
    layout = make_layout("flat", Settings(tmp_path / "out"))
    items = [Item(song, tmp_path, "song") for song in songs]
    jobs = list(Plans(layout, Separating(DEFAULT, ANY)).plan(items))
    codes = [job.problem and job.problem.code for job in jobs]
    assert codes == [None, "same_name", None]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_damaged_song_is_done_and_said(export, library, tmp_path, n_jobs) -> None:
    """Also one in a zip, by the name that the user knows."""
    for name in ("one.mp3", "two.mp3"):
        data = (library / "Tagged.mp3").read_bytes()
        (library / name).write_bytes(data[: len(data) // 2])
    zipped = library / "cut.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(library / "one.mp3", "x.mp3")
        archive.writestr("x.cdg", b"")
    songs = [library / "one.mp3", library / "two.mp3", zipped]
    words = ("-o", tmp_path / "out", "--layout", "flat", "--json", "--jobs", n_jobs)
    found = export(*songs, *words)
    assert found.returncode == 0
    told = [json.loads(line) for line in found.stdout.splitlines()]
    told = [line for line in told if "input" in line]
    assert {line["input"] for line in told} == {str(song) for song in songs}
    for line in told:
        (sentence,) = line["warnings"]
        assert sentence.startswith(f"{line['input']} is damaged or incomplete")
        assert f"edgestem: warning: {sentence}" in found.stderr.splitlines()


def test_earlier_stems_are_taken(export, command, library, tmp_path) -> None:
    stems = tmp_path / "stems"
    line = command("separate", library, "-o", stems, "--format", "flac")
    assert warm.run(line, capture_output=True).returncode == 0
    made = stems / "Plain" / "vocals.flac"
    x = np.zeros_like(soundfile.read(made)[0])
    x[1000] = 0.5
    soundfile.write(made, x, 44100)  # so that it is told from what would be made
    out = tmp_path / "out"
    words = ("-o", out, "--layout", "folders", "--stems", stems, "--format", "flac")
    assert export(library / "Plain.wav", *words).returncode == 0
    found = soundfile.read(out / "Plain" / "vocals.flac")[0]
    assert np.array_equal(found, x)
    assert is_stem(out / "Plain" / "vocals.flac")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--layout", "folders"), "-o DIR"),
        (("--layout", "ultrastar", "-o", "x"), "leave out -o"),
        (("--layout", "openhome", "--format", "mp3"), "read as m4a"),
        (("--layout", "tracks", "-o", "x", "--format", "mp3"), "holds m4a"),
        (
            ("--layout", "stems", "-o", "x", "--name", "{song}.{ext}"),
            "leave out --name",
        ),
        (("--layout", "flat", "-o", "x", "--name", "{song}.{ext}"), "add {stem}"),
        (("--layout", "flat", "-o", "x", "--with-vocals"), "belongs to"),
        (("--layout", "flat", "-o", "x", "--undo"), "--undo is for ultrastar"),
        (("--layout", "flt", "-o", "x"), "flat"),
    ],
)
def test_options_that_do_not_fit_are_said_in_one_sentence(
    export, tmp_path, words, why
) -> None:
    found = export(tmp_path, *words)
    assert found.returncode == 2
    assert why in found.stderr
    assert found.stderr.count("\n") == 1


def test_bad_items_are_named_and_the_others_done(export, library, tmp_path) -> None:
    (library / "Broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    film = library / "Film - One---dQw4w9WgXcQ.mp4"
    mute = str(library / "Mute.mp4")
    line = ("ffmpeg", "-v", "error", "-i", str(film), "-an", "-c", "copy", mute)
    subprocess.run(line, check=True)
    with zipfile.ZipFile(library / "Bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.cdg", bytes(1000))
        archive.writestr("a.mp3", bytes(600 << 20))
    with zipfile.ZipFile(library / "Two.zip", "w") as archive:
        for name in ("a.cdg", "a.mp3", "b.mp3"):
            archive.writestr(name, b"x")
    found = export(library, "--layout", "pikaraoke", "--json")
    assert found.returncode == 1
    lines = [json.loads(text) for text in found.stdout.splitlines()]
    bad = {Path(line["input"]).name for line in lines if "error" in line}
    assert bad == {"Broken.mp4", "Mute.mp4", "Bomb.zip", "Two.zip"}
    assert lines[-1]["summary"]["written"] == 4
    hidden = [p for p in library.rglob(".*")]
    assert hidden == []


@pytest.mark.parametrize("layout", ["pikaraoke", "ultrastar"])
def test_kills_leave_whole_files_and_the_next_run_ends_it(
    export, command, library, tmp_path, tiny_model, layout
) -> None:
    quiet = Path(shutil.copytree(library, tmp_path / "quiet"))
    assert export(quiet, "--layout", layout).returncode == 0
    wanted = {name: data for name, (_, data) in tree(quiet).items()}
    before = set(tree(library))
    rng = random.Random(4)
    line = command("export", library, "--layout", layout, "--model", tiny_model, "-q")
    for _ in range(int(os.environ.get("EDGESTEM_KILLS", "6"))):
        process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.4, 2.5))
        process.kill()
        process.wait()
        for name, (_, data) in tree(library).items():
            if Path(name).name[0] == "." or data == wanted[name]:
                continue
            assert name in before and name.endswith(".txt")  # not changed yet
    assert export(library, "--layout", layout).returncode == 0
    assert {name: data for name, (_, data) in tree(library).items()} == wanted


def test_a_library_that_cannot_be_written_is_said(export, library) -> None:
    """A file stands for a folder without rights: root may write everywhere."""
    (library / "nonvocal").write_bytes(b"")
    found = export(library / "Plain.wav", "--layout", "openhome")
    assert found.returncode == 1
    assert "choose another folder with -o [unwritable]" in found.stderr
    assert (library / "nonvocal").read_bytes() == b""


# As root of a user namespace: the folder that is named first cannot be written.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def test_a_read_only_library_is_named_and_can_be_read(
    command, library, tmp_path, tiny_model
) -> None:
    before = ("unshare", "-rUm", "sh", "-c", READ_ONLY, library)
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    old = tree(library)

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [*before, *command(*words, "--model", tiny_model)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    for layout in ("openhome", "pikaraoke", "ultrastar"):
        done = run("export", library, "--layout", layout, "-q")
        lines = done.stderr.splitlines()
        assert done.returncode == 1
        assert lines and all(text.endswith("[unwritable]") for text in lines), lines
    done = run("watch", library, "--layout", "openhome", "--once")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.endswith("[unwritable]\n")
    out = tmp_path / "out"
    song = library / "Plain.wav"
    assert run("export", song, "-o", out, "--layout", "flat").returncode == 0
    assert len(list(out.iterdir())) == 2
    assert tree(library) == old
