"""Every song is read to its end, or it is said what is missing, where and how much."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem import decoder, incoming, opening, reading, source, tracks, wav
from edgestem.errors import AudioError, EdgestemError
from edgestem.grid import GRIDS
from edgestem.reading import open_song
from edgestem.song import Song

RATE = 44100
PIPES = {"capture_output": True, "timeout": 60}


def ffmpeg(source: Path, name: str, *words: str, before: tuple[str, ...] = ()) -> Path:
    target = source.with_name(name)
    command = ["ffmpeg", "-v", "error", "-y", *before, "-i", source, *words, target]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return target


def read_all(path: str | Path) -> tuple[np.ndarray, Song]:
    song = open_song(path)
    blocks = []
    try:
        while len(x := song.read(10_000)):
            blocks.append(x)
    finally:
        song.close()
    return np.concatenate(blocks or [np.zeros((0, song.n_channels))]), song


def told(path: str | Path) -> str:
    song = read_all(path)[1]
    return song.warning.replace(str(path), "SONG")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds, 16 bit; loud and quiet in turns: VBR needs that."""
    rng = np.random.default_rng(7)
    t = np.arange(4 * RATE) / RATE
    x = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)) / 30
    x = x + rng.normal(0, 0.1, len(t)) * (t % 2 > 1)
    path = tmp_path_factory.mktemp("music") / "music.wav"
    soundfile.write(path, np.stack([x, np.roll(x, 13)], 1), RATE, "PCM_16")
    return path


# ---- whole songs are left in peace -------------------------------------------

WHOLE = {
    "u8.wav": ("-c:a", "pcm_u8"),
    "24.wav": ("-c:a", "pcm_s24le"),
    "float.wav": ("-c:a", "pcm_f32le"),
    "double.wav": ("-c:a", "pcm_f64le"),
    "alaw.wav": ("-c:a", "pcm_alaw"),
    "ms.wav": ("-c:a", "adpcm_ms"),
    "ima.wav": ("-c:a", "adpcm_ima_wav"),
    "mp3.wav": ("-c:a", "libmp3lame"),
    "rf64.wav": ("-rf64", "always"),
    "a.aiff": (),
    "a.au": (),
    "a.caf": (),
    "alac.caf": ("-c:a", "alac"),
    "a.w64": (),
    "a.voc": ("-c:a", "pcm_s16le"),
    "a.flac": (),
    "flac.oga": ("-c:a", "flac"),
    "a.ogg": ("-c:a", "libvorbis"),
    "a.opus": (),
    "cbr.mp3": ("-b:a", "128k"),
    "vbr.mp3": ("-q:a", "4"),
    "bare.mp3": ("-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"),
    "old.mp3": ("-b:a", "128k", "-write_id3v1", "1", "-metadata", "title=Hi"),
    "low.mp3": ("-ac", "1", "-ar", "22050"),
    "a.mp2": (),
    "aac.m4a": (),
    "alac.m4a": ("-c:a", "alac"),
    "a.aac": (),
    "a.mka": (),
    "a.webm": (),
    "a.wma": ("-c:a", "wmav2"),
    "a.ac3": (),
    "a.tta": (),
    "a.wv": (),
    "a.ts": (),
    "a.avi": (),
    "a.flv": ("-ar", "44100"),
    "fragments.mp4": ("-movflags", "frag_keyframe+empty_moov"),
}


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", WHOLE)
def test_of_whole_songs_nothing_is_said(music: Path, name: str) -> None:
    path = ffmpeg(music, f"whole_{name}", *WHOLE[name])
    x, song = read_all(path)
    assert song.warning == ""
    assert abs(len(x) / song.sample_rate - 4) < 0.1
    assert song.n_bad_samples == 0


def test_tags_and_padding_behind_the_sound_are_no_sound(music: Path) -> None:
    if not os.access(music.with_name("t.mp3"), os.F_OK):
        soundfile.write(music.with_name("t.mp3"), soundfile.read(music)[0], RATE)
    data = music.with_name("t.mp3").read_bytes()
    n_samples = len(read_all(music.with_name("t.mp3"))[0])
    item = struct.pack("<II", 30_000, 0) + b"Cover\0" + os.urandom(30_000)
    size = struct.pack("<IIII", 2000, len(item) + 32, 1, 0x80000000)
    ape = item + b"APETAGEX" + size + bytes(8)
    for tail in (b"TAG" + bytes(125), ape, ape + b"TAG" + bytes(125), bytes(9000)):
        path = music.with_name("tail.mp3")
        path.write_bytes(data + tail)
        command = [sys.executable, "-c", READ, str(path)]
        done = subprocess.run(command, **PIPES, text=True)
        assert (done.stdout, done.stderr) == (f"{n_samples}\n\n", "")


