"""`edgestem play` as a program."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def words(tiny_model: Path, tmp_path: Path) -> list[object]:
    return ["--model", tiny_model, "--store", tmp_path / "store"]


def test_a_file_is_what_separate_writes_and_is_kept(
    run: Run, write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    songs = [write_song(f"{n}.wav", subtype="PCM_16") for n in "ab"]
    for _ in range(2):
        more = words(tiny_model, tmp_path)
        done = run("play", *songs, "--to", "out.wav", "--force", *more)
        assert (done.returncode, done.stderr) == (0, "out.wav is written\n")
        run("separate", songs[0], "--force")
        x, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
        stem = tmp_path / "separated" / "a" / "instrumental.wav"
        y, _ = soundfile.read(stem, dtype="float32")
        assert np.array_equal(x, np.concatenate([y, y]))
    # One content: one entry.
    assert len(list((tmp_path / "store").glob("*.flac"))) == 1


def test_a_song_is_never_written_over(
    run: Run, write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song("a.wav", subtype="PCM_16")
    before, more = song.read_bytes(), words(tiny_model, tmp_path)
    (tmp_path / "again.wav").symlink_to(song)
    for name in ("a.wav", "again.wav"):
        done = run("play", song, "--to", name, *more)
        assert done.returncode == 2 and "choose another name" in done.stderr
    assert song.read_bytes() == before
    (tmp_path / "other.wav").write_bytes(b"another")
    done = run("play", song, "--to", "other.wav", *more)
    assert done.returncode == 1 and "exists: use --force to replace it" in done.stderr
    assert (tmp_path / "other.wav").read_bytes() == b"another"
    done = run("play", song, "--to", tmp_path, *more)
    assert done.returncode == 1 and "is a folder: name a file" in done.stderr


def test_what_is_no_song_is_said_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "show.toml").write_text("")
    for words_, sentence in (
        (("gone.mp3",), "gone.mp3 cannot be opened"),
        ((tmp_path,), "is a folder, not a song"),
        (("gone.mp3", "show.toml"), "one set list alone, or songs"),
        (("gone.toml",), "the set list gone.toml cannot be read: No such file"),
    ):
        done = run("play", *words_, "--null", "fast", "--store", "none")
        assert done.returncode in (1, 2)
        assert sentence in done.stderr and done.stderr.count("\n") == 1


def test_lines_are_commands(
    command: Callable[..., list[str]],
    write_song: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    song = write_song(x=np.zeros((20 * RATE, 2), np.float32))
    line = command("play", song, "--null", "timed", *words(tiny_model, tmp_path))
    lines = "vocals -12\nlouder\nloop 5 2\nkey +2\nkey 40\nseek 1:x\nquit\n"
    done = subprocess.run(
        line, input=lines, capture_output=True, text=True, timeout=60, check=True
    )
    answers = done.stdout.splitlines()
    assert answers[0] == "vocals -12 dB"
    assert answers[1].startswith("no command 'louder'")
    assert "a start before the end" in answers[2]
    assert answers[3] == "key +2"
    assert "a number from" in answers[4] and "expected `seek" in answers[5]
    assert answers[6] == "ok"


def test_told_to_end_in_a_song_it_says_143(
    command: Callable[..., list[str]],
    write_song: Callable[..., Path],
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    """Its unit takes that for a good end: `SuccessExitStatus=143`."""
    song = write_song(x=np.zeros((20 * RATE, 2), np.float32))
    line = command("play", song, "--null", "timed", *words(tiny_model, tmp_path))
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"vocals -12\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"vocals -12 dB\n"
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, b"")


def test_what_is_not_there_is_said_before_the_show(
    run: Run, write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(subtype="PCM_16")
    more = ["--to", "out.wav", "--force", *words(tiny_model, tmp_path)]
    done = run("play", "gone.mp3", song, *more)
    assert "gone.mp3 is not there" in done.stderr and done.returncode == 0
    assert len(soundfile.read(tmp_path / "out.wav")[0]) == RATE
    done = run("play", "gone.mp3", *more)
    assert done.returncode == 1 and "[unreadable]" in done.stderr
    (tmp_path / "set.toml").write_text('[[song]]\nfiel = "x"\n')
    done = run("play", "set.toml", *more)
    assert "set.toml, line 2: unknown key fiel" in done.stderr
    assert done.returncode == 1


def test_a_full_store_is_said_and_the_song_plays_on(
    run: Run, write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(subtype="FLOAT")
    store = tmp_path / "store"
    import resource

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = run("play", song, "--null", "fast", *words(tiny_model, tmp_path),
               preexec_fn=limit)  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.count("is not kept in the store") == 1
    assert not list(store.glob("*.wav"))
    assert not [p for p in store.iterdir() if p.name.endswith(".part")]


def test_the_receipt_says_what_it_is_of(
    run: Run, write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    run("play", write_song(subtype="PCM_16"), "--null", "fast", "--loudness", "-18",
        *words(tiny_model, tmp_path))  # fmt: skip
    (path,) = (tmp_path / "store").glob("*.json")
    found = json.loads(path.read_text())
    assert found["grid"] == "16" and found["n_samples"] == RATE
    assert len(found["content"]) == len(found["model"]) == 64
