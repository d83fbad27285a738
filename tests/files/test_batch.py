"""Batches: what is a song, where its stems go, and that nothing is lost in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from edgestem.cli import interrupts
from edgestem.cli.progress import Estimate, Progress
from edgestem.errors import AudioError
from edgestem.files.batch import Naming, check_song, plan
from edgestem.files.names import NameTemplate
from edgestem.files.search import Found, search
from edgestem.files.spelling import Owners, folds_case
from edgestem.stems import STEMS

SILENCE = np.zeros((500, 1))


def fill(folder: Path, *names: str) -> None:
    """Make empty files: a search looks at names only."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found_in(root: Path, out: Path | None = None) -> Found:
    found = Found()
    search(root, out or root.parent / "nowhere", found)
    return found


def songs(found: Found, root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in found.songs]


def left_out(found: Found, root: Path) -> set[tuple[str, str]]:
    return {(reason, str(path.relative_to(root))) for reason, path in found.left_out}


# ---- what is a song ------------------------------------------------------------


def test_everything_in_a_folder_is_a_song_or_is_counted(tmp_path) -> None:
    root = tmp_path / "music"
    fill(root, "b.wav", "a.FLAC", "x/c.m4v", "x/d.mpc", "cover.jpg", "notes", ".e.wav")
    fill(root, ".git/f.wav", "x/g.ac3", "x/h.dsf", "x/i.ts", "x/j.mpg", "x/k.mpeg")
    os.mkfifo(root / "pipe.wav")
    (root / "gone.wav").symlink_to("nowhere")
    (root / "linked.wav").symlink_to("b.wav")
    found = found_in(root)
    wanted = ["a.FLAC", "b.wav", "linked.wav"]
    wanted += ["x/c.m4v", "x/d.mpc", "x/g.ac3", "x/h.dsf", "x/i.ts", "x/j.mpg"]
    wanted += ["x/k.mpeg"]
    assert songs(found, root) == wanted
    assert left_out(found, root) == {
        ("other_kind", "cover.jpg"),
        ("other_kind", "notes"),
        ("hidden", ".e.wav"),
        ("hidden", ".git"),
        ("no_file", "pipe.wav"),
        ("link", "gone.wav"),
    }
    assert found.sentence() == (
        "not looked at: 2 of other kinds (.jpg notes), 2 hidden, 1 pipe or device, "
        "1 link that leads nowhere or back"
    )


def test_linked_folders_are_searched_once_and_loops_end(tmp_path) -> None:
    root, other = tmp_path / "music", tmp_path / "stick"
    fill(root, "a.wav", "z/b.wav")
    fill(other, "c.wav", "deep/d.wav")
    (root / "again").symlink_to("z")  # the folder itself comes later, and counts
    (root / "z" / "up").symlink_to("..")
    (root / "top").symlink_to("/")
    (root / "stick").symlink_to(other)
    (other / "back").symlink_to(other)
    (root / "self").symlink_to("self")
    found = found_in(root)
    wanted = ["a.wav", "z/b.wav", "stick/c.wav", "stick/deep/d.wav"]
    assert songs(found, root) == wanted
    assert ("link", "top") in left_out(found, root)
    assert ("link", "z/up") in left_out(found, root)
    assert ("link", "self") in left_out(found, root)


def test_own_stems_are_no_songs_wherever_they_were_written(tmp_path) -> None:
    root = tmp_path / "music"
    fill(root, "a.wav", "sep/a/vocals.wav", "sep/a/instrumental.wav")
    fill(root, "sep/b/vocals.flac", "sep/c/karaoke.mp3", "sep/c/instrumental.mp3")
    fill(root, "band/vocals.wav", "band/drums.wav", "band/bass.wav")
    found = found_in(root)
    wanted = ["a.wav", "band/bass.wav", "band/drums.wav", "band/vocals.wav"]
    assert songs(found, root) == wanted
    assert found.counts() == {"stem": 5}


def test_below_the_output_folder_stems_are_known_by_name_and_songs_are_found(
    tmp_path,
) -> None:
    root = tmp_path / "music"
    fill(root, "vocals.wav", "a.wav", "a/vocals.wav", "a/other.wav")
    found = found_in(root, root)
    assert songs(found, root) == ["a.wav", "vocals.wav", "a/other.wav"]
    inside = found_in(root, root / "a")
    assert songs(inside, root) == ["a.wav", "vocals.wav", "a/other.wav", "a/vocals.wav"]


def test_a_folder_that_cannot_be_searched_is_a_problem(tmp_path, monkeypatch) -> None:
    root = tmp_path / "music"
    fill(root, "a.wav", "shut/b.wav")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    made = plan([str(root)], tmp_path / "out")
    assert [task.path for task in made.tasks] == [str(root / "a.wav")]
    assert [p.code for p in made.problems] == ["unreadable"]
    only = plan([str(root / "shut")], tmp_path / "out")
    assert [p.code for p in only.problems] == ["unreadable"]  # not "holds no songs"


# ---- where stems go ------------------------------------------------------------