READ = """
import sys
from edgestem.reading import open_song
song = open_song(sys.argv[1])
while len(song.read(65536)): pass
print(song.n_read)
print(song.warning)
"""


# ---- what decoders leave unread (N1) -----------------------------------------


@pytest.mark.usefixtures("needs_ffmpeg")
def test_mp3_is_read_by_its_frames_whatever_its_header_says(music: Path) -> None:
    bare = ffmpeg(music, "b.mp3", "-q:a", "4", "-write_xing", "0")
    assert len(read_all(bare)[0]) >= 4 * RATE
    assert told(bare) == ""
    data = bytearray(ffmpeg(music, "h.mp3", "-b:a", "128k").read_bytes())
    joined = bare.with_name("joined.mp3")
    joined.write_bytes(data + data)
    assert len(read_all(joined)[0]) >= 8 * RATE
    at = data.find(b"Info") + 8
    n_frames = int.from_bytes(data[at : at + 4], "big")
    data[at : at + 4] = (n_frames // 2).to_bytes(4, "big")
    half = bare.with_name("half.mp3")
    half.write_bytes(data)
    assert len(read_all(half)[0]) >= 4 * RATE


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("codec", ["libvorbis", "libopus"])
def test_chained_ogg_is_read_link_by_link(music: Path, codec: str) -> None:
    path = ffmpeg(music, f"{codec}.ogg", "-c:a", codec)
    data = path.read_bytes()
    path.write_bytes(data + data)
    x, song = read_all(path)
    assert len(x) >= 8 * song.sample_rate


@pytest.mark.usefixtures("needs_ffmpeg")
def test_flac_beyond_the_length_in_its_header_is_read_and_said(music: Path) -> None:
    path = music.with_name("less.flac")
    soundfile.write(path, soundfile.read(music)[0], RATE, "PCM_16")
    data = bytearray(path.read_bytes())
    word = int.from_bytes(data[18:26], "big") >> 36 << 36 | RATE
    data[18:26] = word.to_bytes(8, "big")
    path.write_bytes(data)
    x, song = read_all(path)
    assert np.array_equal(x, soundfile.read(music, dtype="int16")[0])
    assert "header says 1.0 s; all 4.0 s" in song.warning
    assert not song.damage


@pytest.mark.parametrize("told_bytes", [0, 4 * RATE, 12 * RATE])
def test_wav_beyond_the_length_in_its_header_is_read_and_said(
    music: Path, told_bytes: int
) -> None:
    data = bytearray(music.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = struct.pack("<I", told_bytes)
    path = music.with_name("less.wav")
    path.write_bytes(data + b"TAG" + bytes(125))
    x, song = read_all(path)
    assert np.array_equal(x, soundfile.read(music, dtype="int16")[0])
    assert "all 4.0 s in the file" in song.warning


def test_all_data_chunks_of_a_wav_are_its_samples(music: Path) -> None:
    data = music.read_bytes()
    at = data.find(b"data")
    path = music.with_name("two.wav")
    path.write_bytes(data + b"LIST" + struct.pack("<I", 4) + b"INFO" + data[at:])
    x, song = read_all(path)
    assert len(x) == 8 * RATE
    assert "2 pieces" in song.warning


def test_chunks_behind_the_samples_are_no_samples(music: Path) -> None:
    data = music.read_bytes()
    chunks = b"LIST" + struct.pack("<I", 4) + b"INFO" + b"Xyz1" + struct.pack("<I", 2)
    path = music.with_name("notes.wav")
    path.write_bytes(data + chunks + b"ab")
    assert told(path) == ""
    path.write_bytes(data + data)
    assert "another song follows" in told(path)


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("rate", [0, 8000, 12345, 44100])
def test_opus_is_48_khz_whatever_rate_its_header_mentions(
    music: Path, rate: int
) -> None:
    data = bytearray(ffmpeg(music, "r.opus").read_bytes())
    at = data.find(b"OpusHead") + 12
    data[at : at + 4] = struct.pack("<I", rate)
    path = music.with_name("rate.opus")
    path.write_bytes(with_checksum(data))
    x, song = read_all(path)
    assert (song.sample_rate, len(x), song.warning) == (48000, 4 * 48000, "")


def with_checksum(data: bytearray) -> bytes:
    """Make an Ogg file's first checksum right."""
    n_bytes = 27 + data[26] + sum(data[27 : 27 + data[26]])
    data[22:26] = bytes(4)
    crc = 0
    for byte in data[:n_bytes]:
        crc ^= byte << 24
        for _ in range(8):
            crc = crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)
            crc &= 0xFFFFFFFF
    data[22:26] = struct.pack("<I", crc)
    return bytes(data)


@pytest.mark.usefixtures("needs_ffmpeg")
def test_samples_of_64_bits_keep_their_kind(music: Path) -> None:
    doubles = ffmpeg(music, "d.mka", "-c:a", "pcm_f64le")
    assert read_all(doubles)[1].grid == GRIDS["double"]
    whole = ffmpeg(music, "i.wav", "-c:a", "pcm_s64le")
    assert read_all(whole)[1].grid == GRIDS["32"]


# ---- torn songs (N2) ---------------------------------------------------------

# What is left out has its index at its end, or no length at all.
TORN = WHOLE.keys() - {"alac.caf", "aac.m4a", "alac.m4a"}


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", sorted(TORN))
def test_a_torn_song_is_said_to_be_torn(music: Path, name: str) -> None:
    data = ffmpeg(music, f"torn_{name}", *WHOLE[name]).read_bytes()
    path = music.with_name(f"half_{name}")
    path.write_bytes(data[: len(data) // 2 + 3])
    x, song = read_all(path)
    assert 0.5 < len(x) / song.sample_rate < 3.5
    assert song.damage


def test_a_header_that_promises_and_holds_nothing_is_an_error(music: Path) -> None:
    data = music.read_bytes()
    path = music.with_name("head.wav")
    path.write_bytes(data[: data.find(b"data") + 8])
    with pytest.raises(AudioError, match="nothing of it could be read"):
        read_all(path)


def test_a_song_without_samples_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros((0, 2)), RATE)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    x, song = read_all(path)
    assert len(x) == 0
    assert "holds no sample" in song.warning


def test_lengths_that_look_equal_are_told_in_samples(music: Path) -> None:
    path = music.with_name("byte.wav")
    path.write_bytes(music.read_bytes()[:-1])
    assert f"{4 * RATE - 1} of {4 * RATE} samples" in told(path)


# ---- loss inside a song (N3) -------------------------------------------------


@pytest.mark.usefixtures("needs_ffmpeg")
def test_lossless_songs_are_read_on_past_damage_and_all_stays_at_its_place(
    music: Path,
) -> None:
    whole = soundfile.read(music, dtype="int16")[0]
    flac, alac = ffmpeg(music, "w.flac"), ffmpeg(music, "w.m4a", "-c:a", "alac")
    for path in (flac, alac):
        data = bytearray(path.read_bytes())
        at = len(data) // 2
        data[at : at + 5000] = bytes(5000)
        path.write_bytes(data)
        x, song = read_all(path)
        assert len(x) == len(whole)
        wrong = np.flatnonzero((x != whole).any(1))
        assert not x[wrong].any()
        assert wrong[-1] - wrong[0] < RATE
        assert "could not be decoded at 0:0" in song.warning
        assert "silence stands there" in song.warning


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", ["hole.tta", "hole.wv"])
def test_damage_is_said_of_every_lossless_codec(music: Path, name: str) -> None:
    data = bytearray(ffmpeg(music, name).read_bytes())
    at, n_bytes = len(data) // 2, len(data) // 20
    data[at : at + n_bytes] = bytes(n_bytes)
    path = music.with_name(f"damaged_{name}")
    path.write_bytes(data)
    x, song = read_all(path)
    assert abs(len(x) - 4 * RATE) < RATE / 100
    assert song.damage


@pytest.mark.usefixtures("needs_ffmpeg")
def test_streams_of_other_rates_behind_the_first_have_no_gap(music: Path) -> None:
    first = ffmpeg(music, "m1.mp3", "-b:a", "128k").read_bytes()
    second = ffmpeg(music, "m2.mp3", "-b:a", "64k", "-ar", "48000", "-ac", "1")
    path = music.with_name("mixed.mp3")
    path.write_bytes(first + second.read_bytes())
    x, song = read_all(path)
    assert abs(len(x) - 8 * RATE) < RATE / 10
    assert song.warning == ""


def test_codecs_whose_header_says_less_than_there_is_are_said(music: Path) -> None:
    data = bytearray(encoded(music, "WAV", "MS_ADPCM", 60_000))
    at = data.find(b"data") + 4
    size = int.from_bytes(data[at : at + 4], "little")
    data[at : at + 4] = struct.pack("<I", size - 20 * 1024 - size % 1024)
    path = music.with_name("adpcm.wav")
    path.write_bytes(data)
    assert "more samples than its header says" in told(path)


@pytest.mark.usefixtures("needs_ffmpeg")
def test_one_wrong_bit_of_a_flac_costs_a_frame(music: Path) -> None:
    whole = soundfile.read(music, dtype="int16")[0]
    path = ffmpeg(music, "bit.flac")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    x, song = read_all(path)
    assert len(x) == len(whole)
    wrong = np.flatnonzero((x != whole).any(1))
    assert len(wrong) < RATE // 4
    assert song.damage


@pytest.mark.usefixtures("needs_ffmpeg")
def test_frames_that_are_missing_from_an_mp3_are_said(music: Path) -> None:
    data = ffmpeg(music, "g.mp3", "-b:a", "128k").read_bytes()
    at = data.find(b"\xff\xfb")
    frames = []
    while at + 4 < len(data) and data[at] == 0xFF:
        frames.append(at)
        at += 417 + (data[at + 2] >> 1 & 1)
    middle = len(frames) // 2
    path = music.with_name("gone.mp3")
    path.write_bytes(data[: frames[middle]] + data[frames[middle + 20] :])
    assert "3.5 s of 4.0 s" in told(path)


@pytest.mark.usefixtures("needs_ffmpeg")
def test_pages_that_are_missing_from_an_ogg_are_said(music: Path) -> None:
    data = ffmpeg(music, "g.ogg", "-c:a", "libvorbis").read_bytes()
    pages = data.split(b"OggS")[1:]
    assert len(pages) > 5
    del pages[4]
    path = music.with_name("gone.ogg")
    path.write_bytes(b"".join(b"OggS" + page for page in pages))
    assert "pages are missing" in told(path)


# ---- whole songs that are not what they seem (N5) ------------------------------

PICTURE = ("-f", "lavfi", "-i", "color=c=black:s=64x64:r=5:d=9")


@pytest.mark.usefixtures("needs_ffmpeg")
def test_sound_shorter_than_its_film_is_whole(music: Path) -> None:
    film = ffmpeg(music, "film.mp4", "-c:v", "mpeg4", "-c:a", "aac", before=PICTURE)
    assert told(film) == ""


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_stems_fit_a_picture_that_begins_before_its_sound(
    music: Path, name: str
) -> None:
    before = (*PICTURE, "-itsoffset", "3")
    film = ffmpeg(music, name, "-c:v", "mpeg4", "-c:a", "aac", before=before)
    x, song = read_all(film)
    assert abs(len(x) - 7 * RATE) < RATE / 10
    assert not x[: int(2.9 * RATE)].any()
    assert x[int(3.1 * RATE) :].any()
    assert "its sound begins 3.0 s after its picture" in song.warning


@pytest.mark.usefixtures("needs_ffmpeg")
def test_a_length_that_is_guessed_accuses_nobody(music: Path) -> None:
    quiet = ("-af", "volume=0:enable='lt(t,2)'", "-c:a", "aac")
    assert told(ffmpeg(music, "quiet.aac", *quiet)) == ""


@pytest.mark.usefixtures("needs_ffmpeg")
def test_which_of_several_tracks_was_taken_is_said(music: Path) -> None:
    words = ("-map", "0:a", "-map", "0:a", "-metadata:s:a:0", "language=deu")
    assert "2 sound tracks; the first, deu, was separated" in told(
        ffmpeg(music, "tracks.mka", *words)
    )


# ---- pipes (N6, N9, N12, H3) ---------------------------------------------------


def through_pipe(data: bytes, *, is_slow: bool = False) -> tuple[np.ndarray, Song]:
    """Read a song from a pipe that somebody made non-blocking."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def send() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as file:
            step = 4093 if is_slow else len(data) or 1
            for at in range(0, len(data), step):
                file.write(data[at : at + step])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return read_all(f"/dev/fd/{ours}")
    finally:
        os.close(ours)
        sender.join()


@pytest.mark.parametrize("is_slow", [False, True])
def test_reads_of_a_non_blocking_pipe_tear_no_sample(
    music: Path, *, is_slow: bool
) -> None:
    data = music.read_bytes()
    sent = data if is_slow else data[: 44 + 4 * 10_000]
    x, _ = through_pipe(sent, is_slow=is_slow)
    assert np.array_equal(x, soundfile.read(music, dtype="int16")[0][: len(x)])
    assert len(x) in (10_000, 4 * RATE)


def test_what_is_wrong_with_a_pipe_is_said(music: Path) -> None:
    data = music.read_bytes()
    assert "0.5 s of 4.0 s" in through_pipe(data[: 44 + 2 * RATE])[1].warning
    small = soundfile_bytes(music, np.zeros((1000, 2)))
    assert through_pipe(small)[1].warning == ""
    assert "another song follows" in through_pipe(small + small)[1].warning
    note = b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert through_pipe(small + note)[1].warning == ""
    endless = bytearray(small)
    endless[40:44] = b"\xff" * 4
    torn = through_pipe(bytes(endless) + b"x")[1]
    assert torn.n_read == 1000
    assert "in the middle of a sample" in torn.warning
    empty = soundfile_bytes(music, np.zeros((0, 2))) + note
    assert through_pipe(empty)[1].n_read == 0


def soundfile_bytes(beside: Path, x: np.ndarray) -> bytes:
    path = beside.with_name("small.wav")
    soundfile.write(path, x, RATE, "PCM_16")
    return path.read_bytes()


@pytest.mark.parametrize("length", [0, (1 << 64) - 1])
def test_rf64_of_a_writer_that_cannot_go_back_is_read_to_its_end(length: int) -> None:
    sizes = b"ds64" + struct.pack("<IQQQI", 28, length, length, length, 0)
    rest = wav.header(wav.WavFormat(GRIDS["16"], RATE, 2))[12:]
    x, _ = through_pipe(b"RF64" + b"\xff" * 4 + b"WAVE" + sizes + rest + bytes(4000))
    assert len(x) == 1000


def test_an_empty_pipe_is_said_to_be_empty() -> None:
    with pytest.raises(AudioError, match="nothing was sent into it"):
        through_pipe(b"")


def test_what_is_spooled_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_SPOOL", 1 << 20)
    with pytest.raises(AudioError, match="longer than 2 GiB"):
        read_all("/dev/zero")


def test_without_room_for_a_spool_the_way_out_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(reading.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(AudioError, match="TMPDIR=FOLDER") as caught:
        read_all("/dev/zero")
    assert caught.value.code == "unwritable"


# ---- ffmpeg and the world ------------------------------------------------------


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "hls.m3u8",
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n",
        ),
        (
            "hls.mp3",
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n",
        ),
        ("list.m4a", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_playlists_are_not_followed(music: Path, name: str, text: str) -> None:
    track = ffmpeg(music, "secret.ts")
    path = music.with_name(name)
    path.write_text(text.format(track.name))
    with pytest.raises(AudioError, match="is no song"):
        read_all(path)


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("hanging", ["ffprobe", "ffmpeg"])
def test_a_program_that_hangs_is_given_up(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: str
) -> None:
    path = ffmpeg(music, "hang.m4a")
    fake(tmp_path, hanging, "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for module in (source, tracks, decoder):
        monkeypatch.setattr(module, "STALL_S", 0.2)
    with pytest.raises(AudioError, match=r"0\.2 s"):
        read_all(path)


@pytest.mark.usefixtures("needs_ffmpeg")
def test_lengths_that_ffprobe_does_not_know_are_no_lengths(
    music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ffmpeg(music, "na.m4a")
    answer = (
        '{"streams": [{"codec_type": "audio", "sample_rate": "44100", "channels": 2, '
        '"duration": "N/A", "bits_per_raw_sample": "N/A"}], '
        '"format": {"duration": "N/A"}}'
    )
    fake(tmp_path, "ffprobe", f"echo '{answer}'")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    x, song = read_all(path)
    assert len(x) >= 4 * RATE
    assert song.warning == ""


def test_no_more_open_files_is_a_sentence(music: Path) -> None:
    path = music.with_name("few.m4a")
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    code = (
        "import resource, os, sys\n"
        "from edgestem import reading, opening\n"
        "import soundfile, edgestem.errors as e\n"
        "used = len(os.listdir('/proc/self/fd'))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, used + 1))\n"
        "try: reading.open_song(sys.argv[1])\n"
        "except e.AudioError as error: print(error.code, error)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, **PIPES, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith(("unreadable", "ffmpeg_missing"))


@pytest.mark.parametrize(
    "subtype", [("WAV", "GSM610"), ("AU", "G721_32"), ("AU", "G723_24"),
                ("WAV", "NMS_ADPCM_16"), ("XI", "DPCM_16")]
)  # fmt: skip
def test_formats_that_cannot_be_sought_in_are_read(
    tmp_path: Path, subtype: tuple[str, str]
) -> None:
    path = tmp_path / "song"
    x = np.random.default_rng(1).normal(0, 0.1, RATE)
    soundfile.write(path, x, RATE, subtype[1], format=subtype[0])
    got, song = read_all(path)
    assert len(got) >= RATE
    assert song.warning == ""


def test_tags_are_read(music: Path) -> None:
    flac = music.with_name("tags.flac")
    with soundfile.SoundFile(flac, "w", RATE, 1) as file:
        file.title, file.artist = "Ein Lied", "Jemand"
        file.write(np.zeros(1000))
    assert open_and_close(flac).tags == {"title": "Ein Lied", "artist": "Jemand"}


@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("name", ["tag.mp3", "tag.m4a", "tag.mka"])
def test_tags_are_read_from_every_container(music: Path, name: str) -> None:
    words = ("-metadata", "title=Ä", "-metadata", "album=B", "-metadata", "track=3")
    tags = open_and_close(ffmpeg(music, name, *words)).tags
    assert (tags["title"], tags["album"], tags["tracknumber"]) == ("Ä", "B", "3")


def open_and_close(path: Path) -> Song:
    song = open_song(path)
    song.close()
    return song


# ---- damaged headers -----------------------------------------------------------

SEEDS: dict[str, Callable[[Path], bytes]] = {
    "wav": lambda path: soundfile_bytes(path, np.ones((900, 2)) / 9),
    "rf64": lambda path: encoded(path, "RF64", "PCM_16"),
    "w64": lambda path: encoded(path, "W64", "PCM_24"),
    "voc": lambda path: encoded(path, "VOC", "PCM_16"),
    "mp3": lambda path: encoded(path, "MP3", None),
    "ogg": lambda path: encoded(path, "OGG", None),
    "flac": lambda path: encoded(path, "FLAC", None),
    "aiff": lambda path: encoded(path, "AIFF", None),
}


def encoded(
    beside: Path, container: str, subtype: str | None, n_samples: int = 3000
) -> bytes:
    path = beside.with_name("seed")
    x = np.random.default_rng(2).normal(0, 0.1, (n_samples, 2))
    soundfile.write(path, x, RATE, subtype, format=container)
    return path.read_bytes()


@pytest.mark.parametrize("kind", SEEDS)
def test_no_header_ends_in_anything_but_a_sentence(
    music: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Without ffmpeg: what is tried here is our own reading of headers."""
    monkeypatch.setattr(tracks.shutil, "which", lambda _: None)
    rng = np.random.default_rng(len(kind))
    seed = SEEDS[kind](music)
    path = music.with_name(f"fuzz.{kind}")
    for _ in range(60):
        data = bytearray(seed)
        for at in rng.integers(0, min(len(data), 120), rng.integers(1, 5)):
            data[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path.write_bytes(data[: rng.integers(8, len(data) + 1)])
        try:
            read_all(path)
        except EdgestemError:
            continue


def test_no_header_on_a_pipe_ends_in_anything_but_a_sentence(music: Path) -> None:
    rng = np.random.default_rng(5)
    seed = soundfile_bytes(music, np.ones((500, 2)) / 9)
    for _ in range(100):
        data = bytearray(seed)
        for at in rng.integers(0, 60, rng.integers(1, 5)):
            data[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        ours, theirs = os.pipe()
        os.write(theirs, data)
        os.close(theirs)
        found = wav.parse(incoming.Incoming(ours).read)
        os.close(ours)
        assert found is None or (found.sample_rate > 0 and found.n_channels > 0)


def test_the_layers_of_reading_need_no_ffmpeg_to_open_wav(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "FfmpegSong", None)
    assert len(read_all(music)[0]) == 4 * RATE
