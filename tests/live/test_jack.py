"""`edgestem stream --jack` in the graph of a real jackd with its dummy driver."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgestem.engine.whole import separate
from edgestem.live.jack_library import JackLibrary, ignore_messages

RATE, PERIOD = 48000, 256
MODEL = Path(__file__).parent.parent / "data" / "short1.tflite"
SERVER = f"edgestem-test-{os.getpid()}"
TOOLS = ("jackd", "jack_wait", "jack_lsp", "jack_bufsize")  # of Debian's jackd2
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="jackd2 is not installed"
)


def wait_for(what: Callable[[], Any], patience_s: float = 30.0) -> Any:
    deadline = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def using(name: str) -> dict[str, str]:
    """The environment of a client of this server."""
    return os.environ | {"JACK_DEFAULT_SERVER": name}


@contextlib.contextmanager
def server(name: str = SERVER) -> Iterator[subprocess.Popen[bytes]]:
    command = ["jackd", "-r", "-n", name, "-d", "dummy", "-r", str(RATE)]
    command += ["-p", str(PERIOD)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        looking = ["jack_wait", "-w", "-t", "20", "-s", name]
        assert subprocess.run(looking, stdout=quiet, stderr=quiet).returncode == 0
        yield process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def jackd() -> Iterator[None]:
    with server():
        yield


class Stream:
    """An `edgestem stream --jack` that runs."""

    def __init__(self, *words: str, name: str = SERVER) -> None:
        command = [sys.executable, "-m", "edgestem", "stream", "--jack"]
        command += ["--model", str(MODEL), *words]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=using(name),
        )
        self.latency = int(self.read(r"latency (\d+) samples").group(1))

    def read(self, pattern: str, patience_s: float = 30.0) -> re.Match[str]:
        """Wait for a line on stderr."""
        assert self.process.stderr is not None
        fd, text = self.process.stderr.fileno(), ""
        deadline = time.monotonic() + patience_s
        while not (found := re.search(pattern, text)):
            left = deadline - time.monotonic()
            ready, _, _ = select.select([fd], [], [], max(left, 0))
            data = os.read(fd, 65536).decode() if ready else ""
            assert data, f"no {pattern!r} in {text!r}"
            text += data
        return found

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def status(self) -> dict[str, Any]:
        self.say("status")
        found: dict[str, Any] = json.loads(self.read(r"\{.*\}").group())
        return found

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.say("quit")
        try:
            assert self.process.wait(20) == 0
        finally:
            self.end()

    def end(self) -> None:
        """Whatever it does: nothing is left of it."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def stream(jackd: None) -> Iterator[Callable[..., Stream]]:
    running: list[Stream] = []

    def start(*words: str) -> Stream:
        running.append(Stream(*words))
        return running[-1]

    yield start
    for one in running:
        one.close()


class Bench:
    """Two clients, one that plays into edgestem and one that records it."""

    def __init__(self) -> None:
        jack = pytest.importorskip("jack")
        ignore_messages()
        self.source, self.sink = (
            jack.Client(name, servername=SERVER, no_start_server=True)
            for name in ("source", "sink")
        )
        register = self.source.outports.register
        self.outs = [register("l"), register("r")]
        self.midi = self.source.midi_outports.register("pedal")
        self.ins = [self.sink.inports.register(n) for n in ("l", "r")]
        self.start: int | None = None
        self.x = np.zeros((0, 2), np.float32)
        self.y = np.zeros((0, 2), np.float32)
        self.events: list[tuple[int, int]] = []
        self.event_at = -1
        self.n_recorded = 0
        self.libraries = JackLibrary(self.source), JackLibrary(self.sink)
        self.libraries[0].on("process", self._play)
        self.libraries[1].on("process", self._record)
        self.source.activate()
        self.sink.activate()
        wait_for(lambda: len(self.sink.get_ports("edgestem:.*")) == 5)
        wait_for(self._connect)

    def _connect(self) -> bool:
        """Connect, when edgestem is active."""
        import jack

        try:
            for i in (0, 1):
                self.source.connect(self.outs[i], f"edgestem:in_{i + 1}")
                self.sink.connect(f"edgestem:out_{i + 1}", self.ins[i])
            self.source.connect(self.midi, "edgestem:faders")
        except jack.JackErrorCode:
            return False
        return True

    def close(self) -> None:
        for client in (self.source, self.sink):
            client.deactivate()
            client.close()

    def run(self, x: np.ndarray, n_samples: int, is_freewheeling: bool) -> np.ndarray:
        """Play x and record n_samples from its first sample on."""
        self.x, self.y = x, np.zeros((n_samples, 2), np.float32)
        self.n_recorded = 0
        if is_freewheeling:
            self.source.set_freewheel(True)
        self.start = None  # the next cycle of the source is 0
        self.is_armed = True
        wait_for(lambda: self.n_recorded >= n_samples, 60.0)
        if is_freewheeling:
            self.source.set_freewheel(False)
        self.is_armed = False
        return self.y

    is_armed = False

    def _play(self, n: int) -> None:
        for port in self.outs:
            port.get_array().fill(0)
        self.midi.clear_buffer()
        while self.events:
            self.midi.write_midi_event(0, (0xB0, *self.events.pop(0)))
            self.event_at = self.source.last_frame_time
        if not self.is_armed:
            return
        now = self.source.last_frame_time
        if self.start is None:
            self.start = now
        at = now - self.start
        part = self.x[at : at + n]
        for i, port in enumerate(self.outs):
            port.get_array()[: len(part)] = part[:, i]

    def _record(self, n: int) -> None:
        if self.start is None or not self.is_armed:
            return
        at = self.sink.last_frame_time - self.start
        if 0 <= at < len(self.y):
            m = min(n, len(self.y) - at)
            for i, port in enumerate(self.ins):
                self.y[at : at + m, i] = port.get_array()[:m]
        self.n_recorded = max(self.n_recorded, at + n)


