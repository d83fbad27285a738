"""Who has the network first: what somebody waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from shows import RATE, Show, noise, stems

from edgestem.engine.separator import Separator
from edgestem.play.items import Item
from edgestem.play.runs import StoredRun
from edgestem.store.store import Store

Write = Callable[..., Path]


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Let go of what a test holds, before its show is closed."""
    event = threading.Event()
    yield event
    event.set()


def test_another_songs_call_is_in_nobodys_way(
    write_song: Write, monkeypatch: pytest.MonkeyPatch, held: threading.Event
) -> None:
    songs = [
        write_song(f"{i}.wav", noise(2, seed=i), subtype="PCM_16") for i in range(4)
    ]
    take_turn, is_in = Separator._take_turn, threading.Event()
    with Show([Item(song) for song in songs]) as show:
        player = show.player

        def take(separator: Separator) -> None:
            """Hold what is prepared, once the first song is done."""
            is_ahead = threading.current_thread().name == "ahead"
            if is_ahead and player.tracks[0].is_complete:
                is_in.set()
                held.wait(30)
            take_turn(separator)

        monkeypatch.setattr(Separator, "_take_turn", take)
        show.wait_cued()
        show.wait(is_in.is_set)
        player.select(3, is_played=True)
        show.wait_state("playing")
        assert not held.is_set()
        held.set()
        show.wait(lambda: player.tracks[3].is_complete)
    assert not [text for text in show.said if "as it is" in text]


def test_a_jump_in_a_stored_song_asks_no_network(
    write_song: Write,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    song = write_song(x=noise(20), subtype="PCM_16")
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    store = Store(tmp_path / "store")
    with Show([Item(song)], store=store) as show:
        show.wait(lambda: bool(store.receipts()))
    step = StoredRun.step
    monkeypatch.setattr(  # one that gets there late
        StoredRun, "step", lambda run: run.track.front < RATE and step(run)
    )
    with Show([Item(song)], store=store) as show:
        show.wait_cued()
        show.player.seek(15.0)
        show.player.play()
        show.wait_state("ended")
        assert not show.player.ahead.engines.place
    ramp = RATE // 100
    assert np.array_equal(show.sound()[ramp:], instrumental[15 * RATE + ramp :])


def test_a_jump_behind_damage_in_the_store_is_separated(
    write_song: Write, tmp_path: Path
) -> None:
    song = write_song(x=noise(20), subtype="PCM_16")
    store = Store(tmp_path / "store")
    with Show([Item(song)], store=store) as show:
        show.wait(lambda: bool(store.receipts()))
    path = store.path(store.receipts()[0])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with Show([Item(song)], store=store) as show:
        show.wait_cued()
        show.player.seek(15.0)
        show.player.play()
        show.wait_state("ended")
        show.wait(lambda: any("damaged" in text for text in show.said))
        assert show.player.status()["dry_s"] == 0
    assert len(show.sound()) == 5 * RATE
