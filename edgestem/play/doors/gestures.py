"""What feet mean: which key is which switch, long and double presses, commands.

A pedal is a keyboard with few keys: A (the right switch), B (the left one), C and D by
what it happens to send, so that every usual pedal works without learning.
"""

from __future__ import annotations

HOLD_S = 0.8
DOUBLE_S = 0.4
BOUNCE_S = 0.06
PULSE_S = 0.015  # a release that always follows so soon: the pedal cannot be held
SWITCHES = {
    "A": (109, 108, 106, 28, 163, 46, 186),
    "B": (104, 103, 105, 57, 165, 30, 184),
    "C": (48, 185, 102),
    "D": (52, 107, 1, 166),
}
SWITCH_OF = {code: name for name, codes in SWITCHES.items() for code in codes}
# State -> gesture -> command; `held` is 0.8 s, or a double press.
READY = {
    "A": "play", "B": "next", "A held": "previous", "B held": "guide toggle",
    "C": "vocals toggle", "D": "panic",
}  # fmt: skip
PLAYING = {
    "A": "", "B": "stop", "A held": "guide toggle", "B held": "restart",
    "C": "vocals toggle", "D": "panic",
}  # fmt: skip
PAUSED = {**PLAYING, "A": "play"}  # a card that went is back
AT_ONCE = ("play", "stop", "panic")  # nobody waits for the foot to be lifted
# What a long press does when its beginning was one of these: the table's "held".
TAKEN_BACK = {"play": ("panic", "previous"), "stop": ("restart", "play")}
SINGLE_TAKEN_BACK = {"play": ("panic", "next"), "stop": ("panic", "next")}
SINGLE_READY = {"A": "play", "A held": "next", "D": "panic"}
SINGLE_PLAYING = {"A": "stop", "A held": "next", "D": "panic"}
SINGLE_PAUSED = {**SINGLE_PLAYING, "A": "play"}


def table_of(state: str, mode: str) -> dict[str, str]:
    """Gesture -> command, in a player's state; mode: "two" or "one" switch."""
    if state in ("ready", "ended"):
        return SINGLE_READY if mode == "one" else READY
    if state == "paused":
        return SINGLE_PAUSED if mode == "one" else PAUSED
    return SINGLE_PLAYING if mode == "one" else PLAYING


class Gestures:
    """Turns presses and releases into gestures; time is told, not asked.

    A press counts when it is let go, or at once where nothing else can come of it.
    """

    def __init__(self) -> None:
        self._down: dict[int, float] = {}
        self._done: set[int] = set()
        self._last: dict[int, float] = {}
        self._pressed: dict[int, float] = {}
        self._n_pulses: dict[int, int] = {}

    def is_pulse(self, code: int) -> bool:
        """Say whether a key is always let go at once."""
        return self._n_pulses.get(code, 0) >= 2

    def press(self, code: int, now: float) -> str:
        """Take a press; return "" (bounced), "press" or "held" (a double press)."""
        if now - self._last.get(code, -9.0) < BOUNCE_S or code in self._down:
            return ""
        is_double = now - self._pressed.get(code, -9.0) < DOUBLE_S
        self._last[code] = self._pressed[code] = self._down[code] = now
        self._done.discard(code)
        if is_double and self.is_pulse(code):
            self._done.add(code)
            self._pressed.pop(code)
            return "held"
        return "press"

    def release(self, code: int, now: float) -> str:
        """Take a release; return "short" or "held" by what it ends, or ""."""
        began = self._down.pop(code, None)
        if began is None:
            return ""
        if now - began >= HOLD_S and code not in self._done:
            return "held"  # nobody looked in time
        n = self._n_pulses.get(code, 0)
        self._n_pulses[code] = n + 1 if now - began <= PULSE_S else 0
        if code in self._done:
            self._done.discard(code)
            return ""
        return "short"

    def held(self, now: float) -> list[int]:
        """List keys that have been held long enough, once each."""
        found = [
            code
            for code, began in self._down.items()
            if now - began >= HOLD_S and code not in self._done
        ]
        self._done |= set(found)
        return found
