"""Every song is read to its end or said, and no whole song is called damaged."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgestem.errors import EdgestemError
from edgestem.sound.reading import open_song
from edgestem.sound.wav import parse

RATE = 44100
pytestmark = pytest.mark.usefixtures("needs_ffmpeg")


def music(seconds: float) -> np.ndarray:
    """Chords and bursts of noise that come and go: VBR needs that."""
    t = np.arange(round(seconds * RATE)) / RATE
    x = sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 441)) / 8
    noise = np.random.default_rng(7).standard_normal(len(t))
    x = x + noise * (0.02 + 0.3 * (t % 4 > 2)) * np.exp(-6 * (t % 0.5))
    return np.int16(np.clip(0.3 * np.stack([x, np.roll(x, 13)], 1), -1, 1) * 32767)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    soundfile.write(folder / "long.wav", music(8), RATE)
    soundfile.write(folder / "song.wav", music(4), RATE)
    return folder


Encode = Callable[..., Path]


@pytest.fixture
def encode(folder: Path, tmp_path: Path) -> Encode:
    def run(name: str, *options: str, song: str = "song.wav") -> Path:
        line = ["ffmpeg", "-v", "error", "-y", "-i", folder / song, *options]
        subprocess.run([*line, tmp_path / name], check=True, stdin=subprocess.DEVNULL)
        return tmp_path / name

    return run


def read_all(path: Path) -> tuple[np.ndarray, list[str]]:
    with closing(open_song(path)) as song:
        blocks = [song.read(10_000)]
        while len(blocks[-1]):
            blocks.append(song.read(10_000))
    return np.concatenate(blocks), song.notes


def decoded(path: Path, n_channels: int = 2) -> int:
    """Samples that ffmpeg finds: another witness."""
    line = ["ffmpeg", "-v", "quiet", "-i", path, "-f", "s16le", "-"]
    done = subprocess.run(line, capture_output=True, stdin=subprocess.DEVNULL)
    return len(done.stdout) // 2 // n_channels


WHOLE = {
    "a.wav": (),
    "f.wav": ("-c:a", "pcm_f32le"),
    "ima.wav": ("-c:a", "adpcm_ima_wav"),
    "long.rf64.wav": ("-rf64", "always"),
    "a.w64": (),
    "a.aiff": (),
    "a.caf": (),
    "alac.caf": ("-c:a", "alac"),
    "a.au": (),
    "a.voc": ("-c:a", "pcm_s16le"),
    "a.flac": (),
    "a.oga": ("-c:a", "flac"),
    "a.ogg": ("-c:a", "libvorbis"),
    "a.opus": ("-c:a", "libopus"),
    "cbr.mp3": ("-b:a", "128k"),
    "vbr.mp3": ("-q:a", "4"),
    "bare.mp3": ("-b:a", "128k", "-write_xing", "0", "-id3v2_version", "0"),
    "tagged.mp3": ("-write_id3v1", "1", "-metadata", "title=a song"),
    "a.m4a": ("-c:a", "aac"),
    "alac.m4a": ("-c:a", "alac"),
    "a.aac": ("-c:a", "aac"),
    "a.mka": ("-c:a", "flac"),
    "a.webm": ("-c:a", "libopus"),
    "a.wma": ("-c:a", "wmav2"),
    "a.ac3": ("-c:a", "ac3"),
    "a.tta": (),
    "a.wv": (),
    "a.avi": ("-c:a", "mp3"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_songs_are_read_whole_without_a_word(name: str, encode: Encode) -> None:
    path = encode(name, *WHOLE[name])
    x, notes = read_all(path)
    assert notes == []
    assert len(x) == decoded(path)


# ---- What the decoder leaves unread ------------------------------------------------


def joined(path: Path) -> Path:
    path.write_bytes(2 * path.read_bytes())
    return path


def test_vbr_mp3_without_a_count_is_read_to_its_end(encode: Encode) -> None:
    options = ("-q:a", "4", "-write_xing", "0", "-id3v2_version", "0")
    path = encode("a.mp3", *options, song="long.wav")
    assert soundfile.info(path).frames < 0.9 * decoded(path)  # the estimate
    x, notes = read_all(path)
    assert (len(x), notes) == (decoded(path), [])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp3", ("-b:a", "128k")),
        ("v.mp3", ("-q:a", "4")),
        ("a.ogg", ("-c:a", "libvorbis")),
        ("a.opus", ("-c:a", "libopus")),
    ],
)
def test_joined_files_are_read_to_the_last(
    name: str, options: tuple[str, ...], encode: Encode
) -> None:
    path = joined(encode(name, *options))
    x, notes = read_all(path)
    assert (len(x), notes) == (decoded(path), [])
    assert len(x) > 7.9 * soundfile.info(path).samplerate


def test_a_count_that_is_too_small_is_not_believed(encode: Encode) -> None:
    path = encode("a.mp3", "-b:a", "128k")
    data = bytearray(path.read_bytes())
    at = data.find(b"Info")
    n = int.from_bytes(data[at + 8 : at + 12], "big")
    data[at + 8 : at + 12] = (n // 2).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(read_all(path)[0]) == 4 * RATE


def test_flac_is_read_behind_a_length_that_is_too_small(encode: Encode) -> None:
    path = encode("a.flac")
    data = bytearray(path.read_bytes())
    word = int.from_bytes(data[18:26], "big")
    data[18:26] = (word >> 36 << 36 | 2 * RATE).to_bytes(8, "big")
    path.write_bytes(data)
    x, notes = read_all(path)
    assert np.array_equal(x, music(4))
    assert notes == []


def wav(data_sizes: list[int], blocks: list[bytes], tail: bytes = b"") -> bytes:
    """A 16-bit stereo WAV whose data chunks say what they are told to."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE, 4 * RATE, 4, 16)
    body = b"".join(
        b"data" + struct.pack("<I", size) + block
        for size, block in zip(data_sizes, blocks, strict=True)
    )
    return b"RIFF" + struct.pack("<I", 36) + b"WAVE" + fmt + body + tail


