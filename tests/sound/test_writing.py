"""Outputs: whole or said, as a set, in containers that can hold them."""

from __future__ import annotations

import fcntl
import gc
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

import edgestem
from edgestem.errors import AudioError, EdgestemError
from edgestem.sound.commit import commit, repair
from edgestem.sound.descriptors import write_all
from edgestem.sound.encoding import open_encoder
from edgestem.sound.grid import GRIDS
from edgestem.sound.tags import is_stem
from edgestem.sound.wav import WavFormat
from edgestem.sound.writing import StemFiles

RATES = (8000, 11025, 44100, 48000, 65535, 65537, 96000, 199_999, 200_000, 200_001)
ENCODE = """
import sys, tempfile
from pathlib import Path
import numpy as np
from edgestem.sound.encoding import open_encoder
from edgestem.errors import AudioError
from edgestem.sound.grid import GRIDS
from edgestem.sound.wav import WavFormat
for rate in map(int, sys.argv[2:]):
    for ending in ("finish", "nothing", "abandon", "loud"):
        with tempfile.TemporaryFile() as file:
            try:
                grid = GRIDS["24"] if sys.argv[1] == "flac" else GRIDS["float"]
                wav = WavFormat(grid, rate, 2)
                encoder = open_encoder(file, sys.argv[1], wav, Path("x"))
                x = np.zeros((20_000, 2), grid.dtype)
                if ending == "loud" and grid.is_float:
                    x += np.random.default_rng(1).normal(0, 2.0**21, x.shape)
                if ending != "nothing":
                    assert bool(encoder.write(x.astype(grid.dtype))) == bool(x.any())
                (encoder.abandon if ending == "abandon" else encoder.finish)()
                print(rate, "ok" if ending != "nothing" else "empty")
            except AudioError as error:
                print(rate, error.code)
"""


def noise(n_samples: int = 3000) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.1, (n_samples, 2))


# ---- containers ------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["flac", "ogg", "mp3"])
def test_a_rate_is_held_or_refused_and_never_ends_the_process(file_format: str) -> None:
    line = [sys.executable, "-c", ENCODE, file_format, *map(str, (*RATES, 384_000))]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {line for line in done.stdout.splitlines() if "empty" not in line}
    held = {"ogg": 9, "mp3": 4, "flac": 8}[file_format]
    rates_held = {line.split()[0] for line in found if line.endswith(" ok")}
    assert len(rates_held) == held
    assert "384000 ok" in found if file_format == "flac" else "44100 ok" in found
    assert {line.split()[1] for line in found} == {"ok", "unsupported_format"}


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
@pytest.mark.parametrize("bitrate", [64, 320, None])
def test_mp3_keeps_its_length_at_any_bit_rate(
    write_song: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
    rate: int,
    bitrate: int | None,
) -> None:
    song = write_song(sample_rate=rate)
    report = edgestem.separate_file(
        song, tmp_path, model=tiny_model, file_format="mp3", bitrate=bitrate
    )
    for path in map(Path, report.outputs.values()):
        assert soundfile.info(path).frames == rate
        kbits = path.stat().st_size * 8 / 1000
        top = {8000: 64, 22050: 160, 48000: 320}[rate]
        assert abs(kbits - min(bitrate or 320, top)) < 0.25 * top


@pytest.mark.parametrize("file_format", ["flac", "ogg", "mp3"])
def test_a_stem_that_is_thrown_away_while_it_is_opened_says_nothing(
    file_format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """libsndfile writes its last bytes when nobody holds the encoder any more."""
    with (tmp_path / "x").open("w+b") as file:
        wav = WavFormat(GRIDS["16"], 44100, 2)
        encoder = open_encoder(file, file_format, wav, Path("x"))
    del encoder
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_bit_rate_belongs_to_lossy_formats(
    write_song: Callable[..., Path], tmp_path: Path
) -> None:
    for options in ({}, {"file_format": "mp3", "bitrate": 9}):
        with pytest.raises(ValueError, match=r"bit ?rate"):
            edgestem.separate_file(
                write_song(), tmp_path, **{"bitrate": 128, **options}
            )


@pytest.mark.parametrize("file_format", ["ogg", "mp3"])
def test_the_shell_chooses_a_bit_rate(
    run: Callable[..., subprocess.CompletedProcess[str]],
    write_song: Callable[..., Path],
    tmp_path: Path,
    file_format: str,
) -> None:
    song, sizes = write_song(), []
    for bitrate in ("64", "256"):
        words = ("--format", file_format, "--bitrate", bitrate, "-o", bitrate)
        assert run("separate", song, *words).returncode == 0
        stem = tmp_path / bitrate / "song" / f"instrumental.{file_format}"
        sizes.append(stem.stat().st_size)
    assert sizes[1] > 2 * sizes[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bitrate", "128"), "--bitrate is for lossy stems: say --format ogg or mp3"),
        (("--bitrate", "9", "--format", "mp3"), "expected 64 to 320, got 9"),
    ],
)
def test_a_bit_rate_that_has_no_use_is_refused(
    run: Callable[..., subprocess.CompletedProcess[str]],
    write_song: Callable[..., Path],
    words: tuple[str, ...],
    said: str,
) -> None:
    result = run("separate", write_song(), *words)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("file_format", ["flac", "ogg", "mp3"])
