"""A client's stream: a bounded queue of audio, and the thread that separates it.

In file mode a full queue makes the reader wait, so that the socket fills and the
client waits; nothing is dropped.  In live mode the oldest audio is dropped, counted
and reported as an xrun; a client that stops reading loses stems the same way.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edgestem.daemon.channel import Gone, Outbox
from edgestem.daemon.item import OVERHEAD, Item
from edgestem.daemon.pool.schedule import PacedSeparator
from edgestem.daemon.requests import Open, Set
from edgestem.daemon.singing import Singing
from edgestem.daemon.system.config import DaemonConfig
from edgestem.daemon.system.process import raise_priority
from edgestem.daemon.turns import Turns
from edgestem.errors import EdgestemError
from edgestem.pcm.decibels import MAX_BLOCK
from edgestem.pcm.faders import Levels
from edgestem.pcm.stream import PcmStream
from edgestem.sound.grid import GRIDS
from edgestem.wire.protocol import WIRE_FORMATS, encode_error, encode_reply

log = logging.getLogger(__name__)
AHEAD_S = 1.0  # of live audio that may come at once: a player fills its buffers
QUEUE = 2 << 20  # bytes of audio that wait in file mode: two of the largest messages


class Stream:
    """One open stream.

    Parameters
    ----------
    request : Open
    separator : PacedSeparator
    outbox : Outbox
    config : DaemonConfig
        How much may wait in live mode, and at which priority it runs.
    tell : callable
        Reports an event: name and fields.
    turns : Turns
        When it may work, if it is not live.
    uid : int
        Whose it is.
    """

    def __init__(
        self,
        request: Open,
        separator: PacedSeparator,
        outbox: Outbox,
        config: DaemonConfig,
        tell: Callable[..., None],
        *,
        turns: Turns,
        uid: int,
    ) -> None:
        self._turns, self._uid = turns, uid
        self.is_live = request.mode == "live"
        self.separator = separator
        levels = Levels(request.vocals_db, request.instrumental_db)
        grid = GRIDS[WIRE_FORMATS[request.format]]
        self._pcm = PcmStream(separator, grid, request.stems, levels)
        self.bytes_per_sample = self._pcm.bytes_per_sample
        self._singing = Singing(self._pcm)
        self._outbox, self._tell = outbox, tell
        seconds = config.live_queue_ms / 1000 + separator.call_s
        self._realtime = config.realtime_priority if self.is_live else 0
        rate = separator.sample_rate * self.bytes_per_sample
        self._limit = int(seconds * rate) if self.is_live else QUEUE
        self._changed = threading.Condition()
        self._items: deque[Item] = deque()
        self._n_bytes = 0
        self._n_received = 0  # samples, also those that were dropped
        self.xruns = self.n_late = 0
        self.n_samples = 0
        self.is_ahead = False
        """More audio came than time has passed: it has no hurry."""
        self._ahead_s, self._counted = 0.0, time.monotonic()
        self.is_over = False
        self._last_words = b""
        self.last_ms = self.peak_ms = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def watch_singing(
        self, latest_listener: Callable[[], int], tell: Callable[..., None]
    ) -> None:
        """Tell where vocals begin and end; see `Singing`."""
        self._singing.report_to(latest_listener, tell)

    def start(self, ended: Callable[[], None]) -> None:
        """Begin; `ended` is called when the stream is over."""
        self._ended = ended
        self._thread.start()

    def audio(self, seq: int | None, data: bytes) -> None:
        """Queue a block: wait for room in file mode, make room in live mode."""
        self._clock(len(data))
        item = Item("audio", seq, data, arrived=time.perf_counter())
        n_dropped = 0
        with self._changed:
            if self.is_live:
                while not self._has_room(item) and self._drop_oldest():
                    n_dropped += 1
            is_in = self._has_room(item)
            if is_in:
                self._append(item)
        if not is_in:
            self._put_in(item)
        self._count_xruns(n_dropped)

    def _clock(self, n_bytes: int) -> None:
        """Compare what arrives, also what is dropped then, with the time."""
        now, s = time.monotonic(), self.separator
        self._ahead_s = max(self._ahead_s - (now - self._counted), 0.0)
        self._counted, limit_s = now, AHEAD_S + s.call_s
        self._ahead_s += n_bytes / self.bytes_per_sample / s.sample_rate
        self.is_ahead = self._ahead_s > limit_s
        self._ahead_s = min(self._ahead_s, limit_s + 1.0)

    def set_levels(self, request: Set) -> None:
        """Change levels: at once in live mode, in the audio's order in file mode."""
        if self.is_live:
            self._apply(request)
        else:
            self.do("set", request.seq, request)

    def do(self, kind: str, seq: int | None, levels: Set | None = None) -> None:
        """Queue `flush`, `close`, `set` or `end`, when there is room."""
        self._put_in(Item(kind, seq, levels=levels))

    def _put_in(self, item: Item) -> None:
        """Queue an item, and wait for room as long as it takes."""
        with self._turns.paused(), self._changed:
            self._append(item)

    def _has_room(self, item: Item) -> bool:
        # One item is always taken, however large.
        return not self._items or self._n_bytes + item.cost <= self._limit

    def _append(self, item: Item) -> None:
        while not self._has_room(item) and not self.is_over:
            self._changed.wait()
        self._items.append(item)
        self._n_bytes += item.cost
        self._changed.notify_all()

    def _drop_oldest(self) -> bool:
        """Turn the oldest waiting audio into a gap of the same length."""
        for i, item in enumerate(self._items):
            if item.kind != "audio":
                continue
            n_gap = len(item.data) // self.bytes_per_sample
            self._n_bytes -= item.cost
            del self._items[i]
            if i and self._items[i - 1].kind == "gap":
                i -= 1
                n_gap += self._items[i].n_gap
                self._items[i] = Item("gap", None, n_gap=n_gap)
            else:
                self._items.insert(i, Item("gap", None, n_gap=n_gap))
                self._n_bytes += OVERHEAD
            return True
        return False

    def stop(self) -> None:
        """End after the block at hand, without a word."""
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def join(self, wait_s: float | None = None) -> bool:
        """Wait for the thread; say whether it has ended."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def describe(self) -> dict[str, Any]:
        """Describe the stream for `status`."""
        s = self.separator
        return {
            "mode": "live" if self.is_live else "file",
            "model": s.config.name,
            "sample_rate": s.sample_rate,
            "channels": s.n_channels,
            "latency_samples": s.latency_samples,
            "rtf": round(s.rtf, 5),
            "xruns": self.xruns,
            "n_late": self.n_late,
            "n_samples": self.n_samples,
            "queued_bytes": self._n_bytes,
            "last_ms": round(self.last_ms, 3),
            "peak_ms": round(self.peak_ms, 3),
            "last_hop_ms": round(s.last_s * 1000, 3),
            "peak_hop_ms": round(s.peak_s * 1000, 3),
        }

    # ---- the thread -----------------------------------------------------------

    def _run(self) -> None:
        raise_priority(self._realtime)
        try:
            while (item := self._next()) is not None and self._work(item):
                pass
        except Gone:
            pass
        except EdgestemError as error:
            self._fail(error.code, str(error))
        except Exception:
            self.separator.is_sound = False  # whatever state it is in
            log.exception("a stream failed")
            self._fail("internal", "a bug: the daemon's log has it")
        finally:
            self._turns.end()
            self.stop()
            self._singing.end_song()
            self._ended()
        # Who reads `closed` may open the next stream at once.
        if self._last_words:
            with contextlib.suppress(Gone):
                self._outbox.put(self._last_words)

    def _fail(self, code: str, text: str) -> None:
        self._outbox.put_soon(encode_error(code, text))

    def _next(self) -> Item | None:
        with self._changed:
            is_here = bool(self._items)
        if not is_here:
            self._turns.end()
        with self._changed:
            while not self._items and not self.is_over:
                self._changed.wait()
            if self.is_over:
                return None
            item = self._items.popleft()
            self._n_bytes -= item.cost
            self._changed.notify_all()
            return item

    def _work(self, item: Item) -> bool:
        """Do one item in the live way or in turn."""
        if self.is_live and not self.is_ahead:
            self._turns.end()
            with self._turns.live_block(self._uid):
                return self._handle(item)
        self._turns.step(self._uid)
        return self._handle(item)

    def _handle(self, item: Item) -> bool:
        """Do one item; False ends the stream."""
        if item.kind == "audio":
            self._separate(item)
        elif item.kind == "gap":
            self._n_received += item.n_gap
        elif item.kind == "set":
            assert item.levels is not None
            self._apply(item.levels)
        elif item.kind == "flush":
            self._singing.begin_block(self._n_received)
            for data in self._pcm.flush():
                self._put(item.seq, data)
                n_stems = len(self._pcm.stems)
                self._n_received += len(data) // (n_stems * self.bytes_per_sample)
            self._n_received = 0
            self._singing.end_song()
            self._outbox.put(encode_reply("flushed", seq=item.seq))
        elif item.kind == "close":
            self._last_words = encode_reply("closed", seq=item.seq, xruns=self.xruns)
        return item.kind not in ("close", "end")

    def _separate(self, item: Item) -> None:
        step = MAX_BLOCK * self.bytes_per_sample
        for at in range(0, max(len(item.data), 1), step):  # nothing: an empty answer
            data = item.data[at : at + step]
            self._singing.begin_block(self._n_received)
            stems = self._pcm.push(data) if data else b""
            self._put(item.seq, stems)
            n_samples = len(data) // self.bytes_per_sample
            self._n_received += n_samples
            self.n_samples += n_samples
            if self.is_over:
                return
        self.last_ms = (time.perf_counter() - item.arrived) * 1000
        self.peak_ms = max(self.peak_ms, self.last_ms)
        self._judge(len(item.data) // self.bytes_per_sample)

    def _judge(self, n_samples: int) -> None:
        """Count an answer that came later than the next block: an xrun for its player.

        Where a call of the network covers more than the block, that is the measure.
        """
        s = self.separator
        if self.is_live and self.last_ms > 1000 * max(
            n_samples / s.sample_rate, s.call_s
        ):
            self.n_late += 1
            self.xruns += 1
            self._tell("xrun", n_dropped=0, n_late=1, xruns=self.xruns)

    def _put(self, seq: int | None, stems: bytes) -> None:
        data = encode_reply("stems", stems, seq=seq, position=self._n_received)
        if self.is_live:
            limit = self._limit * len(self._pcm.stems)
            self._count_xruns(self._outbox.put_live(data, limit))
        else:
            self._outbox.put(data)

    def _apply(self, request: Set) -> None:
        n_ramp = round(request.ramp_ms * self.separator.sample_rate / 1000)
        levels = self._pcm.levels
        levels.set(request.vocals_db, request.instrumental_db, n_ramp)
        self._outbox.put(encode_reply("set", seq=request.seq))

    def _count_xruns(self, count: int) -> None:
        if count:
            self.xruns += count
            self._tell("xrun", n_dropped=count, xruns=self.xruns)