@pytest.mark.parametrize("size", [100_000, 0])
def test_wav_is_read_to_the_end_of_the_file(size: int, tmp_path: Path) -> None:
    x = music(2)
    path = tmp_path / "a.wav"
    path.write_bytes(wav([size], [x.tobytes()]))
    found, notes = read_all(path)
    assert np.array_equal(found, x)
    assert "all of it was read" in notes[0]


def test_all_runs_of_samples_are_read(tmp_path: Path) -> None:
    x, y = music(2), music(1)[::-1]
    path = tmp_path / "a.wav"
    blocks = [x.tobytes(), np.ascontiguousarray(y).tobytes()]
    path.write_bytes(wav([len(b) for b in blocks], blocks))
    found, notes = read_all(path)
    assert np.array_equal(found, np.concatenate([x, y]))
    assert "2 runs of samples" in notes[0]


def test_notes_and_tags_behind_the_samples_are_no_music(tmp_path: Path) -> None:
    x = music(1).tobytes()
    info = b"LIST" + struct.pack("<I", 2000) + bytes(range(200)) * 10
    tag = b"TAG" + bytes(125)
    for tail in (info, tag, info + tag, b"\0" * 5000, b"junk"):
        path = tmp_path / "a.wav"
        path.write_bytes(wav([len(x)], [x], tail))
        found, notes = read_all(path)
        assert (len(found), notes) == (RATE, []), tail[:4]


# ---- Torn and damaged files --------------------------------------------------------


TORN = (
    "a.wav long.rf64.wav a.w64 a.aiff a.caf a.au a.voc a.flac a.oga a.ogg a.opus "
    "cbr.mp3 a.m4a a.wma a.ac3 a.tta a.wv"
)