def test_stems_carry_their_maker_and_the_tags_of_the_song(
    tmp_path: Path, file_format: str
) -> None:
    from edgestem.sound.containers import Details
    from edgestem.sound.grid import GRIDS
    from edgestem.sound.wav import WavFormat

    tags = {"title": "Größe 日本", "artist": "Ünï\n歌\udcff", "date": "1999-01-02"}
    wav = WavFormat(GRIDS["16"], 44100, 2)
    x = (noise(20_000) * 3000).astype(np.int64)
    details = Details(tags=tags)
    path = tmp_path / f"vocals.{file_format}"
    with StemFiles({"vocals": path}, file_format, wav, details=details) as files:
        files.write({"vocals": x})
        files.commit()
    with soundfile.SoundFile(path) as sound:
        assert sound.title == "Größe 日本 (Vocals)"
        assert sound.artist == "Ünï 歌?"
        assert sound.date.startswith("1999")
        assert sound.frames == 20_000
        lag = sound.read(dtype="float64")[:, 0]
    cross = np.correlate(x[5000:9000, 0] / 32768, lag[4990:9010], "full")
    assert int(np.argmax(cross)) == len(cross) // 2 or file_format == "flac"
    assert is_stem(path)
    assert not is_stem(tmp_path)


# ---- descriptors -----------------------------------------------------------------


def test_a_descriptor_that_does_not_block_gets_all_of_it() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = bytes(range(256)) * 4000
    sending = threading.Thread(target=write_all, args=(writer, data))
    sending.start()
    found = b""
    while len(found) < len(data) and select.select([reader], [], [], 20)[0]:
        found += os.read(reader, 50_000)
    sending.join()
    assert found == data
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("flag", ["", "1"])
def test_stdout_that_is_a_file_becomes_a_whole_wav(
    run: Callable[..., subprocess.CompletedProcess[str]],
    write_song: Callable[..., Path],
    tmp_path: Path,
    flag: str,
) -> None:
    song = write_song(subtype="PCM_16")
    words = ("separate", song, "-o", "-", "--only", "vocals")
    options = {"capture_output": False, "stderr": subprocess.PIPE}
    env = {"PYTHONUNBUFFERED": flag}
    with (tmp_path / "v.wav").open("wb") as file:
        assert run(*words, stdout=file, env=env, **options).returncode == 0
    assert run("separate", song, "-o", "out").returncode == 0
    expected = tmp_path / "out" / "song" / "vocals.wav"
    piped, kept = (tmp_path / "v.wav").read_bytes(), expected.read_bytes()
    assert piped[8:] == kept[8 : len(piped)]  # all but the size, for the tags
    assert kept[len(piped) :].startswith(b"LIST")
    with song.open("ab") as file:
        done = run(*words, stdout=file, env=env, **options)
    assert done.returncode == 1
    assert "[exists]" in done.stderr


# ---- a set -----------------------------------------------------------------------


def pairs(folder: Path, text: str = "new") -> list[tuple[Path, Path]]:
    found = []
    for name in ("vocals", "instrumental"):
        part = folder / f".{name}.wav.77.part"
        part.write_text(text)
        found.append((part, folder / f"{name}.wav"))
    return found


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


SET = {"vocals.wav": "new", "instrumental.wav": "new"}
OLD = dict.fromkeys(SET, "old")


def test_a_set_that_cannot_be_completed_is_undone(tmp_path: Path) -> None:
    (tmp_path / "vocals.wav").write_text("old")
    (tmp_path / "instrumental.wav").mkdir()
    with pytest.raises(IsADirectoryError):
        commit(tmp_path, pairs(tmp_path), is_forced=True)
    assert contents(tmp_path)["vocals.wav"] == "old"
    (tmp_path / "instrumental.wav").rmdir()
    (tmp_path / "instrumental.wav").symlink_to("nowhere")
    (tmp_path / "vocals.wav").unlink()
    with pytest.raises(FileExistsError):
        commit(tmp_path, pairs(tmp_path), is_forced=False)
    assert not (tmp_path / "vocals.wav").exists()
    assert not list(tmp_path.glob("*.old"))
    assert not list(tmp_path.glob(".*.journal"))


