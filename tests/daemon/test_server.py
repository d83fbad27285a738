"""Streams and sessions of a real daemon on a real socket."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libraries
import numpy as np
import pytest
from daemons import DATA, DaemonProcess, read_all, running, wait_for

import edgestem
from edgestem.sound.grid import GRIDS
from edgestem.sound.wav import WavFormat, pack, unpack
from edgestem.wire.protocol import Decoder, Message, encode

RATE = 44100
TINY = DATA / "tiny.tflite"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon"), job_workers=2) as found:
        yield found


def noise(n_samples: int, n_channels: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n_samples, n_channels)) * 0.1).astype(np.float32)


def conversation(connection: socket.socket, data: bytes, last: str) -> list[Message]:
    """Send bytes, collect messages up to one of a type."""
    connection.sendall(data)
    decoder, found = Decoder(), []
    while not found or found[-1].type != last:
        message = decoder.next_message()
        if message is not None:
            found.append(message)
            continue
        data = connection.recv(1 << 16)
        assert data, f"hung up after {found}"
        decoder.feed(data)
    return found


def ask(connection: socket.socket, data: bytes) -> Message:
    """Send one request, take one answer."""
    connection.sendall(data)
    decoder = Decoder()
    while (message := decoder.next_message()) is None:
        data = connection.recv(1 << 16)
        assert data, "hung up"
        decoder.feed(data)
    return message


def test_greeting_names_version_models_and_device(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        assert client.server["protocol"] == 1
        assert client.server["models"] == ["tiny"]
        assert client.server["device"] == "cpu"
        assert client.server["server"] == f"edgestem {edgestem.__version__}"


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [0, 1, 2559, 50_000])
def test_separating_in_the_daemon_is_separating(
    daemon: DaemonProcess, n_samples: int, n_channels: int
) -> None:
    x = noise(n_samples, n_channels)
    expected = edgestem.separate(x, RATE, model=TINY)
    with daemon.client() as client:
        for _ in range(2):  # a second song on the same connection
            found = client.separate(x, RATE)
            np.testing.assert_array_equal(found.vocals, expected.vocals)
            np.testing.assert_array_equal(found.instrumental, expected.instrumental)


def test_models_that_share_a_network_stay_apart(tmp_path: Path) -> None:
    """Of one .tflite file, one model hears every frame twice, the other once."""
    shared = DATA / "twice.tflite"
    sidecar = json.loads(shared.with_suffix(".json").read_text())
    twice, once = (tmp_path / f"{name}.tflite" for name in ("twice", "once"))
    twice.write_bytes(shared.read_bytes())
    about = {"name": "once", "views": 1, "file": twice.name}
    for path, fields in ((twice, {}), (once, about)):
        path.with_suffix(".json").write_text(json.dumps(sidecar | fields))
    x = noise(20_000)
    flags = ("--model", str(twice), "--model", str(once))
    with running(tmp_path, *flags) as daemon, daemon.client() as client:
        results = []
        for path in (twice, once):
            for _ in range(2):  # loaded, and the one that was kept
                found = client.separate(x, RATE, model=path.stem)
                expected = edgestem.separate(x, RATE, model=path)
                np.testing.assert_array_equal(found.vocals, expected.vocals)
            results.append(found.vocals)
    assert not np.array_equal(*results)


@pytest.mark.parametrize("mode", ["file", "live"])
def test_push_in_the_daemon_is_push(daemon: DaemonProcess, mode: str) -> None:
    x = noise(20_000)
    separator = edgestem.Separator(RATE, 2, model=TINY)
    with daemon.client() as client:
        stream = client.open(RATE, 2, mode=mode)
        assert stream.latency_samples == separator.latency_samples
        for start in range(0, len(x), 700):
            block = x[start : start + 700]
            for a, b in zip(stream.push(block), separator.push(block), strict=True):
                np.testing.assert_array_equal(a, b)
        for a, b in zip(stream.flush(), separator.flush(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("wire", "name"), [("s16le", "16"), ("s24le", "24")])
def test_integer_stems_add_up_to_the_mixture(
    daemon: DaemonProcess, wire: str, name: str
) -> None:
    grid = GRIDS[name]
    wav = WavFormat(grid, RATE, 2)
    rng = np.random.default_rng(3)
    mixture = rng.integers(grid.lowest, grid.highest, (9000, 2), endpoint=True)
    data = encode("open", sample_rate=RATE, format=wire)
    for part in np.array_split(mixture, 7):
        data += encode("audio", pack(part, grid))
    with daemon.raw() as connection:
        found = conversation(connection, data + encode("flush"), "flushed")
    late = next(m.fields["latency_samples"] for m in found if m.type == "opened")
    total = np.zeros((0, 2), np.int64)
    for message in found:
        if message.type == "stems":
            half = len(message.payload) // 2
            vocals = unpack(message.payload[:half], wav)
            total = np.concatenate(
                [total, vocals + unpack(message.payload[half:], wav)]
            )
    assert not total[:late].any()
    np.testing.assert_array_equal(total[late:], mixture)


def test_levels_move_the_karaoke_stem_at_once_and_without_a_step(
    daemon: DaemonProcess,
) -> None:
    t = np.arange(RATE) / RATE
    x = np.repeat(0.5 * np.sin(2 * np.pi * 100 * t)[:, None], 2, 1).astype(np.float32)
    with daemon.client() as client:
        stream = client.open(
            *(RATE, 2), mode="live", stems=["karaoke"], instrumental_db=0, vocals_db=0
        )
        late = stream.latency_samples
        (before,) = stream.push(x[:8192])
        np.testing.assert_allclose(before[late:], x[: 8192 - late], atol=1e-6)
        stream.set(vocals_db=-100, instrumental_db=-100, ramp_ms=10)
        (after,) = stream.push(x[8192 : 8192 + 1024])
        assert np.abs(np.diff(after[:, 0], prepend=before[-1, 0])).max() < 0.02
        assert np.abs(after[:100]).max() > 0.01  # no jump to silence
        assert not after[441:].any()  # within the ramp, whatever the latency
        stream.set(instrumental_db=0, ramp_ms=0)
        (back,) = stream.push(x[9216:10240])
        assert np.abs(back).max() > 0.01


def test_a_ramp_does_not_depend_on_block_sizes(daemon: DaemonProcess) -> None:
    x = noise(12_000)
    results = []
    for step in (512, 1777):
        with daemon.client() as client:
            stream = client.open(RATE, 2, stems=["karaoke"])
            stream.push(x[:4000])
            stream.set(vocals_db=-20, ramp_ms=100)
            blocks = [
                stream.push(x[at : min(at + step, 12_000)])[0]
                for at in range(4000, 12_000, step)
            ]
            results.append(np.concatenate(blocks))
    np.testing.assert_array_equal(*results)


def test_stems_have_their_own_names_or_none(daemon: DaemonProcess) -> None:
    """Any two stems are not `Stems`, and in another order least of all."""
    x, late = noise(50_000), None
    found = {}
    for order in (["vocals", "instrumental"], ["instrumental", "vocals"]):
        with daemon.client() as client:
            stream = client.open(RATE, 2, stems=order)
            assert stream.stems == tuple(order)
            stems = stream.push(x)
            assert hasattr(stems, "vocals") == (order[0] == "vocals")
            found[order[0]] = dict(zip(order, stems, strict=True))
            late = stream.latency_samples
    for name, stem in found["vocals"].items():
        np.testing.assert_array_equal(stem, found["instrumental"][name])
    assert late is not None and found["vocals"]["vocals"][late:].any()
    with daemon.client() as client:
        stream = client.open(RATE, 2, stems=["karaoke", "vocals"])
        assert not hasattr(stream.push(x), "vocals")


def test_every_reply_carries_the_seq_of_its_request(daemon: DaemonProcess) -> None:
    data = encode("ping", seq=1) + encode("status", seq=2) + encode("models", seq=3)
    data += encode("open", seq=4, sample_rate=RATE, channels=1)
    data += encode("audio", bytes(400), seq=5) + encode("set", seq=6, vocals_db=0)
    data += encode("nonsense", seq=7) + encode("flush", seq=8) + encode("close", seq=9)
    with daemon.raw() as connection:
        found = conversation(connection, data, "closed")
    by_seq: dict[int, set[str]] = {}
    for message in found:
        by_seq.setdefault(message.fields["seq"], set()).add(message.type)
    assert by_seq == {
        1: {"pong"},
        2: {"status"},
        3: {"models"},
        4: {"opened"},
        5: {"stems"},
        6: {"set"},
        7: {"error"},
        8: {"stems", "flushed"},
        9: {"closed"},
    }


def test_status_and_models_describe_the_daemon(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        stream = client.open(RATE, 2, mode="live")
        for _ in range(8):
            stream.push(noise(1280))
        reply = client.request("status", "status")
        (own,) = [
            s["stream"]
            for s in json.loads(reply.payload)["sessions"]
            if s["pid"] == os.getpid() and s["stream"]
        ]
        assert own["mode"] == "live"
        assert 0 < own["last_hop_ms"] <= own["peak_hop_ms"]
        assert 0 < own["rtf"] < 1
        assert reply.fields["live_load"] > 0
        models = json.loads(client.request("models", "models").payload)
        assert [m["name"] for m in models] == ["tiny"]


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (encode("audio", b"1234"), "bad_order"),
        (encode("flush"), "bad_order"),
        (encode("close"), "bad_order"),
        (encode("set", vocals_db=0), "bad_order"),
        (encode("nonsense"), "unknown_type"),
        (encode("open", sample_rate=7999), "unsupported_sample_rate"),
        (encode("open", sample_rate=44100, channels=3), "unsupported_channels"),
        (encode("open", sample_rate=44100, model="nope"), "model_not_found"),
        (encode("open", sample_rate=44100, model="/etc/x.tflite"), "model_not_found"),
        (encode("cancel", job=99), "no_job"),
        (encode("separate", input="/etc/passwd", output_dir="/tmp"), "forbidden"),
        (encode("separate"), "bad_field"),
    ],
)
def test_a_refused_request_leaves_the_connection_open(
    daemon: DaemonProcess, request_bytes: bytes, code: str
) -> None:
    with daemon.raw() as connection:
        assert ask(connection, request_bytes).fields["code"] == code
        assert ask(connection, encode("ping", seq=5)).fields == {"seq": 5}


def test_audio_of_half_a_sample_and_a_second_stream_are_refused(
    daemon: DaemonProcess,
) -> None:
    with daemon.raw() as connection:
        assert ask(connection, encode("open", sample_rate=RATE)).type == "opened"
        answer = ask(connection, encode("audio", b"123"))
        assert answer.fields["code"] == "bad_field"
        answer = ask(connection, encode("open", sample_rate=RATE))
        assert answer.fields["code"] == "bad_order"


def test_lost_framing_closes_the_connection_with_an_error(
    daemon: DaemonProcess,
) -> None:
    for garbage in (b"{\n", b"\0" * 5000, b'{"type":"audio","payload_length":9e9}\n'):
        with daemon.raw() as connection:
            connection.sendall(garbage)
            assert b'"type":"error"' in read_all(connection)


def test_another_protocol_version_is_refused(daemon: DaemonProcess) -> None:
    with daemon.raw() as connection:
        connection.sendall(encode("hello", protocol=2))
        assert b"bad_version" in read_all(connection)


def test_what_was_asked_before_half_closing_is_answered(daemon: DaemonProcess) -> None:
    """As `printf ... | socat - UNIX:...` does."""
    x = noise(30_000)
    data = encode("open", sample_rate=RATE)
    for start in range(0, len(x), 5000):
        data += encode("audio", x[start : start + 5000].tobytes())
    with daemon.raw() as connection:
        connection.sendall(data + encode("flush"))
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    decoder = Decoder()
    decoder.feed(answer)
    found = []
    while (message := decoder.next_message()) is not None:
        found.append(message)
    assert found[-1].type == "flushed"
    n_bytes = sum(len(m.payload) for m in found)
    assert n_bytes == (len(x) + found[0].fields["latency_samples"]) * 2 * 8


def test_a_client_that_does_not_read_waits_and_disturbs_nobody(
    daemon: DaemonProcess,
) -> None:
    x = noise(60_000)
    expected = edgestem.separate(x, RATE, model=TINY)
    data = memoryview(encode("audio", bytes(1 << 20)) * 64)
    with daemon.raw() as lazy:
        lazy.sendall(encode("open", sample_rate=RATE))
        lazy.settimeout(1.0)
        n_sent = 0
        with pytest.raises(TimeoutError):  # the daemon stops reading
            while n_sent < len(data):
                n_sent += lazy.send(data[n_sent:])
        assert n_sent < 32 << 20
        with daemon.client() as client:
            found = client.separate(x, RATE)
        np.testing.assert_array_equal(found.vocals, expected.vocals)


def test_a_live_client_that_does_not_read_loses_the_oldest(
    daemon: DaemonProcess,
) -> None:
    block = encode("audio", noise(4410).tobytes())
    with daemon.raw() as lazy, daemon.client() as client:
        lazy.sendall(encode("open", sample_rate=RATE, mode="live"))
        for _ in range(200):  # 20 s of audio: never blocked
            lazy.sendall(block)
        lazy.sendall(encode("status"))
        wait_for(lambda: client.status()["n_xruns"] > 0)
        lazy.shutdown(socket.SHUT_WR)
        positions, decoder = [], Decoder()
        decoder.feed(read_all(lazy))
        while (message := decoder.next_message()) is not None:
            if message.type == "stems":
                positions.append(message.fields["position"])
    assert positions == sorted(positions)
    assert len(positions) < 200  # some are missing, and their place shows it


def test_live_audio_that_comes_too_fast_is_dropped_and_placed(tmp_path: Path) -> None:
    with running(tmp_path, live_queue_ms=0) as daemon, daemon.raw() as connection:
        data = encode("open", sample_rate=RATE, mode="live", stems=["vocals"])
        data += encode("audio", bytes(8 * 16384)) * 60
        found = conversation(connection, data + encode("close"), "closed")
    positions = [m.fields["position"] for m in found if m.type == "stems"]
    # An answer that came late counts, too.
    assert found[-1].fields["xruns"] >= 60 - len(positions) > 0
    assert all(p % 16384 == 0 for p in positions)


def test_a_client_that_dies_leaves_nothing_behind(daemon: DaemonProcess) -> None:
    def counts() -> tuple[int, int]:
        return daemon.n_threads(), daemon.n_fds()

    wait_for(lambda: json.loads(status_of(daemon))["sessions"] is not None)
    time.sleep(0.3)
    before = counts()
    for _ in range(10):
        connection = daemon.raw()
        connection.sendall(encode("open", sample_rate=RATE))
        connection.sendall(encode("audio", bytes(80_000))[:50_000])
        connection.close()
    # Each client that left something would be ten; what the daemon itself starts or
    # closes meanwhile, a spare child's thread and pipe, is less.
    wait_for(lambda: all(n <= m + 4 for n, m in zip(counts(), before, strict=True)))


def status_of(daemon: DaemonProcess) -> bytes:
    with daemon.client() as client:
        return client.request("status", "status").payload


def test_a_stream_that_would_not_keep_up_is_refused_with_the_number(
    tmp_path: Path,
) -> None:
    with running(tmp_path, live_load=0.0001) as daemon, daemon.client() as client:
        with pytest.raises(edgestem.EdgestemError) as caught:
            client.open(RATE, 2, mode="live")
        assert caught.value.code == "overloaded"
        assert "0.0001" in str(caught.value)
        client.open(RATE, 2, mode="file")  # it may take its time


def test_limits_of_clients_and_streams(tmp_path: Path) -> None:
    limits = {"max_clients": 3, "max_streams": 1}
    with running(tmp_path, **limits) as daemon:
        wait_for(lambda: "closed by the client" in daemon.log.read_text())
        clients = [daemon.client() for _ in range(3)]
        with pytest.raises(edgestem.EdgestemError) as caught:
            daemon.client()
        assert caught.value.code == "too_many_clients"
        clients[0].open(RATE, 2)
        with pytest.raises(edgestem.EdgestemError) as caught:
            clients[1].open(RATE, 2)
        assert caught.value.code == "too_many_streams"
        for client in clients:
            client.close()
        wait_for(lambda: can_connect(daemon))


def can_connect(daemon: DaemonProcess) -> bool:
    try:
        daemon.client().close()
    except edgestem.EdgestemError:
        return False
    return True


def test_slow_and_silent_clients_are_let_go(tmp_path: Path) -> None:
    with running(tmp_path, message_s=0.3, idle_s=1.0) as daemon:
        with daemon.raw() as slow:
            slow.sendall(b'{"type":')
            assert b"timeout" in read_all(slow)
        with daemon.raw() as silent:
            assert b"idle" in read_all(silent)
        with daemon.client() as listener:
            listener.request("subscribe", "subscribed")
            time.sleep(1.5)
            listener.status()


def test_events_reach_those_who_subscribed(daemon: DaemonProcess) -> None:
    visit = "import sys, edgestem; edgestem.Client(sys.argv[1]).close()"
    with daemon.client() as listener:
        listener.request("subscribe", "subscribed", events=["session"])
        visitor = subprocess.Popen([sys.executable, "-c", visit, str(daemon.socket)])
        seen: list[tuple[int, str]] = []
        while (visitor.pid, "closed") not in seen:
            told = listener.receive("event").fields
            seen.append((told["pid"], told["state"]))
        assert visitor.wait() == 0
    assert [state for pid, state in seen if pid == visitor.pid] == ["opened", "closed"]
    # Clients of earlier tests may still be leaving; nobody is told of himself.
    assert {state for pid, state in seen if pid != visitor.pid} <= {"closed"}


def test_a_lost_device_is_an_event_and_streams_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if libraries.why_not():
        pytest.skip(libraries.why_not())
    monkeypatch.setenv("DELEGATE_TEST_USB", str(tmp_path))
    name = f"delegate:{libraries.build('logistic', tmp_path)}"
    with running(tmp_path, "--device", name) as daemon, daemon.client() as listener:
        listener.request("subscribe", "subscribed", events=["device"])
        assert listener.server["device"] == name
        (tmp_path / "unplugged").touch()
        with daemon.client() as client:
            opened = client.request("open", "opened", sample_rate=RATE, channels=2)
            assert opened.fields["device"] == "cpu"
        told = listener.receive("event").fields
        assert (told["event"], told["device"]) == ("device", "cpu")
        assert told["text"].startswith(f"{name}: it worked when it was tried")


def test_only_configured_users_may_connect(tmp_path: Path) -> None:
    folder = tmp_path
    daemon = DaemonProcess(folder, allow_users="54321")
    try:
        wait_for(daemon.socket.exists)
        wait_for(lambda: daemon.socket.stat().st_mode & 0o777 == 0o660)
        with pytest.raises(edgestem.EdgestemError) as caught:
            daemon.client()
        assert caught.value.code == "forbidden"
    finally:
        assert daemon.end() == 0
    assert "refused" in daemon.log.read_text()


def test_mode_of_the_socket(daemon: DaemonProcess) -> None:
    mode = daemon.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and mode & 0o777 == 0o660


def test_the_client_takes_the_arrays_that_separate_takes(daemon: DaemonProcess) -> None:
    x = noise(6000, 1)
    expected = edgestem.separate(x, RATE, model=TINY)
    whole = np.rint(x[:, 0] * 2**15).astype(np.int16)
    with daemon.client() as client:
        found = client.separate(x[:, 0].astype(np.float64), RATE)
        assert np.array_equal(found.vocals, expected.vocals[:, 0])
        assert client.separate(whole, RATE).vocals.shape == whole.shape
        with pytest.raises(ValueError, match=r"pass mixture\.T"):
            client.separate(x.T, RATE)