@pytest.mark.parametrize("name", TORN.split())
def test_a_torn_song_is_said(name: str, encode: Encode) -> None:
    options = (*WHOLE[name], *(("-movflags", "+faststart") if name == "a.m4a" else ()))
    path = encode(name, *options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 3])
    x, notes = read_all(path)
    assert RATE / 2 < len(x) < 3 * 48000
    assert notes and (
        "incomplete" in notes[0] or "cut short" in notes[0] or "damaged" in notes[0]
    )


def test_a_header_without_sound_is_an_error(encode: Encode) -> None:
    path = encode("a.wav")
    data = path.read_bytes()
    path.write_bytes(data[: data.find(b"data") + 8])
    with pytest.raises(EdgestemError, match="its header promises sound"):
        read_all(path)


def test_a_song_of_no_samples_is_said(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), RATE)
    assert read_all(tmp_path / "a.wav")[1] == [
        f"{tmp_path}/a.wav holds no samples: its stems are empty"
    ]


@pytest.mark.parametrize(
    ("name", "options"), [("a.flac", ()), ("a.m4a", ("-c:a", "alac"))]
)
def test_lossless_songs_are_read_past_damage_which_is_silent(
    name: str, options: tuple[str, ...], encode: Encode
) -> None:
    path = (
        encode(name, *options, "-movflags", "+faststart") if options else encode(name)
    )
    data = bytearray(path.read_bytes())
    middle = (len(data) + max(data.find(b"mdat"), 0)) // 2
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    x, notes = read_all(path)
    whole = music(4)
    assert len(x) == len(whole)
    assert np.array_equal(x[:RATE], whole[:RATE])
    assert np.array_equal(x[-RATE:], whole[-RATE:])  # at its place
    assert not np.array_equal(x, whole)
    assert "damaged" in notes[0] and " s" in notes[0] and "silent" in notes[0]


def test_lost_frames_of_a_counted_mp3_are_said(encode: Encode) -> None:
    path = encode("a.mp3", "-b:a", "128k")
    data = path.read_bytes()
    path.write_bytes(data[:30_000] + data[30_000 + 20 * 418 :])
    notes = read_all(path)[1]
    assert notes and "of 4.0 s" in notes[0]


CUT_AT_THE_END = {
    "a.caf": (),  # by ffmpeg
    "a.wv": (),
    "bare.mp3": WHOLE["bare.mp3"],
    "a.mp2": ("-b:a", "128k"),
    "a.oga": WHOLE["a.oga"],
    "a.spx": ("-ar", "16000", "-c:a", "libspeex"),
}


@pytest.mark.parametrize("name", CUT_AT_THE_END)
def test_a_song_that_lacks_its_last_bytes_is_said(name: str, encode: Encode) -> None:
    path = encode(name, *CUT_AT_THE_END[name])
    whole, notes = read_all(path)
    assert notes == []
    os.truncate(path, path.stat().st_size - 100)
    x, notes = read_all(path)
    assert len(x) <= len(whole)
    assert notes and notes[0].startswith(str(path))


@pytest.mark.parametrize("form", ["AVR", "CAF", "MAT4", "MAT5", "MPC2K", "NIST", "WVE"])
def test_counts_in_headers_are_held_against_what_is_there(
    form: str, tmp_path: Path
) -> None:
    path, is_wve = tmp_path / "a", form == "WVE"
    x, rate = (music(1)[:8000, :1], 8000) if is_wve else (music(1), RATE)
    soundfile.write(path, x, rate, "ALAW" if is_wve else "PCM_16", format=form)
    assert read_all(path)[1] == []
    os.truncate(path, path.stat().st_size - 4000)
    found, notes = read_all(path)
    assert len(found) < len(x)
    assert "incomplete" in notes[0]


