"""What may be done with a show, from any thread, and what it tells of itself."""

from __future__ import annotations

from time import monotonic
from typing import Any

from edgestem.play.conductor import DUCK_S, PANIC_S, Conductor
from edgestem.play.timeline import Loop

STOP_S, PAUSE_S, RESUME_S = 0.4, 0.02, 0.05


class Player(Conductor):
    """A show under somebody's foot."""

    output = ""
    """What the output waits for; empty: it plays."""
    _was_playing = False

    # ---- what may be done, from any thread --------------------------

    def play(self) -> None:
        """Play what is ready, or go on."""
        self.do(self._play)

    def stop(self) -> None:
        """Fade out and stay on the song; again during the fade: at once."""
        if self.state == "stopping":
            self.desk.fade(PANIC_S)
        else:
            self._end_with(STOP_S)

    def panic(self) -> None:
        """Be silent at once."""
        self._end_with(PANIC_S)

    def _end_with(self, seconds: float) -> None:
        self.desk.fade(seconds)
        self.do(self._stop)

    def pause(self) -> None:
        """Stand still, or go on."""
        self.do(self._pause)

    def seek(self, seconds: float) -> None:
        """Go to a place of the song."""
        self.do(lambda: self._seek(self._sample(seconds)))

    def move(self, seconds: float) -> None:
        """Go on or back from the place that is heard."""
        self.do(lambda: self._seek(self.place() + self._sample(seconds)))

    def select(self, index: int, *, is_played: bool | None = None) -> None:
        """Go to a song of the set; it plays if the one before does."""
        self.do(lambda: self._select(index, is_played))

    def lose_output(self) -> None:
        """Stand still where the output went; one press goes on from there."""
        self.desk.halt()
        self.do(self._lose)

    def regain_output(self, *, is_resumed: bool) -> None:
        """Note that the output is back; the song waits for a press, or goes on."""
        self.output = ""
        if is_resumed:
            self.do(self._resume)

    def step(self, n: int) -> None:
        """Go to the next song, or the previous one."""
        self.do(lambda: self._select(self.index + n, None))

    def reorder(self, old: int, new: int) -> None:
        """Give a song another place in the set, when nothing is on its way."""
        self._moves.append((old, new))
        self._wake()

    def restart(self) -> None:
        """Begin the song again, at once."""
        self.do(lambda: self._select(self.index, self.is_sounding))

    def set_loop(self, start: float | None, end: float | None) -> None:
        """Loop between two places, seconds; None, None leaves the loop at its end."""
        self.do(lambda: self._set_loop(start, end))

    def transpose(self, key: float | None, tempo: float | None) -> None:
        """Change the song's key and tempo, on a ramp."""
        self.do(lambda: self._transpose(key, tempo))

    # ---- commands, in the conductor ---------------------------------

    def _play(self) -> None:
        if self.state in ("playing", "starting"):
            return
        if self.state == "paused":
            self.state = "playing"
            self.desk.go(round(RESUME_S * self.sample_rate))
            return
        if self.state == "stopping":
            return
        self._is_wanted, self._since = True, monotonic()
        self.state = "starting"

    def _stop(self) -> None:
        if self.state in ("playing", "starting", "paused", "stopping"):
            self.state, self._is_wanted = "stopping", False
            index = self.index
            self._after = lambda: self._cue(index)

    def _pause(self) -> None:
        if self.state == "playing":
            self.desk.fade(PAUSE_S)
            self.state = "paused"
        elif self.state == "paused":
            self._play()

    def _lose(self) -> None:
        self._was_playing = self.state == "playing"
        if self.state == "playing":
            self.state = "paused"

    def _resume(self) -> None:
        if self._was_playing and self.state == "paused":
            self._play()

    def _seek(self, place: int, loop: Loop | None = None) -> None:
        track = self.track
        if not track.sample_rate:
            return
        last = max(track.length - 1, 0) if track.n_samples is not None else place
        place = min(max(place, 0), last)
        self._is_wanted = self.is_sounding
        self.desk.fade(DUCK_S)
        index, loop = self.index, loop or self.loop
        if loop is not None and place >= loop[1]:
            loop = None
        self.state = "starting" if self._is_wanted else "ready"
        self._after = lambda: self._cue(
            index, place, loop=loop, is_wanted=self._is_wanted, ramp_s=DUCK_S
        )

    def _select(self, index: int, is_played: bool | None) -> None:
        index = min(max(index, 0), len(self.items) - 1)
        self._is_wanted = self.is_sounding if is_played is None else is_played
        self.state = "starting" if self._is_wanted else "ready"
        self.desk.fade(RESUME_S)
        self._after = lambda: self._cue(index, is_wanted=self._is_wanted)

    def _set_loop(self, start: float | None, end: float | None) -> None:
        chain = self._chain
        if chain is None:
            return
        if start is None or end is None:
            chain.set_loop(None)
            return
        loop = (max(self._sample(start), 0), self._sample(end))
        if self.track.n_samples is not None:
            loop = (loop[0], min(loop[1], self.track.n_samples))
        if loop[1] - loop[0] < self.track.sample_rate // 100:
            self.say("a loop lasts a hundredth of a second or longer")
        elif not chain.set_loop(loop):
            self._seek(loop[0], loop)

    def _transpose(self, key: float | None, tempo: float | None) -> None:
        s = self.item.settings
        key = s.key if key is None else min(max(key, -12.0), 12.0)
        tempo = s.tempo if tempo is None else min(max(tempo, 0.5), 2.0)
        s.key, s.tempo = key, tempo
        if self._chain is not None and self._chain_index == self.index:
            self._chain.set(key, tempo)

    # ---- telling ----------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Tell what a display shows; numbers in seconds and decibels."""
        track, rate = self.track, self.track.sample_rate or 1
        settings, loop = self.item.settings, self.loop
        n_dry = self._chain.n_dry if self._chain is not None else 0
        return {
            "state": self.state,
            "index": self.index,
            "title": self.title(self.index),
            "position": round(self.place() / rate, 3),
            "length": round(track.length / rate, 3),
            "front": round(track.front / rate, 3),
            "loop": [round(x / rate, 4) for x in loop] if loop else None,
            "output": self.output,
            "key": settings.key,
            "tempo": settings.tempo,
            "is_stored": track.is_stored,
            "n_late": self.desk.n_late,
            "dry_s": round(n_dry / rate, 3),
            "songs": [self.title(i) for i in range(len(self.items))],
            "errors": [track.error for track in self.tracks],
        }

    def title(self, index: int) -> str:
        """Tell what a song is called."""
        return self.items[index].title or self.tracks[index].name
