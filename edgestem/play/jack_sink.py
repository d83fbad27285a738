"""The JACK output: a client whose ports are there from start to end.

Ports main_l, main_r, click, vocals_l and vocals_r exist before the first song and
stay, so that no first millisecond is lost.  Connections that somebody made are
remembered in a file and made again, also when their other end comes back later.
The same for midi_in, whose messages are read from `midi_fd`, and midi_out.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.live.jack_door import leave, open_client
from edgestem.live.jack_library import JackLibrary
from edgestem.play.player import Player
from edgestem.store.store import own_folder

CLIENT = "edgestem-play"
PORTS = ("main_l", "main_r", "click", "vocals_l", "vocals_r")
MIDI_IN, MIDI_OUT = "midi_in", "midi_out"
ALL_PORTS = (*PORTS, MIDI_IN, MIDI_OUT)
KINDS: tuple[dict[str, bool], ...] = (
    {"is_audio": True, "is_input": True},
    {"is_midi": True, "is_input": True},
    {"is_midi": True, "is_output": True},
)
LOOK_S = 0.2  # between two looks at server and ports
RETRY_S = 1.0  # between two tries to come back

Links = dict[str, list[str]]


def default_memory() -> Path:
    """Tell where connections are remembered."""
    return own_folder("XDG_STATE_HOME", ".local/state") / "play-jack.json"


class Memory:
    """Which ports were connected to which; a file that is replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.links: Links = {}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(path.read_text())
            if isinstance(found, dict):
                self.links = {k: list(v) for k, v in found.items() if k in ALL_PORTS}

    def update(self, current: Links, existing: set[str]) -> None:
        """Keep what is connected, and what has only gone for a while."""
        links = {
            port: sorted(
                set(current.get(port, ()))
                | {t for t in self.links.get(port, ()) if t not in existing}
            )
            for port in ALL_PORTS
        }
        if links != self.links:
            self.links = links
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                part = self._path.with_suffix(".new")
                part.write_text(json.dumps(links))
                part.replace(self._path)


class JackSink:
    """Plays a desk into JACK.

    Parameters
    ----------
    client : jack.Client
        Of `open_client`; its rate is the desk's.
    player : Player
    is_connecting : bool
        Connect main_l and main_r to the sound card, if nothing is remembered.
    is_resuming : bool
        Go on by itself when the server is back; else it waits for a press.
    memory : Memory
    """

    def __init__(
        self,
        client: Any,
        player: Player,
        *,
        is_connecting: bool,
        is_resuming: bool = False,
        memory: Memory,
    ) -> None:
        self._client, self._player, self._desk = client, player, player.desk
        self._is_connecting, self._is_resuming = is_connecting, is_resuming
        self._memory = memory
        self._existing: set[str] = set()
        self._is_gone = False
        self.n_xruns = 0
        self.midi_fd, self._midi_writing = os.pipe()
        """Bytes of midi_in; who reads them closes it."""
        os.set_blocking(self._midi_writing, False)
        self._sending: deque[bytes] = deque()
        self._n_listeners = 0

    def send(self, messages: Sequence[bytes]) -> None:
        """Send MIDI messages in the next period."""
        self._sending.extend(messages)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Play until it is over; come back when the server does."""
        self._enter()
        try:
            while not is_over():
                time.sleep(LOOK_S)
                if self._is_gone:
                    self._come_back(is_over)
                elif self._client is not None:
                    self._look()
        finally:
            self._leave()
            os.close(self._midi_writing)

    def _enter(self) -> None:
        client = self._client
        self._is_gone = False
        self._ports = [client.outports.register(name) for name in PORTS]
        self._midi_in = client.midi_inports.register(MIDI_IN)
        self._midi_out = client.midi_outports.register(MIDI_OUT)
        self._library = JackLibrary(client)
        self._library.on("process", self._process)
        self._library.on("xrun", self._xrun)
        self._library.on("shutdown", self._shutdown)
        client.activate()
        self._existing = set()
        if self._is_connecting and not any(self._memory.links.values()):
            sinks = client.get_ports(is_audio=True, is_input=True, is_physical=True)
            for port, sink in zip(self._ports[:2], sinks, strict=False):
                client.connect(port, sink)
        else:
            self._look()

    def _look(self) -> None:
        """Make remembered connections again, and remember what is new."""
        client = self._client
        try:
            existing = {p.name for kind in KINDS for p in client.get_ports(**kind)}
            ports = (*self._ports, self._midi_in, self._midi_out)
            current = {
                name: [c.name for c in client.get_all_connections(port)]
                for name, port in zip(ALL_PORTS, ports, strict=True)
            }
            for port in ALL_PORTS:
                for target in self._memory.links.get(port, ()):
                    is_back = target in existing - self._existing
                    if is_back and target not in current[port]:
                        pair = f"{client.name}:{port}", target
                        client.connect(*pair[:: -1 if port == MIDI_IN else 1])
                        current[port].append(target)
        except Exception:
            return
        self._existing = existing
        self._memory.update(current, existing)
        if len(current[MIDI_OUT]) > self._n_listeners:
            self._player.announce()
        self._n_listeners = len(current[MIDI_OUT])

    def _come_back(self, is_over: Callable[[], bool]) -> None:
        player = self._player
        player.output = "waiting for the JACK server"
        player.lose_output()
        player.say("the JACK server has gone: the song waits where it is")
        self._leave()
        while not is_over():
            time.sleep(RETRY_S)
            try:
                client = open_client(CLIENT)
            except EdgestemError:
                continue
            if client.samplerate != self._desk.sample_rate:
                player.output = f"JACK is back at {client.samplerate} Hz: start again"
                leave(client)
                continue
            self._client = client
            self._enter()
            player.regain_output(is_resumed=self._is_resuming)
            player.say("the JACK server is back")
            return

    def _leave(self) -> None:
        """Leave the graph, without waiting long for a server that has gone."""
        import threading

        client, self._client = self._client, None
        if client is not None:
            leaving = threading.Thread(target=leave, args=(client,), daemon=True)
            leaving.start()
            leaving.join(3.0)

    # ---- JACK's threads ----------------------------------------------------

    def _process(self, n_frames: int) -> None:
        self._pass_midi()
        desk, done = self._desk, 0
        left, right, click, vocals_l, vocals_r = (p.get_array() for p in self._ports)
        while done < n_frames:
            n = desk.process(n_frames - done)
            end = done + n
            left[done:end], right[done:end] = desk.backing[:n, 0], desk.backing[:n, 1]
            click[done:end] = desk.click[:n]
            vocals_l[done:end] = desk.guide[:n, 0]
            vocals_r[done:end] = desk.guide[:n, 1]
            done = end

    def _pass_midi(self) -> None:
        """Hand on what came, and send what waits; what has no room waits on."""
        for _, data in self._midi_in.incoming_midi_events():
            with contextlib.suppress(BlockingIOError):  # nobody reads
                os.write(self._midi_writing, bytes(data))
        self._midi_out.clear_buffer()
        with contextlib.suppress(Exception):  # no room: in the next period
            while self._sending:
                self._midi_out.write_midi_event(0, self._sending[0])
                self._sending.popleft()

    def _xrun(self) -> None:
        self.n_xruns += 1

    def _shutdown(self, _: int, __: str) -> None:
        self._is_gone = True