def test_songs_that_differ_in_their_extension_keep_it(tmp_path) -> None:
    fill(tmp_path / "m", "s.wav", "s.flac", "base.wav")
    made = plan([str(tmp_path / "m")], Path("out"))
    assert [str(task.folder) for task in made.tasks] == [
        "out/base", "out/s.flac", "out/s.wav",
    ]  # fmt: skip
    assert not made.problems
    assert len(made.notes) == 2 and all("another song" in n for n in made.notes)


def test_the_second_song_of_one_name_is_a_problem_of_its_own(tmp_path) -> None:
    fill(tmp_path, "one/01 Intro.flac", "two/01 Intro.flac", "two/02.flac")
    paths = [str(tmp_path / name) for name in
             ("one/01 Intro.flac", "two/01 Intro.flac", "two/02.flac")]  # fmt: skip
    made = plan(paths, Path("out"))
    assert [task.path for task in made.tasks] == [paths[0], paths[2]]
    (problem,) = made.problems
    assert (problem.code, problem.path) == ("same_name", paths[1])
    both = plan([str(tmp_path)], Path("out"))
    assert len(both.tasks) == 3 and not both.problems  # folders keep them apart


@pytest.mark.parametrize("is_folding", [True, False])
def test_names_that_a_disk_takes_for_one_are_a_clash(
    tmp_path, monkeypatch, is_folding: bool
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(
        "edgestem.files.batch.folds_case",
        lambda folder: asked.append(folder) or is_folding,
    )
    names = ("A.wav", "a.wav", "É.flac", "E\u0301.wav", "b.wav")
    fill(tmp_path, *names)
    paths = [str(tmp_path / name) for name in names]
    made = plan(paths, Path("out"))
    folders = [task.folder.name for task in made.tasks]
    assert asked == [Path("out")]
    if is_folding:
        assert folders == ["A", "É.flac", "E\u0301.wav", "b"]
        assert [p.path for p in made.problems] == [paths[1]]
    else:
        assert folders == ["A", "a", "É", "E\u0301", "b"]
        assert not made.problems
    plan(paths[1:3], Path("out"))
    assert len(asked) == 1  # nothing to ask about


@pytest.mark.parametrize("is_folding", [True, False])
def test_templates_make_no_names_that_a_disk_takes_for_one(
    tmp_path, monkeypatch, is_folding: bool
) -> None:
    monkeypatch.setattr("edgestem.files.spelling.folds_case", lambda _: is_folding)
    fill(tmp_path, "x/Halo.wav", "y/HALO.wav", "y/other.wav")
    naming = Naming(NameTemplate("{song} ({stem}).{ext}"), STEMS, "wav")
    made = plan([str(tmp_path)], Path("out"), naming)
    assert [Path(p.path).name for p in made.problems] == ["HALO.wav"] * is_folding
    assert len(made.tasks) == 3 - is_folding


def test_owners_are_known_by_every_spelling(monkeypatch) -> None:
    owners: Owners[int] = Owners()
    monkeypatch.setattr("edgestem.files.spelling.folds_case", lambda p: p.name == "fat")
    for number, place in enumerate(("fat", "ext4")):
        owners.add(Path(place, "A"), number)
    assert [owners.find(Path("fat", name)) for name in "Aab"] == [0, 0, None]
    assert [owners.find(Path("ext4", name)) for name in "Aab"] == [1, None, None]
    owners.remove(Path("fat", "A"))
    owners.remove(Path("fat", "b"))
    assert owners.find(Path("fat", "a")) is None


def test_the_disk_is_asked_by_its_files(tmp_path, monkeypatch) -> None:
    assert not folds_case(tmp_path / "not" / "there")  # Linux, if it is not a stick
    assert not folds_case(tmp_path / ("x" * 300))
    real = Path.exists
    folded: list[Path] = []

    def exists(self: Path) -> bool:
        folded.append(self)
        return real(self.with_name(self.name.swapcase()))  # as a folding disk has it

    monkeypatch.setattr(Path, "exists", exists)
    assert folds_case(tmp_path)
    assert folded[0].name.startswith(".eDGESTEM-")
    assert not list(tmp_path.iterdir())  # the probe is gone


def test_every_song_has_a_folder_of_its_own(tmp_path) -> None:
    fill(tmp_path, "s.wav", "s.flac", "s.wav.mp3", "x/s.wav")
    names = ("s.wav", "s.flac", "s.wav.mp3", "x/s.wav", "./s.wav", "-", "-")
    made = plan([str(tmp_path / n) if n != "-" else n for n in names], Path("out"))
    folders = [task.folder for task in made.tasks]
    assert len(folders) == len(set(folders))
    done = {task.path for task in made.tasks} | {p.path for p in made.problems}
    assert len(done) == 5  # each song once, also when it is named twice


def test_addresses_are_named_as_such() -> None:
    for address in ("https://example.org/a.mp3", "HTTP://x", "spotify://1"):
        with pytest.raises(AudioError, match=r"curl -L ADDRESS") as caught:
            check_song(address)
        assert caught.value.code == "unreadable"
    with pytest.raises(AudioError, match="leave out file://"):
        check_song("file:///home/x/a.mp3")
    check_song("-")


# ---- a run -----------------------------------------------------------------------


def test_a_batch_goes_on_and_counts_at_its_end(run, write_song, tmp_path) -> None:
    for name in ("m/s.wav", "m/s.flac", "m/a.wav"):
        write_song(name, SILENCE)
    fill(tmp_path / "m", "broken.wav", "cover.jpg")
    result = run("separate", "m", "-o", "out", "--json")
    assert result.returncode == 1
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a", "s.wav", "s.flac"}
    *_, last = result.stderr.splitlines()
    assert last == "3 separated, 1 failed; not looked at: 1 of another kind (.jpg)"
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(found) == 5
    assert found[-1] == {
        "summary": {
            "separated": 3, "skipped": 0, "failed": 1, "left_out": {"other_kind": 1},
        }
    }  # fmt: skip


def test_a_second_run_that_skips_is_a_success(run, write_song, tmp_path) -> None:
    for name in ("m/a.wav", "m/b.wav"):
        write_song(name, SILENCE)
    assert run("separate", "m/a.wav", "-o", "out").returncode == 0
    stem = tmp_path / "out/a/vocals.wav"
    before = stem.stat().st_mtime_ns
    result = run("separate", "m", "-o", "out", "--skip-existing", "--json")
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1] == "1 separated, 1 skipped"
    skipped = json.loads(result.stdout.splitlines()[0])
    assert skipped["skipped"] is True
    assert skipped["outputs"]["vocals"] == "out/a/vocals.wav"
    assert stem.stat().st_mtime_ns == before
    again = run("separate", "m", "-o", "out", "--skip-existing")
    assert (again.returncode, again.stderr) == (0, "2 skipped\n")
    (tmp_path / "out/a/vocals.wav").unlink()  # half a set is no set
    half = run("separate", "m/a.wav", "-o", "out", "--skip-existing")
    assert half.returncode == 1 and "[exists]" in half.stderr


