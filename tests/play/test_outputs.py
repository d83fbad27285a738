"""Real outputs: jackd with its dummy driver, ALSA's file plugin, a card that goes."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cards import player_on_card, write_alsa_config

from edgestem.errors import EdgestemError
from edgestem.play.card import CardSink
from edgestem.play.card_child import card_number, find_device
from edgestem.play.player import Player

RATE = 44100
SERVER = f"es-play-{os.getpid()}"
CARDS = """\
 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 2 [U24            ]: USB-Audio - USB Audio 24
                      somewhere at usb-1.1, full speed
"""


def wait_for(what: Callable[[], object], patience_s: float = 30.0) -> object:
    deadline = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


@pytest.fixture
def alsa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PCM that writes what it plays to a file, in time as long as nobody hurries."""
    config = tmp_path / "asound.conf"
    out = tmp_path / "heard.raw"
    write_alsa_config(config, out)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    return out


def test_a_card_is_found_by_its_id_and_by_nothing_else() -> None:
    devices = [
        {"name": "vc4-hdmi: MAI PCM (hw:0,0)", "max_output_channels": 2},
        {"name": "USB Audio 24: - (hw:2,0)", "max_output_channels": 8},
        {"name": "USB Audio 24: in (hw:3,0)", "max_output_channels": 0},
        {"name": "sysdefault", "max_output_channels": 128},
        {"name": "default", "max_output_channels": 128},
    ]
    assert card_number("hw:CARD=U24,DEV=0", CARDS) == 2
    assert card_number("U25", CARDS) is None
    assert find_device("U24", devices, CARDS) == 1
    assert find_device("hw:CARD=U24,DEV=0", devices, CARDS) == 1
    assert find_device("default", devices, CARDS) == 4
    assert find_device("MAI", devices, CARDS) == 0
    for name, word in (("WING", "no device"), ("a", "several"), ("hw:CARD=X", "no")):
        with pytest.raises(LookupError, match=word):
            find_device(name, devices, CARDS)


@pytest.fixture
def has_portaudio() -> None:
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("PortAudio is not installed")


def show_on_card(
    write_song: Callable[..., Path], x: np.ndarray
) -> tuple[Player, CardSink]:
    return player_on_card(write_song(x=x, subtype="FLOAT"), RATE)


