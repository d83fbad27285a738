"""The play head: what plays is what `separate` writes, wherever the foot goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from shows import RATE, Show, noise, stems

from edgestem.play.chain import SongSettings
from edgestem.play.conductor import AHEAD_S
from edgestem.play.items import Item
from edgestem.store.store import Store

Write = Callable[..., Path]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_what_plays_is_what_separate_writes(
    write_song: Write, tiny_model: Path, tmp_path: Path, subtype: str
) -> None:
    song = write_song(x=noise(2.5), subtype=subtype)
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    with Show([Item(song)]) as show:
        show.player.play()
        show.wait_state("ended")
    assert np.array_equal(show.sound(), instrumental)


def test_an_mp3_and_a_mono_song_too(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    x = noise(2)
    mp3 = write_song("a.mp3", x, container="MP3")
    mono = write_song("b.wav", x[:, :1], subtype="PCM_16")
    for song in (mp3, mono):
        _, instrumental = stems(song, tiny_model, tmp_path / "out")
        with Show([Item(song)]) as show:
            show.player.play()
            show.wait_state("ended")
        got = show.sound()
        assert np.array_equal(got, np.broadcast_to(instrumental, got.shape))


def test_the_second_time_it_comes_from_the_store(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(x=noise(2), subtype="PCM_16")
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    store = Store(tmp_path / "store")
    for is_stored in (False, True):
        with Show([Item(song)], store=store) as show:
            show.player.play()
            show.wait_state("ended")
            assert show.player.track.is_stored == is_stored
            assert bool(show.player.ahead.engines.place) != is_stored
        assert np.array_equal(show.sound(), instrumental), is_stored
    # The same music under another name: found by its content.
    other = tmp_path / "other.wav"
    other.write_bytes(song.read_bytes())
    with Show([Item(other)], store=store) as show:
        show.wait(lambda: show.player.track.is_complete)
        show.wait(lambda: show.player.track.is_stored)
    assert len(store.receipts()) == 1


@pytest.mark.parametrize("is_writable", [True, False])
def test_another_song_under_the_same_numbers_is_found_out(
    write_song: Write,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_writable: bool,
) -> None:
    import os

    song = write_song(x=noise(2), subtype="PCM_16")
    store = Store(tmp_path / "store")
    if not is_writable:  # as one that may only be read
        monkeypatch.setattr(store, "forget_file", lambda *_: None)
    with Show([Item(song)], store=store) as show:
        show.wait(lambda: show.player.track.is_complete)
        show.wait(lambda: bool(store.receipts()))
    before = song.stat()
    with song.open("r+b") as file:
        soundfile.write(file, noise(2, seed=2), RATE, "PCM_16", format="WAV")
    os.utime(song, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert song.stat().st_size == before.st_size
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    with Show([Item(song)], store=store) as show:
        show.wait(
            lambda: show.player.track.is_complete and not show.player.track.is_stored
        )
        show.player.restart()
        show.wait_cued()
        show.player.play()
        show.wait_state("ended")
    assert np.array_equal(show.sound(), instrumental)


def test_damaged_vocals_are_separated_anew(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(x=noise(2), subtype="FLOAT")
    store = Store(tmp_path / "store")
    with Show([Item(song)], store=store) as show:
        show.wait(lambda: bool(store.receipts()))
    path = store.path(store.receipts()[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))
    with Show([Item(song)], store=store) as show:
        show.wait(lambda: any("damaged" in text for text in show.said))
        show.wait(lambda: show.player.track.is_complete)
        show.wait(lambda: bool(store.receipts()))


@pytest.mark.parametrize(
    ("names", "subtype"),
    [(("a.wav", "b.flac"), "PCM_16"), (("a.mp3", "b.mp3"), "MPEG_LAYER_III")],
)
def test_songs_follow_without_a_gap(
    write_song: Write, names: tuple[str, str], subtype: str
) -> None:
    """A sine cut in two; an mp3's tag says how much its encoder put around it."""
    t = np.arange(3 * RATE) / RATE
    sine = np.repeat(0.3 * np.sin(2 * np.pi * 441.3 * t)[:, None], 2, 1)
    cut = RATE + 1234
    a = write_song(names[0], sine[:cut].astype(np.float32), subtype=subtype)
    b = write_song(names[1], sine[cut:].astype(np.float32), subtype=subtype)
    items = [Item(a, is_followed=True), Item(b)]
    with Show(items) as show:
        show.player.desk.faders.set(0.0, 0.0, 0)
        show.player.play()
        show.wait_state("ended")
        assert show.player.index == 1
    heard = show.sound()
    whole = np.concatenate([soundfile.read(p, dtype="float32")[0] for p in (a, b)])
    assert len(heard) == len(sine)
    # An mp3 plays on the grid of its stems, 16 bits.
    assert np.abs(heard - whole).max() <= (0.5 / 32768 if subtype[0] == "M" else 0)


