"""Catalogues on Dask workers: real schedulers, workers and deaths."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from catalogues import (
    TINY,
    batch,
    begin,
    is_there,
    kill,
    leftovers,
    line,
    receipts,
    wait_for,
    workers,
    write_songs,
)

distributed = pytest.importorskip("distributed")
Start = Callable[..., subprocess.Popen[bytes]]
# No nanny where no worker dies, and no profiler that looks a hundred times a second.
ALONE = ("--nthreads", 1, "--no-dashboard", "--no-nanny")
UNWATCHED = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start programs; at the end they end, and what they have started."""
    started = []

    def call(*words: object, before: tuple[str, ...] = ()) -> Any:
        command = [*before, sys.executable, "-m", "dask", *map(str, words)]
        env = os.environ | UNWATCHED
        process = subprocess.Popen(command, **_QUIET, env=env, start_new_session=True)
        started.append(process)
        return process

    yield call
    for process in reversed(started):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def start_scheduler(start: Start, folder: Path) -> str:
    file = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard")
    start("scheduler", *options, "--scheduler-file", file, "--dashboard-address", ":0")
    wait_for(lambda: file.exists() and file.read_text().endswith("}"), 60)
    return json.loads(file.read_text())["address"]


@pytest.fixture
def scheduler(start: Start, tmp_path: Path) -> str:
    """Address of a scheduler without workers."""
    return start_scheduler(start, tmp_path)


