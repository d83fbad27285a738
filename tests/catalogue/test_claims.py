"""Claims and shards: machines that share a list, or a folder, and do no song twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest
from catalogues import (
    batch,
    kill,
    leftovers,
    line,
    receipts,
    wait_for,
    workers,
    write_songs,
)

from edgestem.catalogue.claim import Claims, myself
from edgestem.catalogue.listing import in_shard, make_list
from edgestem.catalogue.shard import shard

LEASE_S = 2.0


def claims(tmp_path: Path, token: str, *, is_alone: bool = False) -> Claims:
    return Claims(str(tmp_path / "store"), token, lease_s=LEASE_S, is_alone=is_alone)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "song").mkdir()
    return tmp_path / "song"


def abandon(folder: Path, number: int = 0, age_s: float = 60.0) -> None:
    """Leave the claim of a machine that has lost its power."""
    path = folder / f".edgestem.claim.{number}"
    path.write_text(json.dumps({"token": "lost", "place": "elsewhere", "pid": 1}))
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_one_of_many_gets_a_free_song(tmp_path: Path, folder: Path) -> None:
    assert race(tmp_path, folder, 40) == [1] * 40


def test_one_of_many_thieves_wins(tmp_path: Path, folder: Path) -> None:
    assert race(tmp_path, folder, 40, abandon) == [1] * 40


def race(tmp_path: Path, folder: Path, n: int, begin=lambda _: None) -> list[int]:
    """Let eight runs take a song at once, again and again; count the winners."""
    found = []
    for _ in range(n):
        shutil.rmtree(folder)
        folder.mkdir()
        begin(folder)
        barrier, won = threading.Barrier(8), []

        def take(token: str, barrier=barrier, won=won) -> None:
            mine = claims(tmp_path, token)
            barrier.wait()
            if mine.take(str(folder)):
                won.append(token)

        threads = [threading.Thread(target=take, args=(f"t{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found.append(len(won))
    return found


def test_a_live_claim_of_another_machine_is_left_alone(
    tmp_path: Path, folder: Path
) -> None:
    abandon(folder, age_s=LEASE_S / 2)
    assert claims(tmp_path, "b").take(str(folder)) is None
    assert claims(tmp_path, "b", is_alone=True).take(str(folder)) is not None


def test_a_slow_owner_finds_out_and_takes_nothing_away(
    tmp_path: Path, folder: Path
) -> None:
    slow, thief = claims(tmp_path, "a"), claims(tmp_path, "b")
    first = slow.take(str(folder))
    assert first is not None and slow.touch(first)
    abandon(folder)  # as if it had not been touched for a minute, elsewhere
    second = thief.take(str(folder))
    assert second is not None and second.number == 1 and second.was_begun
    assert not slow.touch(first)
    slow.release(first)
    assert thief.touch(second)
    assert claims(tmp_path, "c").take(str(folder)) is None
    thief.release(second)
    assert list(folder.iterdir()) == []


def test_a_dead_process_of_this_machine_is_known_at_once(
    tmp_path: Path, folder: Path
) -> None:
    process = subprocess.Popen(["sleep", "60"])
    held = {**myself(), "token": "x", "pid": process.pid}
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    held["started"] = stat.rpartition(")")[2].split()[19]
    (folder / ".edgestem.claim.0").write_text(json.dumps(held))
    assert claims(tmp_path, "a", is_alone=True).take(str(folder)) is None
    process.kill()
    process.wait()
    assert claims(tmp_path, "a").take(str(folder)) is not None


def test_what_a_process_of_the_own_run_had_is_taken_over(
    tmp_path: Path, folder: Path
) -> None:
    assert claims(tmp_path, "a").take(str(folder)) is not None
    again = claims(tmp_path, "a").take(str(folder))
    assert again is not None and again.was_begun


def elsewhere(name: str, *words: object) -> subprocess.Popen[str]:
    """Start `edgestem batch` on a machine of that name, with small pids."""
    shell = f'hostname {name}; exec "$@"'
    start = ["unshare", "-u", "-p", "-f", "--kill-child", "--mount-proc"]
    return subprocess.Popen(
        [*start, "sh", "-c", shell, "sh", *line("batch", *words)],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def _namespaces() -> None:
    words = ["unshare", "-u", "-p", "-f", "--mount-proc", "hostname", "x"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("namespaces need root")


@pytest.mark.usefixtures("_namespaces")
def test_two_machines_with_equal_pids_share_a_folder(tmp_path: Path) -> None:
    write_songs(tmp_path / "src", 60, 4.0)  # the later one finds some left
    words = (tmp_path / "src", "-o", tmp_path / "out", "--claim", "-v")
    runs = [elsewhere(name, *words, "--jobs", 2) for name in ("ann", "bob")]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum(text.count(": done\n") for text in said) == 60
    made = receipts(tmp_path / "out")
    assert len(made) == 60 and {x["host"] for x in made} == {"ann", "bob"}
    assert leftovers(tmp_path / "out") == []


@pytest.mark.usefixtures("_namespaces")
def test_a_machine_takes_over_from_one_that_died(tmp_path: Path) -> None:
    write_songs(tmp_path / "src", 6, seconds=20)
    out = tmp_path / "out"
    words = (tmp_path / "src", "-o", out, "--claim", "--lease", LEASE_S)
    first = elsewhere("ann", *words)
    wait_for(lambda: len(receipts(out)) >= 1 and list(out.rglob(".edgestem.claim.*")))
    second = elsewhere("bob", *words)
    wait_for(lambda: workers(second.pid))
    for pid in workers(first.pid):
        kill(pid)  # the first process of a namespace takes all others with it
    first.communicate(timeout=30)
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    made = receipts(out)
    assert len(made) == 6 and "bob" in {x["host"] for x in made}
    assert leftovers(out) == []


def test_shards_are_disjoint_cover_all_and_stay(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / f"{i}.wav").touch()
    parts = [names(tmp_path, i, 7) for i in range(7)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 100
    for i in range(100, 200):
        (tmp_path / "src" / f"{i}.wav").touch()
    for i, part in enumerate(parts):
        assert part <= names(tmp_path, i, 7)
    assert in_shard("any", 0, 1)


def names(tmp_path: Path, index: int, count: int) -> set[str]:
    found = make_list([str(tmp_path / "src")], tmp_path / "out", (index, count))
    return {song.name for song in found.songs}


SLURM = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "10"}
WHOLE = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "9"}
AGAIN = {
    "SLURM_ARRAY_TASK_ID": "7",
    "SLURM_ARRAY_TASK_COUNT": "2",
    "SLURM_ARRAY_TASK_MIN": "3",
    "SLURM_ARRAY_TASK_MAX": "7",
}
AWS = {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "50"}


@pytest.mark.parametrize(
    ("text", "variables", "found"),
    [
        ("2/7", {}, (2, 7)),
        ("array", SLURM | WHOLE, (3, 10)),
        ("array/12", SLURM, (3, 12)),
        ("array/10", AGAIN, (7, 10)),
        ("array", AWS, (0, 50)),
        ("array/8", {"JOB_COMPLETION_INDEX": "5"}, (5, 8)),
    ],
)
def test_shards_from_words_and_schedulers(text, variables, found) -> None:
    assert shard(text, variables) == found


@pytest.mark.parametrize(
    ("text", "variables", "what"),
    [
        ("7/7", {}, "0 to 6"),
        ("3", {}, "expected I/N"),
        ("-1/3", {}, "expected I/N"),
        ("1/0", {}, "how many"),
        ("array", {}, "no array task"),
        ("array", AGAIN, "how many"),
        ("array", {"JOB_COMPLETION_INDEX": "5"}, "how many"),
        ("array/3", SLURM, "begin the array at 0"),
    ],
)
def test_shards_that_make_no_sense(text, variables, what) -> None:
    with pytest.raises(ValueError, match=what):
        shard(text, variables)


def test_two_shards_make_a_whole_and_another_count_is_said(tmp_path: Path) -> None:
    write_songs(tmp_path / "src", 12)
    words = (tmp_path / "src", "-o", tmp_path / "out")
    for i in range(2):
        variables = os.environ | {"JOB_COMPLETION_INDEX": str(i)}
        done = batch(*words, "--shard", "array/2", env=variables)
        assert done.returncode == 0, done.stderr
    assert len(receipts(tmp_path / "out")) == 12
    shutil.rmtree(tmp_path / "out" / "album 0")
    third = batch(*words, "--shard", "0/3")
    assert "begun with 2 shards" in third.stderr
    assert batch(*words, "--shard", "3/3").returncode == 2