@pytest.mark.parametrize("is_forced", [False, True])
@pytest.mark.parametrize("has_links", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_two_names_leaves_a_whole_set(
    tmp_path: Path, number: signal.Signals, is_forced: bool, has_links: bool
) -> None:
    """At every system call of the commit in turn."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from edgestem.sound import commit as c\n"
        "left = [int(sys.argv[2])]\n"
        "def watch(event, args):\n"
        "    if event in ('os.link', 'os.rename', 'os.remove') or (\n"
        "        event == 'open' and 'journal' in str(args[0])):\n"
        "        left[0] -= 1\n"
        "        if left[0] == 0: os.kill(os.getpid(), int(sys.argv[3]))\n"
        "        if event == 'os.link' and sys.argv[5] == '0': raise OSError(1, 'no')\n"
        "sys.addaudithook(watch)\n"
        "f = Path(sys.argv[1])\n"
        "n = ('vocals', 'instrumental')\n"
        "c.commit(f, [(f / f'.{s}.wav.77.part', f / f'{s}.wav') for s in n],\n"
        "    is_forced=sys.argv[4] == '1')\n"
        "sys.exit(0 if left[0] > 0 else 9)\n"
    )
    old = OLD if is_forced else {}
    for at in range(1, 30):
        folder = tmp_path / str(at)
        folder.mkdir()
        pairs(folder)
        for name, text in old.items():
            (folder / name).write_text(text)
        words = map(str, (folder, at, int(number), int(is_forced), int(has_links)))
        line = [sys.executable, "-c", code, *words]
        done = subprocess.run(line, capture_output=True, check=False)
        repair(folder)
        found = contents(folder)
        stems = {k: v for k, v in found.items() if k[0] != "."}
        assert stems in (old, SET), (at, found)
        assert stems in (old, found)
        if done.returncode == 0:
            break
    assert at > 4


def test_of_two_runs_one_wins_whole_and_the_other_says_so(
    command: Callable[..., list[str]], write_song: Callable[..., Path], tmp_path: Path
) -> None:
    song = write_song(x=noise())
    for number in range(3):
        line = command("separate", song, "-o", f"out{number}")
        both = [
            subprocess.Popen(line, stderr=subprocess.PIPE, cwd=tmp_path)
            for _ in range(2)
        ]
        said = [process.communicate()[1] for process in both]
        assert sorted(process.returncode for process in both) == [0, 1]
        assert sum(b"[exists]" in text for text in said) == 1
        left = sorted(p.name for p in (tmp_path / f"out{number}" / "song").iterdir())
        assert left == ["instrumental.wav", "vocals.wav"]


def test_a_folder_in_a_stems_place_is_refused_before_the_work(
    write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "song" / "instrumental.wav").mkdir(parents=True)
    calls: list[object] = []
    with pytest.raises(AudioError, match="folder") as caught:
        edgestem.separate_file(
            write_song(),
            tmp_path,
            model=tiny_model,
            force=True,
            progress=lambda *n: calls.append(n),
        )
    assert caught.value.code == "unwritable"
    assert not calls


def test_what_the_system_refuses_is_one_sentence(
    write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for folder in (tmp_path / ("n" * 300), loop / "x"):
        with pytest.raises(EdgestemError, match="cannot be written") as caught:
            edgestem.separate_file(write_song(), folder, model=tiny_model)
        assert caught.value.code == "unwritable"
    with pytest.raises(EdgestemError) as caught:
        edgestem.separate_file(tmp_path / "none.wav", tmp_path, model=tiny_model)
    assert caught.value.code == "unreadable"


def test_a_lock_that_somebody_keeps_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestem.sound.commit.WAIT_S", 0.1)
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    commit(tmp_path, pairs(tmp_path), is_forced=False)
    assert contents(tmp_path) == SET
    os.close(held)


@pytest.mark.parametrize("file_format", ["wav", "flac", "mp3"])
def test_a_reader_reads_whole_files_before_they_have_names(
    tmp_path: Path, file_format: str
) -> None:
    found: dict[str, bytes] = {}
    wav = WavFormat(GRIDS["16"], 44100, 2, 5000)
    targets = {name: tmp_path / f"{name}.{file_format}" for name in ("a", "b")}

    def read(outputs: Mapping[str, int]) -> None:
        for name, descriptor in outputs.items():
            assert not targets[name].exists()
            found[name] = os.pread(descriptor, 1 << 20, 0)

    with StemFiles(targets, file_format, wav, reader=read) as files:
        x = np.random.default_rng(3).integers(-9000, 9000, (5000, 2), np.int32)
        files.write({"a": x, "b": -x})
        files.commit()
    assert found == {name: path.read_bytes() for name, path in targets.items()}


def test_where_the_reader_fails_no_output_gets_its_name(tmp_path: Path) -> None:
    def read(_: object) -> None:
        raise OSError(5, "the song cannot be read again")

    wav = WavFormat(GRIDS["16"], 44100, 1, 0)
    target = {"a": tmp_path / "new" / "a.wav"}
    with (
        pytest.raises(OSError, match="read again"),
        StemFiles(target, "wav", wav, reader=read) as files,
    ):
        files.commit()
    assert list(tmp_path.iterdir()) == []
