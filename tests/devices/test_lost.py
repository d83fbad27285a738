"""A device that fails while it works: a real delegate, with orders to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import libraries
import numpy as np
import pytest
from daemons import running

import edgestem
from edgestem.cli import main as cli
from edgestem.daemon.pool.engine import Engine
from edgestem.daemon.system.config import DaemonConfig
from edgestem.devices import choice as devices
from edgestem.engine import separator
from edgestem.errors import ModelError
from edgestem.files.output import Output
from edgestem.files.separate import FileSeparator
from edgestem.files.verify import verify
from edgestem.network.compute import Compute

DATA = Path(__file__).parent.parent / "data"
TINY = DATA / "tiny.tflite"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    if libraries.why_not():
        pytest.skip(libraries.why_not())
    return libraries.build("orders", tmp_path_factory.mktemp("delegate"))


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    devices.forget_trials()
    yield
    devices.forget_trials()


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return tmp_path / "orders"


def noise(n_samples: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.normal(0, 0.1, (n_samples, 2)).astype(np.float32)


def on_device(library: str, orders: Path, **more: bool) -> FileSeparator:
    device, words = f"delegate:{library}", {"orders": str(orders)}
    compute = Compute(device=device, device_options=words, **more)
    return FileSeparator(Output(), TINY, compute)


def fail(orders: Path) -> object:
    """Return a progress that lets the device fail after the first block."""
    return lambda n_done, n_samples: orders.write_text("fail")


def test_a_song_is_begun_again_on_the_cpu(
    library: str, orders: Path, write_song, tmp_path: Path
) -> None:
    song = write_song(x=noise(200_000))
    separator = on_device(library, orders)
    report = separator.to_folder(song, tmp_path / "out", fail(orders))
    assert report.warnings[0].startswith(
        f"{song}: begun again on the CPU, for delegate"
    )
    assert verify(tmp_path / "out", song).is_exact
    alone = edgestem.separate_file(song, tmp_path / "cpu", model=TINY, device="cpu")
    for name, path in report.outputs.items():
        assert Path(path).read_bytes() == Path(alone.outputs[name]).read_bytes()
    # Songs after it stay there, and it is said once.
    assert separator.to_folder(song, tmp_path / "next").warnings == []


def test_without_fallback_it_is_device_lost_and_nothing_is_written(
    library: str, orders: Path, write_song, tmp_path: Path
) -> None:
    separator = on_device(library, orders, fallback=False)
    song = write_song(x=noise(200_000))
    with pytest.raises(ModelError) as caught:
        separator.to_folder(song, tmp_path / "out", fail(orders))
    assert caught.value.code == "device_lost"
    assert not (tmp_path / "out").exists()
    orders.unlink()  # it is plugged in again
    assert separator.to_folder(song, tmp_path / "out").warnings == []


@pytest.mark.parametrize("words", [[], ["--no-fallback"]])
def test_the_batch_goes_on(
    words: list[str],
    library: str,
    orders: Path,
    write_song,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    songs = [str(write_song(name=f"{name}.wav", x=noise(9000))) for name in "ab"]
    opened = iter(["fail"])
    open_model = separator.open_model

    def open_and_fail(*args: object, **more: object) -> object:
        orders.unlink(missing_ok=True)
        found = open_model(*args, **more)
        if order := next(opened, ""):
            orders.write_text(order)
        return found

    monkeypatch.setattr(separator, "open_model", open_and_fail)
    device = ["--device", f"delegate:{library}", "--delegate-opt", f"orders={orders}"]
    command = ["separate", *songs, "-o", str(tmp_path / "out"), "--model", str(TINY)]
    status = cli.main([*command, *device, *words, "--json"])
    done = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    if words:
        assert status == 1
        assert done[0]["error"]["code"] == "device_lost"
    else:
        assert status == 0
        assert "begun again on the CPU" in done[0]["warnings"][0]
    assert done[1]["warnings"] == [] and len(done[1]["outputs"]) == 2


def test_a_job_of_the_daemon_is_begun_again(
    library: str,
    orders: Path,
    write_song,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DELEGATE_TEST_ORDERS", str(orders))
    song, expected = write_song(), write_song("expected.wav")
    device = f"delegate:{library}"
    with running(tmp_path, "--device", device) as daemon, daemon.client() as client:
        opened = client.request("open", "opened", sample_rate=44100, channels=2)
        assert opened.fields["device"] == device
        client.request("close", "closed")  # it is kept for the next one
        orders.write_text("fail")
        with expected.open("w+b") as file:
            done = client.separate_file(song, [file.fileno()], stems=["vocals"])
    assert done["warnings"][0].startswith("the song was begun again: delegate:")
    edgestem.separate_file(song, tmp_path / "cpu", model=TINY, device="cpu")
    alone = tmp_path / "cpu" / "song" / "vocals.wav"
    assert expected.read_bytes() == alone.read_bytes()


class Unplugged:
    """An interpreter whose device has gone."""

    def invoke(self) -> None:
        raise RuntimeError("Node number 3 failed to invoke.")


def test_the_daemon_lends_no_separator_whose_device_was_lost() -> None:
    engine = Engine(DaemonConfig(models=(str(TINY),)), lambda *_, **__: None)
    lent = [engine.take("", 44100, 2) for _ in range(2)]
    lent[0]._model._networks[0]._interpreter = Unplugged()
    with pytest.raises(ModelError):
        lent[0].push(np.zeros((200_000, 2), np.float32))
    for one in reversed(lent):  # a good one of the same device goes too
        engine.give_back(one)
    assert engine.take("", 44100, 2) not in lent