@pytest.fixture
def bench() -> Iterator[Callable[[], Bench]]:
    made: list[Bench] = []

    def make() -> Bench:
        made.append(Bench())
        return made[-1]

    yield make
    for one in made:
        one.close()


def latencies(port: str) -> dict[str, int]:
    """What jack_lsp prints of a port: capture and playback latency."""
    command = ["jack_lsp", "-s", SERVER, "-l", port]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=30
    )
    return {
        k: int(v) for k, v in re.findall(r"port (\w+) latency = \[ (\d+) ", done.stdout)
    }


def test_latency_measured_is_latency_stated_and_told_to_the_graph(
    stream: Callable[..., Stream], bench: Callable[[], Bench]
) -> None:
    running = stream("--vocals-db", "0", "--slack", "300")
    assert running.latency == 512 + PERIOD + round(0.3 * RATE)
    graph = bench()
    x = np.zeros((2000, 2), np.float32)
    x[777] = 0.5
    # Freewheeling: on a busy machine jackd itself loses cycles in real time.
    y = graph.run(x, 40_000, is_freewheeling=True)
    loud = np.flatnonzero(np.abs(y).max(1) > 1e-4)
    assert loud.tolist() == [777 + running.latency]
    assert latencies("edgestem:out_1")["capture"] == running.latency
    assert latencies("edgestem:in_2")["playback"] == running.latency


def test_a_longer_period_while_it_plays_is_taken_up(
    stream: Callable[..., Stream], bench: Callable[[], Bench]
) -> None:
    running = stream("--vocals-db", "0", "--slack", "300")
    graph = bench()
    x = np.zeros((2000, 2), np.float32)
    x[777] = 0.5
    stated = running.latency + PERIOD
    try:
        for period in (2 * PERIOD, PERIOD):
            graph.sink.blocksize = period
            if period > PERIOD:
                running.read(f"latency {stated} samples")
            wait_for(lambda: latencies("edgestem:out_1")["capture"] == stated)
            y = graph.run(x, 40_000, is_freewheeling=True)
            loud = np.flatnonzero(np.abs(y).max(1) > 1e-4)
            # A shorter period later keeps the latency: nothing has to be cut out.
            assert loud.tolist() == [777 + stated]
    finally:
        graph.sink.blocksize = PERIOD


def test_a_song_through_the_graph_is_what_separate_gives(
    stream: Callable[..., Stream],
    bench: Callable[[], Bench],
    stereo_song: np.ndarray,
) -> None:
    running = stream()
    graph = bench()
    wait_for(lambda: running.status()["n_samples"] > 64 * PERIOD)
    y = graph.run(stereo_song, len(stereo_song) + running.latency, is_freewheeling=True)
    # The silence before the song is a part of the stream.  How much it was does not
    # matter to the bit: a period is a hop, and the network forgets in a few hops.
    silence = np.zeros((64 * PERIOD, 2), np.float32)
    whole = np.concatenate([silence, stereo_song])
    expected = separate(whole, RATE, model=MODEL).instrumental[len(silence) :]
    n = len(expected) - 4096  # the end of a file is not the end of a stream
    # A cycle that is late in the silence changes nothing; one of the song would.
    assert np.array_equal(y[running.latency :][:n], expected[:n])