@pytest.mark.parametrize("name", ["bare.mp3", "a.mp2"])
@pytest.mark.parametrize("n_lost", [1, 100, 1000, 6001])
def test_torn_frames_of_an_uncounted_mpeg_are_said_with_their_place(
    name: str, n_lost: int, encode: Encode
) -> None:
    path = encode(name, "-b:a", "128k", *WHOLE["bare.mp3"][2:])
    data = path.read_bytes()
    at = len(data) // 2
    path.write_bytes(data[:at] + data[at + n_lost :])
    notes = read_all(path)[1]
    assert "is damaged at 2.0" in notes[0] or "is damaged at 1.9" in notes[0]


def test_an_mpeg_that_begins_within_a_frame_is_said(encode: Encode) -> None:
    path = encode("bare.mp3", *WHOLE["bare.mp3"])
    path.write_bytes(path.read_bytes()[500:])
    assert "no sound, as if it were cut" in read_all(path)[1][0]


@pytest.mark.parametrize("glue", [b"", bytes(3000), b"TAG".ljust(128, b"-")])
def test_joined_mpegs_are_no_torn_ones(glue: bytes, encode: Encode) -> None:
    path = encode("bare.mp3", *WHOLE["bare.mp3"])
    other = encode("tagged.mp3", "-b:a", "192k", *WHOLE["bare.mp3"][2:4])
    path.write_bytes(path.read_bytes() + glue + other.read_bytes() + glue)
    assert read_all(path)[1] == []


