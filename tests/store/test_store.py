"""The store: by content, within its size, whole whatever happens."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forks import fork

from edgestem.errors import EdgestemError
from edgestem.sound.grid import GRIDS, Grid
from edgestem.sound.reading import open_song
from edgestem.sound.wav import WavFormat
from edgestem.store.receipt import Receipt, Recipe, SampleDigest, key_of
from edgestem.store.store import Store, default_folder

RECIPE = Recipe("model", "cpu")


def vocals_on(grid: Grid, n: int = 4000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if grid.is_float:
        return rng.normal(0, 0.1, (n, 2)).astype(grid.dtype)
    return rng.integers(-100, 100, (n, 2))


def put(store: Store, content: str, grid: Grid = GRIDS["16"], n: int = 4000) -> Receipt:
    entry = store.entry(WavFormat(grid, 44100, 2, None))
    entry.write(vocals_on(grid, n))
    receipt = entry.commit(content, RECIPE, "song")
    assert receipt is not None
    return receipt


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_every_grid_comes_back_to_the_bit(tmp_path: Path, grid: Grid) -> None:
    store = Store(tmp_path / "store")
    put(store, "abc", grid)
    found = Store(tmp_path / "store").find(key_of("abc", RECIPE, grid))
    assert found is not None and found.n_samples == 4000
    song = open_song(store.path(found))
    x = song.read(5000)
    song.close()
    assert np.array_equal(x, vocals_on(grid))
    digest = SampleDigest(grid, 44100, 2)
    digest.update(x)
    assert digest.hexdigest() == found.vocals


def test_a_file_is_known_by_its_numbers_until_it_changes(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    song = tmp_path / "song.mp3"
    song.write_bytes(b"x")
    status = song.stat()
    assert store.find_file(status, RECIPE) is None
    receipt = put(store, "abc")
    store.remember_file(status, RECIPE, receipt.key)
    assert store.find_file(song.stat(), RECIPE) == receipt
    assert store.find_file(song.stat(), Recipe("other", "cpu")) is None
    song.write_bytes(b"xy")
    assert store.find_file(song.stat(), RECIPE) is None
    store.forget_file(status, RECIPE)
    assert store.find_file(status, RECIPE) is None


def test_how_a_song_begins_belongs_to_its_entry(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    receipt = put(store, "abc")
    before = store.size()
    store.keep_head(receipt.key, lambda: b"head" * 100)
    assert store.head(receipt.key) == b"head" * 100
    assert store.size() == before + 400
    store.keep_head(receipt.key, lambda: b"another")
    assert store.head(receipt.key) == b"head" * 100, "it is written once"
    store.remove(receipt.key)
    assert store.head(receipt.key) == b"" and store.size() == 0
    store.keep_head(receipt.key, lambda: b"late")
    assert store.head(receipt.key) == b"", "without an entry there is none"
    (store.folder / "orphan.head").write_bytes(b"x")
    Store(store.folder)
    assert not (store.folder / "orphan.head").exists()


def test_a_head_that_does_not_fit_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", 20_000)
    receipt = put(store, "abc")
    store.keep_head(receipt.key, lambda: bytes(20_000))
    assert store.head(receipt.key) == b"" and store.find(receipt.key) is not None


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    keys = []
    for name in "abc":
        keys.append(put(store, name, GRIDS["float"]).key)
        time.sleep(0.01)
    one = store.size() // 3
    time.sleep(0.01)
    assert store.find(keys[0]) is not None  # used now
    small = Store(tmp_path / "store", limit=one * 3 - 1)
    assert [r.key for r in small.receipts()] == [keys[2], keys[0]]
    put(small, "d", GRIDS["float"])
    assert small.size() < one * 3
    assert small.find(keys[2]) is None and small.find(keys[0]) is not None


def test_what_is_larger_than_the_store_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", limit=1000)
    entry = store.entry(WavFormat(GRIDS["float"], 44100, 2, None))
    entry.write(vocals_on(GRIDS["float"]))
    assert entry.commit("abc", RECIPE) is None
    assert sorted(p.name for p in store.folder.iterdir()) == [".lock", "seen"]


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgestemError, match="--store none") as caught:
        Store(tmp_path / "file" / "store")
    assert caught.value.code == "unwritable"


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path;"
        "sys.path[:0] = sys.argv[2:];"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "import test_store as t; from edgestem.store.store import Store;"
        "store = Store(Path(sys.argv[1]));"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "t.put(store, 'abc', t.GRIDS['float'], 100000)"
    )
    here = str(Path(__file__).parent)
    helpers = str(Path(__file__).parent.parent / "helpers")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s"), here, helpers],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "OSError" in done.stderr
    left = sorted(p.name for p in (tmp_path / "s").iterdir())
    assert left == [".lock", "seen"]


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_folder() == Path("/data/edgestem/store")


def test_a_service_keeps_it_where_systemd_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DynamicUser= has no home that can be written to; StateDirectory= is its place."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edgestem-play")
    assert default_folder() == Path("/var/lib/edgestem-play/store")


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(EdgestemError, match="no home folder: set HOME or XDG_DATA"):
        default_folder()


def begin_writing(folder: Path, name: str) -> int:
    """Start a child that writes entries for ever; give its process when it begins."""
    ready, begun = os.pipe()
    if (pid := fork()) == 0:
        try:
            store = Store(folder, 400_000)
            os.write(begun, b"x")
            for i in itertools.count():
                put(store, f"{name}-{i}")
        finally:
            os._exit(1)
    os.close(begun)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def test_fifty_kills_leave_it_whole(tmp_path: Path) -> None:
    """A writer is killed at random moments; what has a receipt is always whole."""
    folder, rng, n_entries, n = tmp_path / "s", random.Random(1), 0, 0
    while n < 50 or n_entries <= 50:  # a busy machine writes less between two kills
        n += 1
        assert n < 1000, f"{n_entries} entries"
        writer = begin_writing(folder, str(n))
        time.sleep(rng.uniform(0, 0.05))
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL  # it wrote until then
        n_entries += check(folder)
    Store(folder)
    names = {p.name for p in folder.iterdir()} - {".lock", "seen"}
    assert not [name for name in names if name.startswith(".")]
    stems = {name.split(".")[0] for name in names if not name.endswith(".json")}
    assert stems == {name.split(".")[0] for name in names if name.endswith(".json")}


def check(folder: Path) -> int:
    """Every receipt is whole and its vocals are what it says."""
    store = Store(folder, 400_000)
    receipts = store.receipts()
    assert len(receipts) == len(list(folder.glob("*.json")))
    for receipt in receipts[-2:]:
        song = open_song(store.path(receipt))
        digest = SampleDigest(song.grid, song.sample_rate, song.n_channels)
        digest.update(song.read(receipt.n_samples + 1))
        song.close()
        assert digest.hexdigest() == receipt.vocals
    assert store.size() <= 400_000
    return len(receipts)