def test_a_pedal_and_stdin_move_the_faders(
    stream: Callable[..., Stream], bench: Callable[[], Bench]
) -> None:
    running = stream("--vocals-db", "0", "--slack", "300")
    graph = bench()
    x = np.full((200_000, 2), 0.25, np.float32)
    running.say("vocals loud")
    running.read("expected decibels up to 20, or -inf, got loud")
    running.say("instrumental -inf")
    running.read("instrumental -100 dB")
    graph.events.append((20, 0))
    y = graph.run(x, 60_000, is_freewheeling=False)
    settled = y[running.latency + RATE // 4 :]
    assert len(settled) > 20_000
    assert not settled.any(), "both faders are down"
    running.say("sing")
    running.read("'sing' is no command: vocals DB")


COME_AND_GO = """
import sys, threading, time
import jack
from edgestem.live.jack_library import JackLibrary, ignore_messages

ignore_messages()

def keep_the_lock_busy():
    while True:
        sum(range(2000))

threading.Thread(target=keep_the_lock_busy, daemon=True).start()
for i in range(int(sys.argv[2])):
    client = jack.Client("come-and-go", servername=sys.argv[1], no_start_server=True)
    library = JackLibrary(client)
    for event in ("process", "latency"):
        library.on(event, lambda n: sum(range(2000)))
    client.activate()
    time.sleep(0.01)
    client.deactivate()
    client.close()
"""


def test_leaving_the_graph_in_the_middle_of_a_callback_is_safe(jackd: None) -> None:
    """JACK cancels its threads; one of them may be waiting for Python's lock."""
    pytest.importorskip("jack")
    command = [sys.executable, "-c", COME_AND_GO, SERVER, "60"]
    subprocess.run(command, check=True, timeout=60)


def test_larger_blocks_are_followed() -> None:
    name = f"{SERVER}-blocks"
    with server(name), contextlib.closing(Stream(name=name)) as running:
        for period in (4 * PERIOD, PERIOD):
            words = ["jack_bufsize", str(period)]
            subprocess.run(words, check=True, timeout=20, env=using(name))
            wait_for(lambda: running.status()["n_samples"] > RATE // 2)
            latency = running.status()["latency_samples"]
            assert latency == running.latency + 3 * PERIOD  # kept when they shrink


CANCEL_A_MESSAGE = """
import contextlib, ctypes, ctypes.util, sys, time
from edgestem.errors import EdgestemError
from edgestem.live.jack_door import JackDoor
with contextlib.suppress(EdgestemError):
    JackDoor("nobody", 2, (20, 21), False)
libjack = ctypes.CDLL(ctypes.util.find_library("jack"))
libc = ctypes.PyDLL(None)  # keeps the interpreter lock while it calls
sys.setswitchinterval(1000)  # nor gives it away between its calls
thread = ctypes.c_ulong()
complain = libjack.jack_get_client_name  # of no client
libc.pthread_create(ctypes.byref(thread), None, complain, None)
libc.usleep(100_000)
libc.pthread_cancel(thread)
libc.pthread_join(thread, None)
time.sleep(0.01)  # gives the lock away
"""


def test_a_message_of_jack_does_not_wait_for_python() -> None:
    """Python's lock stays with a thread that is cancelled while it waits for it."""
    pytest.importorskip("jack")
    command = [sys.executable, "-c", CANCEL_A_MESSAGE]
    subprocess.run(command, check=True, timeout=20, env=using("nobody-here"))


NEVER_BACK = """
import time
from types import SimpleNamespace
from edgestem.live.jack_door import JackDoor
door = JackDoor("stuck", 2, (20, 21), False)
rig = SimpleNamespace(process=lambda x, y: time.sleep(1000), latency_samples=0)
door.start(SimpleNamespace(rig=rig, block=8192, n_door_xruns=0))
time.sleep(0.5)
door.close()
"""


def test_leaving_does_not_wait_for_ever() -> None:
    """JACK waits for its threads, and here one never ends."""
    pytest.importorskip("jack")
    name = f"{SERVER}-stuck"
    with server(name):
        command = [sys.executable, "-c", NEVER_BACK]
        subprocess.run(command, check=True, timeout=30, env=using(name))


def test_without_a_server_it_says_so() -> None:
    pytest.importorskip("jack")
    command = [sys.executable, "-m", "edgestem", "stream", "--jack"]
    result = subprocess.run(
        [*command, "--model", str(MODEL)],
        env=using("nobody-here"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "no JACK server answers: start jackd" in result.stderr
    assert result.stderr.strip().endswith("[no_sound_server]")


def test_a_server_that_goes_ends_the_stream() -> None:
    name = f"{SERVER}-short"
    with server(name) as process:
        running = Stream(name=name)
        try:
            wait_for(lambda: running.status()["n_samples"] > 0)
            process.terminate()
            process.wait(20)
            assert running.process.wait(20) == 1
            running.read("the JACK server has gone")
        finally:
            running.end()
    # A server that goes while it has clients keeps one of the eight places that a
    # machine has for servers; the next one of that name gives it back.
    with server(name):
        pass