def test_stop_and_cue_waits_for_the_foot(write_song: Write) -> None:
    a, b = (write_song(f"{n}.wav", noise(1), subtype="PCM_16") for n in "ab")
    with Show([Item(a), Item(b)]) as show:
        show.player.play()
        show.wait(lambda: show.player.index == 1)
        show.wait_cued()
        assert len(show.sound()) == RATE
        show.player.play()
        show.wait_state("ended")
        assert len(show.sound()) == 2 * RATE


def test_a_loop_has_an_exact_seam_and_is_left_at_its_end(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(x=noise(3), subtype="PCM_16")
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    start, end = 1.0, 1.5
    with Show([Item(song)]) as show:
        show.wait(lambda: show.player.track.is_complete)
        show.player.set_loop(start, end)
        show.player.play()
        show.wait(lambda: len(show.sound()) > 5 * RATE)
        show.player.set_loop(None, None)
        show.wait_state("ended")
    a, b = round(start * RATE), round(end * RATE)
    heard = show.sound()
    n_rounds = round((len(heard) - len(instrumental)) / (b - a))
    assert n_rounds > 5
    expected = np.concatenate(
        [instrumental[:b], *[instrumental[a:b]] * n_rounds, instrumental[b:]]
    )
    assert np.array_equal(heard, expected)


def test_stop_fades_in_the_given_time_to_zero(write_song: Write) -> None:
    song = write_song(x=np.full((4 * RATE, 2), 0.25, np.float32), subtype="FLOAT")
    with Show([Item(song)], is_timed=True) as show:
        show.player.desk.faders.set(0.0, 0.0, 0)
        show.wait_cued()
        show.player.play()
        show.wait(lambda: len(show.sound()) > RATE // 2)
        show.player.stop()
        show.wait_cued()
        heard = show.sound()
        assert abs(np.count_nonzero(heard[:, 0] < 0.25) - 0.4 * RATE) <= 1
        assert heard[-1, 0] == 0
        assert np.abs(np.diff(heard[:, 0])).max() < 1e-4
        show.player.play()
        show.wait_state("playing")
        show.wait(lambda: len(show.sound()) > len(heard) + RATE // 10)
        show.player.panic()
        show.wait_cued()
        again = show.sound()[len(heard) :, 0]
        assert 0 < np.count_nonzero(again < 0.25) <= 0.01 * RATE  # 10 ms
        assert again[-1] == 0
        assert show.player.place() == 0


def test_pause_goes_on_at_its_place(write_song: Write) -> None:
    x = np.repeat(np.linspace(0, 0.5, 2 * RATE)[:, None], 2, 1).astype(np.float32)
    song = write_song(x=x, subtype="FLOAT")
    with Show([Item(song)], is_timed=True) as show:
        show.player.desk.faders.set(0.0, 0.0, 0)
        show.wait_cued()
        show.player.play()
        show.wait(lambda: len(show.sound()) > RATE // 4)
        show.player.pause()
        show.wait(lambda: show.player.desk.is_silent)
        n = len(show.sound())  # the last block of it may still be on its way
        show.player.pause()
        show.wait(lambda: len(show.sound()) > n + RATE // 2)
    heard = show.sound()
    at = RATE // 8 + int(np.argmin(heard[RATE // 8 :, 0]))  # where it faded to silence
    assert at >= n - 1 and heard[at, 0] < 1e-4
    ramp = round(0.05 * RATE) + 1
    assert np.allclose(heard[at + ramp :], x[at + ramp : len(heard)], atol=1e-6)


def test_a_seek_beyond_the_front_is_provisional_then_final(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    """Seek in a song whose main run is held back, then let the front arrive."""
    from edgestem.play.reader import Reader
    from edgestem.play.timeline import Timeline
    from edgestem.play.track import FINAL, PROVISIONAL, Track

    song = write_song(x=noise(40), subtype="PCM_16")
    with Show([Item(song)]) as show:
        show.wait_cued()
        show.player.seek(35.0)
        show.player.play()
        show.wait_state("ended")
        heard = show.sound()
        assert len(heard) == 5 * RATE
    # What is replaced: no step beyond the signal's own at the change.
    from edgestem.sound.reading import open_song

    t = Track(song)
    opened = open_song(song)
    t.open(opened)
    opened.close()
    ramp = np.linspace(-0.5, 0.5, 4 * RATE)[:, None].repeat(2, 1)
    t.append(np.rint(ramp * 32768).astype(np.int64))
    t.put_provisional(0, np.full((4 * RATE, 2), 0.1, np.float32))
    reader = Reader(t, Timeline(0))
    first, _ = reader.read(0, RATE)
    t.put_final(np.full((3 * RATE, 2), 3277 * 2))
    second, rest = reader.read(RATE, RATE)
    assert [c.new for c in reader._changes] == [PROVISIONAL, FINAL]
    vocals = np.concatenate([first, second])[:, 0]
    assert np.abs(np.diff(vocals)).max() < 0.11 / t.fade
    assert vocals[-1] == np.float32(6554 / 32768)
    assert np.array_equal(reader.read(RATE, RATE)[0], second)  # read again: the same
    assert rest.shape == (RATE, 2)


def test_unreadable_songs_are_said_and_skipped(
    write_song: Write, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"no music" * 1000)
    good = write_song("good.wav", noise(1), subtype="PCM_16")
    with Show([Item(bad), Item(good), Item(bad)]) as show:
        show.player.play()
        show.wait(lambda: len(show.sound()) == RATE)
        show.wait_state("ended")
        assert sum("skipped" in text for text in show.said) == 2


def test_another_rate_is_resampled_once_and_right(write_song: Write) -> None:
    t = np.arange(2 * RATE) / RATE
    x = np.repeat(0.5 * np.sin(2 * np.pi * 1000 * t)[:, None], 2, 1)
    song = write_song(x=x.astype(np.float32), subtype="FLOAT")
    with Show([Item(song)], rate=48000) as show:
        show.player.desk.faders.set(0.0, 0.0, 0)
        show.player.play()
        show.wait_state("ended")
    heard = show.sound()[:, 0]
    assert abs(len(heard) - 96000) <= 1
    t = np.arange(len(heard)) / 48000
    error = heard - 0.5 * np.sin(2 * np.pi * 1000 * t)
    assert 20 * np.log10(np.sqrt(np.mean(error[100:-100] ** 2)) / 0.35) < -80


def test_a_fader_moves_without_a_step(write_song: Write) -> None:
    song = write_song(x=np.full((2 * RATE, 2), 0.5, np.float32), subtype="FLOAT")
    with Show([Item(song)], is_timed=True) as show:
        desk = show.player.desk
        desk.faders.set(0.0, 0.0, 0)
        show.wait_cued()
        show.player.play()
        show.wait(lambda: len(show.sound()) > RATE // 4)
        desk.faders.set(-100.0, -100.0, round(0.02 * RATE))
        show.wait(lambda: len(show.sound()) > RATE // 2)
    heard = show.sound()[:, 0]
    assert heard[0] == 0.5 and heard[-1] == 0
    assert np.abs(np.diff(heard)).max() < 0.5 / (0.02 * RATE) * 1.1


def test_key_and_tempo_change_the_length_and_come_back_to_the_bit(
    write_song: Write, tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(x=noise(2), subtype="PCM_16")
    _, instrumental = stems(song, tiny_model, tmp_path / "out")
    with Show([Item(song, SongSettings(tempo=0.8, key=2))]) as show:
        show.player.play()
        show.wait_state("ended")
        assert abs(len(show.sound()) - 2 * RATE / 0.8) < 300
        n = len(show.sound())
        show.player.transpose(0, 1.0)
        show.player.restart()
        show.wait_cued()
        show.player.play()
        show.wait_state("ended")
    assert np.array_equal(show.sound()[n:], instrumental)


def test_faders_and_key_move_in_the_middle_without_a_step(write_song: Write) -> None:
    """Key +2 comes on while a tone plays, and a fader moves: no click."""
    t = np.arange(6 * RATE) / RATE
    x = np.repeat(0.4 * np.sin(2 * np.pi * 220 * t)[:, None], 2, 1)
    song = write_song(x=x.astype(np.float32), subtype="FLOAT")
    with Show([Item(song)], is_timed=True) as show:
        desk = show.player.desk
        desk.faders.set(0.0, 0.0, 0)
        show.wait_cued()
        show.player.play()
        show.wait(lambda: len(show.sound()) > RATE)
        show.player.transpose(2, None)
        show.wait(lambda: len(show.sound()) > 2 * RATE)
        desk.faders.set(-12.0, -12.0, round(0.02 * RATE))
        show.wait(lambda: len(show.sound()) > 3 * RATE)
        show.player.transpose(0, 0.9)
        show.wait(lambda: len(show.sound()) > 4 * RATE)
    heard = show.sound()[:, 0]
    # A tone of 220 Hz at 0.4 moves by 0.0125 a sample, at +2 semitones by 0.0141.
    assert np.abs(np.diff(heard)).max() < 0.0141 + 10 ** (-40 / 20) * 0.5
    spectrum = np.abs(np.fft.rfft(heard[int(1.4 * RATE) : int(1.9 * RATE)]))
    assert abs(np.argmax(spectrum) * 2 - 220 * 2 ** (2 / 12)) <= 2
    level = np.abs(heard[int(2.5 * RATE) : int(2.9 * RATE)]).max()
    assert abs(20 * np.log10(level / 0.4) + 12) < 0.5


def test_a_stall_of_who_renders_is_not_heard(write_song: Write) -> None:
    """The ring holds what is usual; two thirds of it may pass without a block."""
    song = write_song(x=np.full((6 * RATE, 2), 0.2, np.float32))
    with Show([Item(song)], is_timed=True, ahead_s=AHEAD_S) as show:
        player, ring = show.player, show.player.desk.ring
        player.play()
        show.wait_state("playing")
        full = round(0.9 * AHEAD_S * RATE)
        show.wait(lambda: ring.n_waiting >= full)
        n_late = player.desk.n_late
        player.do(lambda: time.sleep(AHEAD_S * 2 / 3))
        show.wait(lambda: ring.n_waiting < full // 2)
        show.wait(lambda: ring.n_waiting >= full)
        assert player.desk.n_late == n_late
