"""The file door: every format, every length, every way a file can be bad."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgestem
from edgestem.errors import AudioError, EdgestemError
from edgestem.files.loop import FILE_BLOCK
from edgestem.files.output import FileReport, Output
from edgestem.files.separate import FileSeparator
from edgestem.files.verify import verify
from edgestem.network.catalogue import model_path
from edgestem.sound import encoding, wav

WriteSong = Callable[..., Path]


@pytest.fixture
def separate(tiny_model: Path, tmp_path: Path) -> Callable[..., FileReport]:
    def call(path: str | Path, **options: object) -> FileReport:
        out = options.pop("out", tmp_path / "out")
        return edgestem.separate_file(path, out, model=tiny_model, **options)

    return call


def read(path: str | Path, dtype: str = "int32") -> np.ndarray:
    return soundfile.read(path, dtype=dtype, always_2d=True)[0]


def stems(report: FileReport, dtype: str = "int32") -> list[np.ndarray]:
    return [read(path, dtype) for path in report.outputs.values()]


# ---- the mixture law on files ------------------------------------------------


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32"])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [44100, 48000])
def test_integer_stems_add_up_to_the_bit_and_keep_the_format(
    separate, write_song, subtype: str, n_channels: int, sample_rate: int
) -> None:
    song = write_song(subtype=subtype, n_channels=n_channels, sample_rate=sample_rate)
    report = separate(song)
    vocals, instrumental = stems(report)
    mixture = read(song).astype(np.int64)
    assert np.array_equal(vocals.astype(np.int64) + instrumental, mixture)
    assert np.any(vocals)
    for path in report.outputs.values():
        found = soundfile.info(path)
        assert (found.subtype, found.channels) == (subtype, n_channels)
        assert (found.samplerate, found.frames) == (sample_rate, len(mixture))
    assert report.warnings == []


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_float_stems_add_up_to_the_last_place(separate, write_song, subtype) -> None:
    song = write_song(subtype=subtype)
    report = separate(song)
    dtype = {"FLOAT": "float32", "DOUBLE": "float64"}[subtype]
    vocals, instrumental = stems(report, dtype)
    error = vocals.astype(np.longdouble) + instrumental - read(song, dtype)
    assert np.all(np.abs(error) <= np.spacing(np.abs(instrumental)))
    assert soundfile.info(report.outputs["vocals"]).subtype == subtype


def test_full_scale_songs_fit_and_still_add_up(separate, write_song, tmp_path) -> None:
    rng = np.random.default_rng(3)
    square = np.sign(rng.normal(0, 1, (44100, 2))).astype(np.float32)
    song = write_song(x=square, subtype="PCM_16")
    report = separate(song)
    vocals, instrumental = stems(report)
    assert np.array_equal(vocals.astype(np.int64) + instrumental, read(song))
    assert report.n_adjusted_samples > 0
    assert len(report.warnings) == 1
    assert "the vocals gave way" in report.warnings[0]


def test_a_file_and_a_stream_give_the_same_samples(
    separate, write_song, stereo_song, tiny_model
) -> None:
    song = write_song(x=stereo_song, subtype="PCM_16")
    x = (read(song) >> 16).astype(np.float32) / 32768
    vocals = edgestem.separate(x, 44100, model=tiny_model).vocals
    expected = np.rint(vocals.astype(np.float64) * 32768).astype(np.int64)
    assert np.array_equal(stems(separate(song))[0] >> 16, expected)


@pytest.mark.parametrize(
    "n_samples",
    [0, 1, 255, 256, 257, 2559, 2560, 2561, FILE_BLOCK - 1, FILE_BLOCK, FILE_BLOCK + 1],
)
def test_every_length_is_kept(separate, write_song, n_samples: int) -> None:
    x = np.random.default_rng(4).normal(0, 0.1, (n_samples, 2))
    song = write_song(x=x, subtype="PCM_16")
    report = separate(song)
    vocals, instrumental = stems(report)
    assert len(vocals) == len(instrumental) == report.n_samples == n_samples
    assert np.array_equal(vocals.astype(np.int64) + instrumental, read(song))


def test_silence_stays_silent(separate, write_song) -> None:
    report = separate(write_song(x=np.zeros((9999, 2))))
    assert not any(np.any(stem) for stem in stems(report))


def test_one_model_serves_songs_of_any_rate(write_song, tiny_model, tmp_path) -> None:
    separator = FileSeparator(Output(), tiny_model)
    for number, rate in enumerate((44100, 44100, 48000, 16000)):
        song = write_song(f"{number}.wav", sample_rate=rate)
        separator.to_folder(song, tmp_path / "out" / str(number))
        assert verify(tmp_path / "out", song).is_exact


# ---- formats -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subtype", "kept"),
    [
        ("a.flac", "PCM_16", "16"),
        ("a.flac", "PCM_24", "24"),
        ("a.aiff", "PCM_24", "24"),
        ("a.caf", "PCM_16", "16"),
        ("a.caf", "ALAC_24", "24"),
        ("a.w64", "PCM_32", "32"),
        ("a.au", "FLOAT", "float"),
        ("a.wav", "ULAW", "16"),
        ("a.ogg", "VORBIS", "16"),
        ("a.mp3", "MPEG_LAYER_III", "16"),
    ],
)
def test_libsndfile_formats(separate, write_song, tmp_path, name, subtype, kept):
    song = write_song(name, subtype=subtype)
    report = separate(song)
    assert report.subtype == kept
    assert report.n_samples == soundfile.info(song).frames
    assert verify(tmp_path / "out", song).is_exact


def test_opus(separate, write_song, tmp_path) -> None:
    song = write_song("a.opus", sample_rate=48000, subtype="OPUS", container="OGG")
    assert separate(song).n_samples == 48000
    assert verify(tmp_path / "out", song).is_exact


def encode(source: Path, name: str, *options: str) -> Path:
    target = source.with_name(name)
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *options, str(target)]
    subprocess.run(command, check=True)
    return target


@pytest.mark.slow
@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.m4a", ("-c:a", "aac")),
        ("b.webm", ("-c:a", "libopus", "-ar", "48000")),
        ("b.wma", ()),
        ("b.mka", ("-c:a", "pcm_f32le")),
        (
            "b.mp4",
            ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-map", "1:v", "-map", "0:a"),
        ),
    ],
)
def test_ffmpeg_formats(separate, write_song, tmp_path, name, options) -> None:
    song = encode(write_song("a.wav"), name, *options)
    report = separate(song)
    assert abs(report.seconds - 1) < 0.1
    assert report.subtype == ("float" if name == "b.mka" else "16")
    assert report.warnings == []
    assert verify(tmp_path / "out", song).is_exact


@pytest.mark.slow
@pytest.mark.usefixtures("needs_ffmpeg")
@pytest.mark.parametrize("bits", [16, 24])
def test_lossless_songs_are_exact_through_ffmpeg_too(
    separate, write_song, bits: int
) -> None:
    source = write_song("a.wav", subtype=f"PCM_{bits}")
    report = separate(encode(source, "b.m4a", "-c:a", "alac"))
    vocals, instrumental = stems(report)
    assert report.subtype == str(bits)
    assert np.array_equal(vocals.astype(np.int64) + instrumental, read(source))


def test_without_ffmpeg_the_error_names_it(
    separate, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = tmp_path / "song.m4a"
    song.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="install ffmpeg") as caught:
        separate(song)
    assert caught.value.code == "ffmpeg_missing"


@pytest.mark.parametrize(
    ("subtype", "file_format", "written"),
    [
        ("PCM_16", "flac", "PCM_16"),
        ("PCM_24", "flac", "PCM_24"),
        ("PCM_U8", "flac", "PCM_S8"),
        ("PCM_16", "ogg", "VORBIS"),
        ("PCM_24", "mp3", "MPEG_LAYER_III"),
    ],
)
def test_output_formats(separate, write_song, tmp_path, subtype, file_format, written):
    song = write_song(subtype=subtype)
    report = separate(song, file_format=file_format)
    assert soundfile.info(report.outputs["vocals"]).subtype == written
    assert soundfile.info(report.outputs["vocals"]).frames == 44100
    residual = verify(tmp_path / "out", song)
    if file_format == "flac":
        assert residual.is_exact
    else:
        assert not residual.is_exact
        assert residual.max_db < -6


def test_flac_says_that_it_cannot_keep_floats(separate, write_song, tmp_path) -> None:
    song = write_song(subtype="FLOAT")
    report = separate(song, file_format="flac")
    assert report.subtype == "24"
    assert report.warnings == [
        "flac cannot keep float-bit samples: the stems are 24-bit"
    ]
    assert verify(tmp_path / "out", song).is_exact


@pytest.mark.parametrize(
    ("options", "sample_rate"),
    [
        ({"file_format": "flac", "subtype": "float"}, 44100),
        ({"file_format": "mp3"}, 96000),
    ],
)
def test_formats_that_cannot_hold_the_stems_are_refused(
    separate, write_song, tmp_path, options, sample_rate
) -> None:
    with pytest.raises(AudioError, match="choose --") as caught:
        separate(write_song(sample_rate=sample_rate), **options)
    assert caught.value.code == "unsupported_format"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("subtype", ["8", "16", "24", "32", "float", "double"])
def test_a_chosen_subtype_is_written(separate, write_song, tmp_path, subtype) -> None:
    song = write_song(subtype="PCM_24")
    report = separate(song, subtype=subtype)
    assert report.subtype == subtype
    assert verify(tmp_path / "out", song).is_exact


def test_loud_floats_are_clipped_on_an_integer_grid_and_counted(
    separate, write_song
) -> None:
    x = np.full((5000, 1), 0.25, np.float32)
    x[100:110] = 1.5
    report = separate(write_song(x=x, subtype="FLOAT"), subtype="16")
    assert report.n_clipped_samples == 10
    assert any("were clipped" in sentence for sentence in report.warnings)


def test_karaoke_mix(separate, write_song, stereo_song) -> None:
    song = write_song(x=stereo_song, subtype="PCM_16")
    report = separate(song, stems=("vocals", "instrumental", "karaoke"), vocals_db=-6.0)
    vocals, instrumental, karaoke = (x >> 16 for x in stems(report))
    expected = instrumental + vocals * 10 ** (-6 / 20)
    assert np.abs(karaoke - expected).max() <= 0.5
    same = separate(song, stems=("karaoke",), vocals_db=0.0, force=True)
    assert np.array_equal(stems(same)[0], read(song))


@pytest.mark.parametrize("is_expected", [True, False])
def test_wav_that_outgrows_4_gib_becomes_rf64(
    separate, write_song, monkeypatch: pytest.MonkeyPatch, is_expected: bool
) -> None:
    for module in (wav, encoding):
        monkeypatch.setattr(module, "MAX_RIFF", 100_000)
    if is_expected:
        monkeypatch.setattr(encoding, "SURE", 50_000)
    song = write_song(subtype="PCM_16")
    report = separate(song)
    path = Path(report.outputs["vocals"])
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.info(path).format == "RF64"
    vocals, instrumental = stems(report)
    assert np.array_equal(vocals.astype(np.int64) + instrumental, read(song))


# ---- bad songs ---------------------------------------------------------------


def test_damaged_floats_become_silence_and_are_counted(
    separate, write_song, tmp_path
) -> None:
    x = np.random.default_rng(5).normal(0, 0.1, (30000, 2))
    x[5000, 0], x[6000, 1], x[7000, 0] = np.nan, np.inf, -np.inf
    x[8000, 1] = 1e30
    song = write_song(x=x, subtype="DOUBLE")
    report = separate(song)
    assert report.n_bad_samples == 4
    assert "4 damaged values" in report.warnings[0]
    vocals, instrumental = stems(report, "float64")
    assert np.isfinite(vocals).all()
    assert np.isfinite(instrumental).all()
    assert vocals[5000, 0] + instrumental[5000, 0] == 0
    assert verify(tmp_path / "out", song).is_exact


@pytest.mark.parametrize(
    "name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff", "a.au"]
)
def test_what_is_left_of_a_truncated_song_is_separated(
    separate, write_song, tmp_path, name: str
) -> None:
    x = np.random.default_rng(6).normal(0, 0.1, (4 * 44100, 2))
    song = write_song(name, x)
    data = song.read_bytes()
    song.write_bytes(data[: len(data) // 2])
    report = separate(song)
    assert 1 <= report.seconds <= 3
    assert len(report.warnings) == 1
    assert "incomplete" in report.warnings[0] or "cut short" in report.warnings[0]
    assert verify(tmp_path / "out", song).is_exact


@pytest.mark.slow
@pytest.mark.usefixtures("needs_ffmpeg")
def test_a_truncated_m4a_is_separated_or_refused(separate, write_song) -> None:
    x = np.random.default_rng(7).normal(0, 0.1, (6 * 44100, 2))
    song = encode(write_song(x=x), "b.m4a", "-movflags", "+faststart")
    data = song.read_bytes()
    song.write_bytes(data[: len(data) // 2])
    report = separate(song)
    assert 1 <= report.seconds <= 5
    assert len(report.warnings) == 1
    encode(write_song(x=x), "c.m4a")
    late_index = song.with_name("c.m4a")
    late_index.write_bytes(late_index.read_bytes()[:50000])
    with pytest.raises(AudioError, match="its index is missing") as caught:
        separate(late_index)
    assert caught.value.code == "unreadable"


def test_a_header_without_samples_is_an_error(separate, write_song, tmp_path) -> None:
    song = write_song("a.flac")
    song.write_bytes(song.read_bytes()[:4300])
    with pytest.raises(AudioError) as caught:
        separate(song)
    assert caught.value.code == "unreadable"
    assert not (tmp_path / "out").exists()


def test_flac_streams_without_a_length_are_read_to_their_end(
    separate, write_song
) -> None:
    song = write_song("a.flac", subtype="PCM_16")
    data = bytearray(song.read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO's total samples
    data[22:26] = bytes(4)
    unknown = song.with_name("b.flac")
    unknown.write_bytes(data)
    report = separate(unknown)
    assert report.n_samples == 44100
    assert report.warnings == []


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"la la la\n" * 99, "is no song"), (b"RIFF", "is no song")],
)
@pytest.mark.slow
@pytest.mark.usefixtures("needs_ffmpeg")
def test_files_that_are_no_songs(separate, tmp_path, content, words) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(content)
    with pytest.raises(AudioError, match=words) as caught:
        separate(song)
    assert caught.value.code == "unreadable"
    assert caught.value.path == str(song)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [".", "gone.wav", "a\0b.wav", "x/" * 3000 + "a.wav"])
def test_paths_that_lead_nowhere(separate, tmp_path, name: str) -> None:
    with pytest.raises(AudioError) as caught:
        separate(f"{tmp_path}/{name}")
    assert caught.value.code == "unreadable"


@pytest.mark.parametrize(
    "name",
    [
        "with space.wav",
        "ünïcödé 歌.wav",
        "two\nlines.wav",
        "-o.wav",
        "a:b.wav",
        "...wav",
    ],
)
def test_any_file_name_will_do(separate, write_song, tmp_path, name: str) -> None:
    song = write_song(name, container="WAV")
    report = separate(song)
    assert verify(tmp_path / "out", song).is_exact
    assert Path(report.outputs["vocals"]).parent.parent == tmp_path / "out"


@pytest.mark.slow
@pytest.mark.usefixtures("needs_ffmpeg")
def test_any_file_name_will_do_for_ffmpeg(separate, write_song, tmp_path) -> None:
    source = encode(write_song(), "b.m4a")
    for name in (b"-i.m4a", b"a:b\n.m4a", b"not utf-8 \xff.m4a"):
        song = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        song.write_bytes(source.read_bytes())
        assert separate(song).n_samples > 40000


def test_file_names_that_are_not_text(separate, write_song, tmp_path) -> None:
    song = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    write_song().rename(song)
    assert Path(separate(song).outputs["vocals"]).is_file()


@pytest.mark.parametrize(
    ("n_channels", "sample_rate", "code"),
    [
        (8, 44100, "unsupported_channels"),
        (2, 4000, "unsupported_sample_rate"),
        (2, 500_000, "unsupported_sample_rate"),
    ],
)
def test_streams_that_are_refused(
    separate, write_song, n_channels, sample_rate, code
) -> None:
    song = write_song(n_channels=n_channels, sample_rate=sample_rate)
    with pytest.raises(EdgestemError) as caught:
        separate(song)
    assert caught.value.code == code
    assert str(song) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(separate, write_song, tmp_path) -> None:
    song = write_song()
    song.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        separate(song)
    song.chmod(0o600)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(AudioError, match="cannot be written") as caught:
        separate(song, out=locked)
    assert caught.value.code == "unwritable"


# ---- outputs -----------------------------------------------------------------


def test_existing_stems_are_kept_unless_forced(separate, write_song) -> None:
    song = write_song()
    vocals = Path(separate(song).outputs["vocals"])
    vocals.write_bytes(b"precious")
    with pytest.raises(AudioError, match="--force") as caught:
        separate(song)
    assert caught.value.code == "exists"
    assert vocals.read_bytes() == b"precious"
    separate(song, force=True)
    assert soundfile.info(vocals).frames == 44100


def test_a_song_is_never_overwritten_by_its_stem(
    separate, write_song, tmp_path
) -> None:
    song = write_song("vocals/vocals.wav")
    before = song.read_bytes()
    with pytest.raises(AudioError, match="its own stem"):
        separate(song, out=tmp_path, force=True)
    assert song.read_bytes() == before


def test_an_output_folder_that_is_a_file(separate, write_song, tmp_path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(AudioError, match="cannot be written") as caught:
        separate(write_song())
    assert caught.value.code == "unwritable"


def test_parts_of_dead_processes_are_removed_and_of_living_ones_kept(
    separate, write_song, tmp_path
) -> None:
    song = write_song()
    folder = tmp_path / "out" / "song"
    folder.mkdir(parents=True)
    dead = folder / ".vocals.wav.4194305.part"
    dead.write_bytes(b"half")
    living = folder / ".instrumental.wav.1.part"
    other = folder / ".vocals.wav.backup"
    other.touch()
    lock = "import fcntl,sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1);"
    with subprocess.Popen(
        ["python3", "-c", lock + "sys.stdout.flush(); input()", str(living)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        separate(song)
        assert living.exists()
        process.communicate(b"\n")
    assert not dead.exists()
    assert other.exists()
    names = {path.name for path in folder.iterdir()}
    assert names == {"vocals.wav", "instrumental.wav", living.name, other.name}


def test_options_that_make_no_sense_are_refused(separate, write_song) -> None:
    song = write_song()
    for options in (
        {"stems": ("drums",)},
        {"stems": ()},
        {"stems": ("karaoke",)},
        {"vocals_db": -3.0},
        {"stems": ("karaoke",), "vocals_db": float("nan")},
        {"file_format": "aac"},
        {"subtype": "12"},
    ):
        with pytest.raises(ValueError, match=r"expected|belong"):
            separate(song, **options)


# ---- verify ------------------------------------------------------------------


def test_verify_finds_a_single_wrong_bit(separate, write_song, tmp_path) -> None:
    song = write_song(subtype="PCM_16")
    path = separate(song).outputs["vocals"]
    x = soundfile.read(path, dtype="int16")[0]
    x[12345, 1] ^= 1
    soundfile.write(path, x, 44100, "PCM_16")
    residual = verify(tmp_path / "out", song)
    assert residual.max_lsb == 1
    assert residual.max_db == pytest.approx(-90.3, abs=0.1)
    assert not residual.is_exact


def test_verify_refuses_stems_of_another_song(separate, write_song, tmp_path) -> None:
    song = write_song()
    separate(song)
    write_song(x=np.zeros((100, 2)))
    with pytest.raises(AudioError, match="not as long") as caught:
        verify(tmp_path / "out", song)
    assert caught.value.code == "stems_differ"
    write_song(n_channels=1)
    with pytest.raises(AudioError, match="channel count"):
        verify(tmp_path / "out" / "song", song)
    with pytest.raises(AudioError, match="there is no folder"):
        verify(tmp_path / "elsewhere", song)


# ---- the default model -------------------------------------------------------


@pytest.mark.skipif(
    not model_path("karaoke").is_file(), reason="no default model is installed"
)
def test_the_default_model_end_to_end(write_song, stereo_song, tmp_path) -> None:
    song = write_song(x=np.tile(stereo_song, (3, 1)), subtype="PCM_24")
    report = edgestem.separate_file(song, tmp_path / "out")
    assert report.subtype == "24"
    assert verify(tmp_path / "out", song).is_exact