def test_a_card_that_goes_is_waited_for(
    has_portaudio: None, alsa: Path, write_song: Callable[..., Path]
) -> None:
    """The child is killed and its card is gone for a while; one press goes on."""
    import threading

    x = np.repeat(np.linspace(0, 0.9, 20 * RATE)[:, None], 2, 1).astype(np.float32)
    player, card = show_on_card(write_song, x)
    said: list[str] = []
    player.say = said.append
    player.start()
    name = card.open()
    assert name == "stage"
    is_over = threading.Event()
    thread = threading.Thread(target=card.run, args=(is_over.is_set,))
    thread.start()
    try:
        player.play()
        wait_for(lambda: player.place() > RATE // 4)
        config = Path(os.environ["ALSA_CONFIG_PATH"])
        text = config.read_text()
        config.write_text(text.replace("pcm.stage", "pcm.gone"))
        child = card._child
        child.kill()
        killed_at = time.monotonic()
        wait_for(lambda: player.output == "waiting for CARD=stage")
        assert time.monotonic() - killed_at < 1
        wait_for(lambda: player.state == "paused")
        place = player.place()
        time.sleep(1.5)
        assert player.place() == place
        config.write_text(text)
        wait_for(lambda: player.output == "")
        assert player.state == "paused" and player.place() == place
        assert "is back" in said[-1]
        player.play()
        wait_for(lambda: player.place() > place + RATE // 4)
        heard = np.fromfile(alsa, np.float32)
        assert np.abs(heard).max() > 0.01
        # It hangs: nothing calls back any more.
        import signal

        os.kill(card.child_pid, signal.SIGSTOP)
        wait_for(lambda: card.n_losses == 2)
        wait_for(lambda: player.output == "")
    finally:
        is_over.set()
        thread.join()
        player.close()


def test_a_card_that_is_not_there_is_one_sentence(
    has_portaudio: None, alsa: Path, write_song: Callable[..., Path]
) -> None:
    _, card = show_on_card(write_song, np.zeros((RATE, 2), np.float32))
    card._name = "WING"
    with pytest.raises(EdgestemError, match="no device 'WING'; there is") as caught:
        card.open()
    assert caught.value.code == "no_sound_device"
    card._name = "stage"
    card.open()
    assert card.play_zeros(0.3) > 2
    card.close()


needs_jack = pytest.mark.skipif(
    not all(map(shutil.which, ("jackd", "jack_wait", "jack_lsp"))),
    reason="jackd2 is not installed",
)


@contextlib.contextmanager
def server(period: int = 256) -> Iterator[None]:
    command = ["jackd", "-r", "-n", SERVER]
    command += ["-d", "dummy", "-r", "48000", "-p", str(period)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        looking = ["jack_wait", "-w", "-t", "20", "-s", SERVER]
        assert subprocess.run(looking, stdout=quiet, stderr=quiet).returncode == 0
        yield
    finally:
        process.terminate()
        process.wait(20)


def connections() -> str:
    done = subprocess.run(
        ["jack_lsp", "-s", SERVER, "-c"], capture_output=True, text=True, timeout=30
    )
    return done.stdout


@needs_jack
def test_jack_ports_stay_and_connections_come_back(
    write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    song = write_song(x=np.full((30 * RATE, 2), 0.25, np.float32))
    env = os.environ | {
        "JACK_DEFAULT_SERVER": SERVER, "XDG_STATE_HOME": str(tmp_path),
    }  # fmt: skip
    line = [sys.executable, "-m", "edgestem", "play", str(song), "--jack",
            "--model", str(tiny_model), "--store", "none"]  # fmt: skip
    pipe = subprocess.PIPE

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*line, *words], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env
        )

    def end(play: subprocess.Popen[str]) -> str:
        assert play.stdin is not None
        play.stdin.write("quit\n")
        play.stdin.flush()
        _, errors = play.communicate(timeout=20)
        assert play.returncode == 0, errors
        return errors

    with server():
        play = start("--connect")
        wait_for(lambda: "edgestem-play:main_r" in connections())
        ports = [p for p in connections().split() if p.startswith("edgestem-play:")]
        assert {p.split(":")[1] for p in ports} == {
            "main_l", "main_r", "click", "vocals_l", "vocals_r", "midi_in", "midi_out",
        }  # fmt: skip
        wait_for(lambda: (tmp_path / "edgestem" / "play-jack.json").exists())
        end(play)
        play = start()  # not asked to connect: it remembers
        wait_for(lambda: "   edgestem-play:main_l" in connections())
    # The server has gone; it comes back, and so does the client.
    with server():
        wait_for(lambda: "   edgestem-play:main_l" in connections())
        errors = end(play)
    assert "the JACK server has gone" in errors and "is back" in errors


FOOT = """
import sys, time, jack
foot = jack.Client("foot", servername=sys.argv[1], no_start_server=True)
out, come = foot.midi_outports.register("out"), foot.midi_inports.register("in")
waiting = []

@foot.set_process_callback
def process(n_frames):
    for _, data in come.incoming_midi_events():
        sys.stdout.write(bytes(data).hex() + "\\n")
        sys.stdout.flush()
    out.clear_buffer()
    while waiting:
        out.write_midi_event(0, waiting.pop(0))

with foot:
    foot.connect(out, "edgestem-play:midi_in")
    foot.connect("edgestem-play:midi_out", come)
    for line in sys.stdin:
        waiting.append(bytes.fromhex(line))
"""


@needs_jack
def ask(foot: subprocess.Popen[bytes], wish: bytes, answer: bytes) -> None:
    """Send a message until the answer is heard: a late period of JACK loses some."""
    assert foot.stdin and foot.stdout
    heard = b""
    for _ in range(10):
        foot.stdin.write(wish)
        end = time.monotonic() + 3
        while answer not in heard and time.monotonic() < end:
            if select.select([foot.stdout], [], [], 0.1)[0]:
                heard += os.read(foot.stdout.fileno(), 4096)
        if answer in heard:
            return
    raise AssertionError(heard)


def test_midi_through_jack(
    write_song: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    """A foot selects and plays; the song that is selected sends its own messages."""
    pytest.importorskip("jack")
    for name in "ab":
        write_song(f"{name}.wav", np.full((9 * RATE, 2), 0.25, np.float32))
    (tmp_path / "set.toml").write_text(
        '[[song]]\nfile = "a.wav"\nmidi = "PC1@3"\n'
        '[[song]]\nfile = "b.wav"\nmidi = "PC2@3, CC7.100@3"\n'
    )
    env = os.environ | {
        "JACK_DEFAULT_SERVER": SERVER, "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip
    pipe = subprocess.PIPE
    line = [sys.executable, "-m", "edgestem", "play", str(tmp_path / "set.toml"),
            "--jack", "--model", str(tiny_model), "--store", "none"]  # fmt: skip
    with server(4096), contextlib.ExitStack() as ending:  # 85 ms: seldom late
        play = subprocess.Popen(
            line, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env
        )
        ending.callback(play.kill)
        assert play.stdin and play.stdout
        wait_for(lambda: "edgestem-play:midi_in" in connections())
        foot = subprocess.Popen(
            [sys.executable, "-c", FOOT, SERVER], stdin=pipe, stdout=pipe, bufsize=0
        )
        ending.callback(foot.kill)
        assert foot.stdin
        ask(foot, b"", b"c201\n")  # to who comes later, too
        ask(foot, b"c001\n", b"c202\nb20764\n")

        def state() -> str:
            play.stdin.write("status\n")
            play.stdin.flush()
            return play.stdout.readline()

        def starts() -> bool:
            foot.stdin.write(b"fa\n")
            return '"state": "playing", "index": 1' in state()

        wait_for(starts)
        foot.communicate(timeout=20)
        play.communicate("quit\n", timeout=20)
        assert play.returncode == 0