@pytest.fixture(scope="module")
def cluster(start: Start, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a scheduler with two workers, which its nanny starts anew."""
    address = start_scheduler(start, tmp_path_factory.mktemp("cluster"))
    start("worker", address, "--nthreads", 1, "--nworkers", 2, "--no-dashboard")
    return address


def pids(scheduler: str, n: int) -> list[int]:
    """Wait for so many workers; give their processes."""
    with distributed.Client(scheduler, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)
        return list(client.run(os.getpid).values())


@pytest.fixture
def two(cluster: str) -> str:
    """The cluster, when both workers are there."""
    pids(cluster, 2)
    return cluster


def test_each_song_once_with_the_bytes_of_separate(tmp_path: Path, two: str) -> None:
    write_songs(tmp_path / "src", 30)
    out = tmp_path / "out"
    done = batch(tmp_path / "src", "-o", out, "--dask", two, "--json")
    assert done.returncode == 0, done.stderr
    *songs, last = map(json.loads, done.stdout.splitlines())
    assert {(song["state"], song["attempts"]) for song in songs} == {("done", 1)}
    assert len(songs) == last["summary"]["done"] == 30
    plain = line("separate", tmp_path / "src", "-o", tmp_path / "plain")
    subprocess.run(plain, check=True, timeout=60, **_QUIET)
    for stem in (tmp_path / "plain").rglob("*.wav"):
        twin = out / stem.relative_to(tmp_path / "plain")
        assert twin.read_bytes() == stem.read_bytes()
    assert leftovers(out) == []
    again = batch(tmp_path / "src", "-o", out, "--dask", two)
    assert "30 done before, 0 to do" in again.stderr


def test_a_killed_worker_costs_one_song(tmp_path: Path, two: str) -> None:
    write_songs(tmp_path / "src", 12, seconds=15)
    out = tmp_path / "out"
    with (tmp_path / "json").open("w") as file:
        words = (tmp_path / "src", "-o", out, "--dask", two, "--json")
        run = begin(*words, stdout=file)
        wait_for(lambda: len(receipts(out)) >= 3, 60)
        victim = pids(two, 2)[0]
        children = workers(victim)
        assert kill(victim)
        wait_for(lambda: not any(map(is_there, children)), 5)
        _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    *songs, _ = map(json.loads, (tmp_path / "json").read_text().splitlines())
    attempts = sorted(song["attempts"] for song in songs)
    assert len(songs) == 12 and attempts[:11] == [1] * 11 and attempts[11] <= 2
    # A child that was nearly done may still have published its last song.
    assert all(song["state"] == "done" or song["attempts"] == 2 for song in songs)
    assert len(receipts(out)) == 12 and leftovers(out) == []


def test_a_killed_child_is_replaced(tmp_path: Path, two: str) -> None:
    write_songs(tmp_path / "src", 8, seconds=15)
    out = tmp_path / "out"
    run = begin(tmp_path / "src", "-o", out, "--dask", two)
    wait_for(lambda: len(receipts(out)) >= 2, 60)
    before = pids(two, 2)
    for pid in before:
        for child in workers(pid):
            if b"catalogue.worker" in cmdline(child):
                kill(child)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert pids(two, 2) == before  # the Dask workers lived on
    assert len(receipts(out)) == 8 and leftovers(out) == []


def test_an_interrupted_run_leaves_no_child(tmp_path: Path, two: str) -> None:
    write_songs(tmp_path / "src", 4, seconds=200)
    out = tmp_path / "out"
    run = begin(tmp_path / "src", "-o", out, "--dask", two)
    wait_for(lambda: len(list(out.rglob(".*.part"))) == 4, 60)
    found = [child for pid in pids(two, 2) for child in workers(pid)]
    children = [pid for pid in found if b"catalogue.worker" in cmdline(pid)]
    assert len(children) == 2
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert run.returncode == 130
    wait_for(lambda: not any(map(is_there, children)), 6)
    assert [x for x in leftovers(out) if x.endswith(".part")] == []


def cmdline(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def elsewhere(name: str, *mounts: str) -> tuple[str, ...]:
    """Words that start a program on a machine of that name, with other mounts."""
    shell = "; ".join([f"hostname {name}", *mounts, 'exec "$@"'])
    return ("unshare", "-u", "-m", "sh", "-ec", shell, "sh")


@pytest.fixture
def _namespaces() -> None:
    words = [*elsewhere("x"), "true"]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("namespaces need root")


@pytest.mark.usefixtures("_namespaces")
def test_workers_that_would_do_harm_are_refused(
    tmp_path: Path, start: Start, scheduler: str
) -> None:
    write_songs(tmp_path / "src", 6)
    model = tmp_path / "own.tflite"
    sidecar = json.loads(TINY.with_suffix(".json").read_text())
    shutil.copy(TINY, model)
    model.with_suffix(".json").write_text(json.dumps(sidecar))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(sidecar | {"max_gain_db": 17.0}))
    hide = f"mount -t tmpfs none '{tmp_path / 'src'}'"
    change = f"mount --bind '{other}' '{model.with_suffix('.json')}'"
    words = ("worker", scheduler, *ALONE)
    start(*words, before=elsewhere("blind", hide))
    start(*words, before=elsewhere("odd", change))
    pids(scheduler, 2)
    out = tmp_path / "out"
    none = batch(tmp_path / "src", "-o", out, "--dask", scheduler, model=model)
    assert none.returncode == 5 and not receipts(out)
    start(*words, before=elsewhere("good"))
    pids(scheduler, 3)
    done = batch(tmp_path / "src", "-o", out, "--dask", scheduler, model=model)
    assert done.returncode == 0, done.stderr
    assert {made["host"] for made in receipts(out)} == {"good"}
    for said in (none.stderr, done.stderr):
        (blind,) = [x for x in said.splitlines() if "blind" in x]
        assert "is not used: it cannot see" in blind
        (odd,) = [x for x in said.splitlines() if "odd (" in x]
        assert "is not used: its model is" in odd


def certificates(folder: Path) -> tuple[str, str, str]:
    """Make a CA and one certificate by it: (CA, certificate, key)."""
    names = [folder / name for name in ("ca.pem", "ca.key", "own.pem", "own.key")]
    ca, ca_key, own, key = map(str, names)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    sign = ["-CA", ca, "-CAkey", ca_key]
    for words in (
        [*new, "-subj", "/CN=ca", "-keyout", ca_key, "-out", ca],
        [*new, "-subj", "/CN=own", "-keyout", key, "-out", own, *sign],
    ):
        subprocess.run(words, check=True, capture_output=True)
    return ca, own, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_tls_by_the_means_of_dask(tmp_path: Path, start: Start) -> None:
    ca, own, key = certificates(tmp_path)
    tls = ("--tls-ca-file", ca, "--tls-cert", own, "--tls-key", key)
    file = tmp_path / "scheduler.json"
    options = ("--protocol", "tls", "--port", 0, "--no-dashboard", *tls)
    places = ("--dashboard-address", ":0", "--scheduler-file", file)
    start("scheduler", "--host", "127.0.0.1", *options, *places)
    wait_for(lambda: file.exists() and file.read_text().endswith("}"), 60)
    address = json.loads(file.read_text())["address"]
    assert address.startswith("tls://")
    start("worker", address, *ALONE, *tls)
    write_songs(tmp_path / "src", 3)
    names = {"CA_FILE": ca, "CLIENT__CERT": own, "CLIENT__KEY": key}
    known = {f"DASK_DISTRIBUTED__COMM__TLS__{n}": v for n, v in names.items()}
    words = (tmp_path / "src", "-o", tmp_path / "out", "--dask", address)
    stranger = batch(*words)
    assert stranger.returncode in (1, 3, 5) and not receipts(tmp_path / "out")
    assert stranger.stderr.count("\n") < 5
    done = batch(*words, env=os.environ | known)
    assert done.returncode == 0, done.stderr
    assert len(receipts(tmp_path / "out")) == 3


def test_no_scheduler_is_said(tmp_path: Path) -> None:
    write_songs(tmp_path / "src", 1)
    words = (tmp_path / "src", "-o", tmp_path / "out")
    found = batch(*words, "--dask", "tcp://127.0.0.1:1")
    assert found.returncode == 3 and "[cluster_refused]" in found.stderr
    assert "does not answer" in found.stderr