@pytest.mark.parametrize("name", ["a.wv", "a.tta"])
@pytest.mark.parametrize("share", [0.01, 0.4])
def test_checksums_that_ffmpeg_does_not_look_at_are_looked_at(
    name: str, share: float, encode: Encode
) -> None:
    path = encode(name, song="long.wav")
    data = bytearray(path.read_bytes())
    start = round(len(data) * 0.45)
    data[start : round(start + share * len(data))] = bytes(round(share * len(data)))
    path.write_bytes(data)
    x, notes = read_all(path)
    whole = music(8)
    assert len(x) == len(whole)
    assert "damaged" in notes[0] and "silent" in notes[0]
    wrong = np.flatnonzero((x != whole).any(1))
    assert not x[wrong].any()  # silence, not noise
    assert wrong[0] > 2 * RATE
    assert np.array_equal(x[-RATE // 4 :], whole[-RATE // 4 :])  # at its place


def test_wavpack_is_read_behind_bytes_that_are_missing(encode: Encode) -> None:
    path = encode("a.wv", song="long.wav")
    data = path.read_bytes()
    at = len(data) // 2
    path.write_bytes(data[:at] + data[at + 777 :])
    x, notes = read_all(path)
    whole = music(8)
    assert len(x) == len(whole)
    assert np.array_equal(x[-2 * RATE :], whole[-2 * RATE :])
    assert "what is lost there is silent, all behind it is at its place" in notes[0]


def test_a_film_without_its_index_is_called_incomplete(encode: Encode) -> None:
    path = encode("a.m4a", "-c:a", "aac")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(EdgestemError, match="is incomplete: its index is missing"):
        open_song(path)


# ---- Guesses accuse nobody ---------------------------------------------------------


@pytest.mark.parametrize("tail", [b"TAG".ljust(128, b"-"), bytes(4096), b"dirt"])
def test_what_stands_behind_a_whole_flac_is_no_damage(
    tail: bytes, encode: Encode
) -> None:
    path = encode("a.flac")
    path.write_bytes(path.read_bytes() + tail)
    x, notes = read_all(path)
    assert (len(x), notes) == (4 * RATE, [])


@pytest.mark.parametrize("name", ["cbr.mp3", "a.ogg"])
def test_noise_behind_a_song_is_said_with_its_share(name: str, encode: Encode) -> None:
    path = encode(name, *WHOLE[name])
    size = path.stat().st_size
    junk = np.random.default_rng(3).bytes(size // 4)
    path.write_bytes(path.read_bytes() + junk.replace(b"\xff", b"\x01"))
    note = read_all(path)[1][0]
    found = re.search(r"ends with (\d+)% of the file that is no sound", note)
    assert found and 15 <= int(found[1]) <= 20  # libsndfile reads ahead


def film(folder: Path, out: Path, seconds: int, delay: float = 0.0) -> Path:
    picture = ["-f", "lavfi", "-i", f"color=c=black:s=64x64:r=5:d={seconds}"]
    sound = ["-itsoffset", str(delay), "-i", folder / "song.wav"]
    codecs = ["-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", "-c:a", "aac"]
    subprocess.run(
        ["ffmpeg", "-v", "error", *picture, *sound, *codecs, out], check=True
    )
    return out


def test_a_film_that_is_longer_than_its_sound_is_whole(
    folder: Path, tmp_path: Path
) -> None:
    x, notes = read_all(film(folder, tmp_path / "a.mp4", 9))
    assert notes == []
    assert abs(len(x) - 4 * RATE) < 4096


def test_sound_that_starts_late_stays_in_step_with_its_film(
    folder: Path, tmp_path: Path
) -> None:
    x, notes = read_all(film(folder, tmp_path / "a.mp4", 9, delay=2.0))
    assert abs(len(x) - 6 * RATE) < 4096
    assert not x[: 2 * RATE - 4096].any()
    assert "silence stands there" in notes[0]


def test_opus_is_decoded_at_48_khz_whatever_its_header_mentions(encode: Encode) -> None:
    path = encode("a.opus", "-c:a", "libopus")
    data = bytearray(path.read_bytes())
    at = data.find(b"OpusHead")
    data[at + 12 : at + 16] = (8000).to_bytes(4, "little")
    data[22:26] = bytes(4)
    data[22:26] = ogg_checksum(
        bytes(data[: 27 + data[26] + sum(data[27 : 27 + data[26]])])
    )
    path.write_bytes(data)
    song = open_song(path)
    assert song.sample_rate == 48000
    song.close()


def ogg_checksum(page: bytes) -> bytes:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc.to_bytes(4, "little")


# ---- Pipes -------------------------------------------------------------------------


def piped(
    data: bytes, tmp_path: Path, pause: int | None = None
) -> tuple[np.ndarray, list[str]]:
    """Read bytes through a FIFO."""
    fifo = tmp_path / "fifo"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)

    def write() -> None:
        with suppress(BrokenPipeError), fifo.open("wb", buffering=0) as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        return read_all(fifo)
    finally:
        writer.join()


def test_a_pipe_says_what_is_torn_or_left(tmp_path: Path) -> None:
    x = music(1).tobytes()
    cut = wav([len(x)], [x[: len(x) // 2]])
    assert "incomplete" in piped(cut, tmp_path)[1][0]
    assert "within a sample" in piped(wav([0xFFFFFFFF], [x[:-1]]), tmp_path)[1][0]
    two = 2 * wav([len(x)], [x])
    found, notes = piped(two, tmp_path)
    assert len(found) == RATE
    assert "followed by another song" in notes[0]


def test_an_empty_piped_wav_is_not_its_notes(tmp_path: Path) -> None:
    data = wav([0], [b""], b"LIST" + struct.pack("<I", 28) + bytes(range(28)))
    found, notes = piped(data, tmp_path)
    assert len(found) == 0
    assert "holds no samples" in notes[0]


@pytest.mark.parametrize("length", [0, (1 << 64) - 1])
def test_rf64_of_a_writer_that_cannot_seek_is_read_to_its_end(
    length: int, tmp_path: Path
) -> None:
    x = music(1)
    whole = wav([0xFFFFFFFF], [x.tobytes()])
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 0, length, 0, 0)
    data = b"RF64" + whole[4:12] + sizes + whole[12:]
    found, notes = piped(data, tmp_path)
    assert np.array_equal(found, x)
    assert notes == []


def test_a_pipe_that_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    """A parent (node, ssh, asyncio) may have made stdin non-blocking."""
    x = music(1)
    soundfile.write(tmp_path / "a.wav", x, RATE)
    data = (tmp_path / "a.wav").read_bytes()
    code = (
        "import os, sys, time\n"
        "os.set_blocking(0, False)\n"
        "from edgestem.sound.reading import open_song\n"
        "song = open_song('-')\n"
        "n = 0\n"
        "while len(x := song.read(5000)): n += len(x)\n"
        "print(n, song.notes)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin and process.stdout
    with process, process.stdin as pipe:
        for at in range(0, len(data), 50_001):  # torn samples, too
            pipe.write(data[at : at + 50_001])
            pipe.flush()
        pipe.close()
        said = process.stdout.read().decode()
    assert said.split(maxsplit=1) == [str(RATE), "[]\n"]


def test_an_endless_device_is_no_song() -> None:
    with pytest.raises(EdgestemError, match="nothing but zeros"):
        open_song("/dev/zero")


# ---- Sentences ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "subtype",
    [("WAV", "GSM610"), ("AIFF", "GSM610"), ("AU", "G721_32"), ("WAV", "NMS_ADPCM_16")],
)
def test_formats_that_cannot_tell_their_place_are_read(
    subtype: tuple[str, str], tmp_path: Path
) -> None:
    container, name = subtype
    path = tmp_path / f"a.{container.lower()}"
    soundfile.write(path, music(1)[:, :1], 8000, subtype=name, format=container)
    x, notes = read_all(path)
    assert notes == []
    assert abs(len(x) - RATE) < 400


def test_playlists_are_not_followed(encode: Encode, tmp_path: Path) -> None:
    private = encode("private.ts", "-c:a", "aac")
    for name in ("a.mp3", "a.m4a", "a.m3u8"):
        path = tmp_path / name
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:4,\n{private}\n")
        with pytest.raises(EdgestemError) as caught:
            read_all(path)
        assert caught.value.code == "unreadable"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_headers_never_end_in_anything_but_an_error(
    data: st.DataObject,
) -> None:
    good = wav([64], [bytes(64)], b"LIST\4\0\0\0abcd")
    where = data.draw(st.integers(0, 60))
    what = data.draw(st.binary(min_size=1, max_size=8))
    mutant = good[:where] + what + good[where + len(what) :]
    mutant = mutant[: data.draw(st.integers(0, len(mutant)))]
    source = iter([mutant])
    rest = b""

    def read(n: int) -> bytes:
        nonlocal rest
        rest += next(source, b"")
        part, rest = rest[:n], rest[n:]
        return part

    found = parse(read)
    assert found is None or found.n_channels > 0


@pytest.mark.parametrize("codec", ["flac", "pcm_s16le", "alac"])
def test_late_sound_of_a_film_has_its_silence_once(
    needs_ffmpeg: None, write_song: Callable[..., Path], tmp_path: Path, codec: str
) -> None:
    """Lossless codecs are put in their places by ffmpeg, the others by us."""
    film = tmp_path / "late.mkv"
    picture = ("-f", "lavfi", "-i", "testsrc=size=64x64:rate=25:duration=2")
    line = ["ffmpeg", "-v", "error", *picture, "-itsoffset", "0.5"]
    line += ["-i", str(write_song()), "-map", "0:v", "-map", "1:a", "-c:a", codec]
    subprocess.run([*line, str(film)], check=True)
    song = open_song(film)
    x = song.read(1 << 20)
    song.close()
    start = int(np.argmax(np.abs(x[:, 0]) > 0))
    assert abs(start - 22050) <= 45  # Matroska counts milliseconds
    assert abs(len(x) - 22050 - 44100) <= 45


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_what_is_skipped_is_not_in_the_way(name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, (100_000, 2))
    soundfile.write(tmp_path / name, x, 44100)
    with closing(open_song(tmp_path / name)) as song:
        whole = song.read(1 << 20)
    with closing(open_song(tmp_path / name)) as song:
        song.skip_to(70_001)
        assert np.array_equal(song.read(1 << 20), whole[70_001:])
        song.skip_to(1 << 20)
        assert len(song.read(10)) == 0
