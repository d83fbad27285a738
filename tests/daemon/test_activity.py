"""The event `activity`: where the vocals of live streams begin and end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from daemons import DaemonProcess, running, wait_for

from edgestem import Client
from edgestem.karaoke.activity import Meter
from edgestem.sound.singing import Change, SingingDetector

RATE, BLOCK = 48000, 4800


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with running(tmp_path_factory.mktemp("daemon")) as found:
        yield found


def phrases(*seconds: float, seed: int = 1) -> np.ndarray:
    """Noise and silence in turn, (n_samples, 2), of the lengths given."""
    rng = np.random.default_rng(seed)
    parts = [
        rng.normal(0, 0.1 * (at % 2 == 0), (round(s * RATE), 2))
        for at, s in enumerate(seconds)
    ]
    return np.concatenate(parts).astype(np.float32)


def push(client: Client, audio: np.ndarray) -> None:
    for at in range(0, len(audio), BLOCK):
        client.send("audio", audio[at : at + BLOCK].tobytes())
        client.receive("stems")


def play(client: Client, audio: np.ndarray, **options: object) -> int:
    """Play a song as fast as it is taken; return the latency."""
    opened = client.request("open", "opened", sample_rate=RATE, **options)
    push(client, audio)
    client.request("close", "closed")
    return opened.fields["latency_samples"]


def events_of(client: Client) -> list[dict]:
    """Take the events that are there."""
    client.send("ping")
    found = []
    while (message := client.receive("pong", "event")).type == "event":
        found.append(message.fields)
    return found


def changes(listener: Client, n: int) -> list[tuple[str, int]]:
    found = [listener.receive("event").fields for _ in range(n)]
    assert {e["event"] for e in found} == {"activity"}
    assert {e["pid"] for e in found} == {os.getpid()}
    return [(e["state"], e["position"]) for e in found]


def test_begins_and_ends_reach_those_who_asked(daemon: DaemonProcess) -> None:
    audio = phrases(1.0, 1.0, 1.0, 0.2, 1.0, 1.0, 0.1, 1.0, 1.0)
    with daemon.client() as listener, daemon.client() as deaf, daemon.client() as c:
        listener.request("subscribe", "subscribed", events=["activity"])
        deaf.request("subscribe", "subscribed")  # all the others
        latency = play(c, audio, mode="live")
        heard = changes(listener, 6)
        assert "activity" not in [e["event"] for e in events_of(deaf)]
    words = [word for word, _ in heard]
    assert words == ["begin", "end"] * 3
    where = [(at - latency) / RATE for _, at in heard]
    # The pause of 0.2 s is filled; the cough of 0.1 s may spread over two frames.
    assert np.abs(np.array(where[:4]) - [0, 1, 2, 4.2]).max() <= 0.2


def test_streams_of_files_and_streams_nobody_hears_of_cost_nothing(
    daemon: DaemonProcess,
) -> None:
    with daemon.client() as listener, daemon.client() as client:
        play(client, phrases(0.5), mode="live")
        listener.request("subscribe", "subscribed", events=["activity"])
        play(client, phrases(0.5))
        assert events_of(listener) == []


def test_who_comes_and_goes_in_mid_stream(daemon: DaemonProcess) -> None:
    with daemon.client() as client:
        client.request("open", "opened", sample_rate=RATE, mode="live")
        block = phrases(0.5)
        push(client, block)
        for _ in range(2):
            with daemon.client() as listener:
                listener.request("subscribe", "subscribed", events=["activity"])
                push(client, np.concatenate([block] * 3))
                ((word, at),) = changes(listener, 1)
                assert word == "begin" and at > 0
            wait_for(lambda: is_alone(client))  # or its detector goes on
            push(client, block)


def test_who_comes_in_mid_phrase_is_told_of_it(daemon: DaemonProcess) -> None:
    events = {"events": ["activity"]}
    with daemon.client() as first, daemon.client() as late, daemon.client() as client:
        first.request("subscribe", "subscribed", **events)
        client.request("open", "opened", sample_rate=RATE, mode="live")
        push(client, phrases(1.5))
        begin = changes(first, 1)
        late.request("subscribe", "subscribed", **events)
        push(client, phrases(0.5, 2.0, 1.0))
        heard, heard_late = changes(first, 2), changes(late, 3)
        assert heard_late == begin + heard
        assert [word for word, _ in heard_late] == ["begin", "end", "begin"]
        assert events_of(first) == events_of(late) == []


def is_alone(client: Client) -> bool:
    return client.request("status", "status").fields["n_clients"] == 1


def test_the_detector_finds_what_the_whole_song_shows(tmp_path: Path) -> None:
    """Beside the same loud singing it is `edgestem activity`, block by block."""
    rng = np.random.default_rng(3)
    lengths = [2.0, *rng.choice([0.1, 0.2, 0.3, 0.5, 1.0], 60)]
    vocals = phrases(*lengths)
    music = rng.normal(0, 0.1, vocals.shape)
    meter, detector = Meter(RATE), SingingDetector(RATE)
    meter.add(vocals, music)
    found: list[Change] = []
    at = 0
    while at < len(vocals):
        n = int(rng.integers(1, 20000))
        found += detector.add(at, vocals[at : at + n], music[at : at + n])
        at += n
    found += detector.end()
    at_all = [change.position for change in found]
    spans = list(zip(at_all[::2], at_all[1::2], strict=True))
    assert spans == meter.result().spans()
    assert len(spans) > 5


def test_a_gap_does_not_shift_what_follows() -> None:
    vocals = phrases(1.0, 1.0)
    quiet = np.zeros_like(vocals)
    detector = SingingDetector(RATE)
    assert detector.add(0, vocals[:1000], quiet[:1000]) == []
    found = detector.add(500_000, vocals, quiet)
    assert found == [Change("begin", 500_000), Change("end", 548_000)]
    assert detector.end() == []