def test_a_song_that_is_not_there_is_said_before_stems_that_are(
    run, write_song, tmp_path
) -> None:
    write_song("song.wav", SILENCE).rename(tmp_path / "x.wav")
    fill(tmp_path, "separated/song/vocals.wav")
    for more in ((), ("--skip-existing",)):
        result = run("separate", "song.wav", *more)
        assert result.returncode == 1
        assert result.stderr.endswith("No such file or directory [unreadable]\n")


def test_an_empty_word_is_no_folder(run, write_song, tmp_path) -> None:
    write_song()
    empty = ("separate", ""), ("separate", "song.wav", "-o", ""), ("verify", "", "x")
    for words in empty:
        result = run(*words)
        assert result.returncode == 2 and "[usage]" in result.stderr
    assert not (tmp_path / "separated").exists()


def test_the_input_folder_may_be_the_output_folder(run, write_song, tmp_path) -> None:
    write_song("m/a.wav", SILENCE)
    for _ in range(2):
        result = run("separate", "m", "-o", "m", "--skip-existing")
        assert result.returncode == 0
    assert result.stderr == (
        "1 skipped; not looked at: 2 stems of an earlier run\n"
    )  # fmt: skip
    assert len(list((tmp_path / "m").rglob("*.wav"))) == 3


# ---- how long it takes -------------------------------------------------------------


def test_the_first_guess_does_not_count_the_loading() -> None:
    now = [0.0]
    estimate = Estimate(lambda: now[0])
    now[0] = 60.0  # a minute of loading, then one percent a second
    for percent in range(10, 100, 10):
        now[0] += 10
        left = estimate.left_s(percent / 100)
        if percent > 10:
            assert left == pytest.approx(100 - percent)
        else:
            assert left is None


def test_the_rest_of_a_batch_is_known_by_bytes_and_told_in_lines(capsys) -> None:
    """No terminal: a line every 25 s, none when it is quiet."""
    now = [0.0]
    for is_quiet in (False, True):
        now[0] = 0.0
        sizes = [1000, 3000, 5000, 1000]
        progress = Progress(sizes, is_quiet=is_quiet, clock=lambda: now[0])
        for i, size in enumerate(sizes):
            progress.begin(f"{i}.wav")
            if i == 2:  # it exists: no time is spent on it
                progress.end(is_done=False)
                continue
            for step in range(11):
                progress.update(step, 10)
                now[0] += size / 1000
            progress.end(is_done=True)
        lines = capsys.readouterr().err.splitlines()
        if is_quiet:
            assert not lines
            continue
        assert lines[0] == "edgestem: 2/4 1.wav: 50%, 0:15 left, 1:18 in all"
        assert lines[1].startswith("edgestem: 4/4 3.wav: ") and "in all" in lines[1]
        assert len(lines) == 2


def test_progress_obeys_a_signal_that_was_swallowed(monkeypatch) -> None:
    progress = Progress([1], is_quiet=True)
    progress.begin("x")
    monkeypatch.setattr(interrupts, "_asked", 15)
    with pytest.raises(interrupts.Stop):
        progress.update(1, 2)
