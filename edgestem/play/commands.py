"""The commands: one table for every door, from the pedal to the phone.

A command is a line of words: `vocals -12`, `loop 10 20.5`, `play`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.pcm.decibels import parse_db
from edgestem.play.command_words import (
    Wanted,
    db_text,
    no_more,
    one_word,
    parse_time,
    real,
)
from edgestem.play.player import Player
from edgestem.play.set_file import SetFile
from edgestem.stems import SILENT_DB

RAMP_S = 0.02  # of a fader
MAX_WORDS = 400  # characters of a line


class Refused(Exception):
    """A command makes no sense; the message says what would."""


@dataclass(frozen=True, slots=True)
class Command:
    """One word and what it does."""

    words: str
    """What stands behind it, for people."""
    text: str
    """What it does."""
    do: Callable[[Console, list[str]], str | None]
    """Do it; return what to answer instead of "ok"."""
    is_edit: bool = False
    """Changes the show, not only what plays: refused while it is locked."""


class Console:
    """Where commands of all doors come together.

    Parameters
    ----------
    player : Player
    is_locked : bool
        Only commands of playing are taken from others than `is_master` doors.
    """

    def __init__(self, player: Player, *, is_locked: bool = False) -> None:
        self.player, self.is_locked = player, is_locked
        self.faders = {"vocals": SILENT_DB, "instrumental": 0.0}
        self.faders |= {"guide": 0.0, "click": 0.0, "master": 0.0}
        self._before = {"vocals": 0.0, "guide": 0.0}
        self.n_commands = 0
        self.last = ""
        """The last command, for displays: every press is acknowledged."""
        self.is_over = False
        self.set_file: SetFile | None = None
        """Where `save` writes to; None: the songs come from no set list."""
        player.faders = self.faders

    def do(self, line: str, *, is_master: bool = True) -> str:
        """Do a command and return the answer.

        Raises
        ------
        Refused
            It makes no sense, or it edits while the show is locked.
        """
        name, _, rest = line.strip()[:MAX_WORDS].partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            raise Refused(f"no command {name[:40]!r}; `help` lists them")
        if command.is_edit and self.is_locked and not is_master:
            raise Refused("the show is locked: unlock it at the player")
        try:
            answer = command.do(self, rest.split())
        except (ValueError, IndexError) as error:
            what = str(error) if isinstance(error, Wanted) else ""
            wanted = f"{name} {command.words}".strip()
            raise Refused(f"expected `{wanted}`{what and ': '}{what}") from error
        except EdgestemError as error:
            raise Refused(str(error)) from error
        self.n_commands += 1
        self.last = line.strip()
        return answer or "ok"

    def set_fader(self, name: str, level: float) -> None:
        """Move a fader."""
        self.faders[name] = level
        n_ramp = round(RAMP_S * self.player.sample_rate)
        desk = self.player.desk
        if name in ("vocals", "instrumental"):
            pair = {"vocals": None, "instrumental": None} | {name: level}
            desk.faders.set(pair["vocals"], pair["instrumental"], n_ramp)
        elif name == "master":
            desk.master.set(level, None, n_ramp)
        else:
            guide, click = (level if name == n else None for n in ("guide", "click"))
            desk.monitors.set(guide, click, n_ramp)

    def toggle(self, name: str) -> str:
        """Put a fader to silence, or back to where it was."""
        level = self.faders[name]
        if level > SILENT_DB:
            self._before[name] = level
            level = SILENT_DB
        else:
            level = self._before.get(name, 0.0)
        self.set_fader(name, level)
        return f"{name} {db_text(level)}"

    def status(self) -> dict[str, Any]:
        """Tell all that a display shows."""
        faders = {
            name: None if level <= SILENT_DB else level
            for name, level in self.faders.items()
        }
        more = {"faders": faders, "is_locked": self.is_locked, "last": self.last}
        more["has_set_file"] = self.set_file is not None
        return self.player.status() | more | {"n_commands": self.n_commands}


def _plain(name: str) -> Callable[[Console, list[str]], str | None]:
    """Make a command of a method of the player without arguments."""

    def do(console: Console, words: list[str]) -> None:
        no_more(words)
        getattr(console.player, name)()

    return do


def _step(n: int) -> Callable[[Console, list[str]], str | None]:
    def do(console: Console, words: list[str]) -> None:
        no_more(words)
        console.player.step(n)

    return do


def _select(console: Console, words: list[str]) -> None:
    n = len(console.player.items)
    number = int(real(one_word(words), 1, n))
    console.player.select(number - 1)


def _seek(console: Console, words: list[str]) -> None:
    text = one_word(words)
    if text[0] in "+-":
        console.player.move(real(text, -86400, 86400))
    else:
        console.player.seek(parse_time(text))


def _loop(console: Console, words: list[str]) -> str | None:
    """Loop A B, loop NAME, loop off."""
    player = console.player
    if words == ["off"]:
        player.set_loop(None, None)
        return "the loop is left at its end"
    sections = player.item.settings.sections
    if len(words) == 1:
        if words[0] not in sections:
            raise Wanted(f"a section: {', '.join(sections) or 'this song has none'}")
        start, end = sections[words[0]]
    else:
        start, end = map(parse_time, (words[0], words[1]))
        no_more(words[2:])
    if end <= start:
        raise Wanted("a start before the end")
    player.set_loop(start, end)
    return None


def _section(console: Console, words: list[str]) -> None:
    sections = console.player.item.settings.sections
    name = one_word(words)
    if name not in sections:
        raise Wanted(f"a section: {', '.join(sections) or 'this song has none'}")
    console.player.seek(sections[name][0])


def _fader(name: str) -> Callable[[Console, list[str]], str | None]:
    def do(console: Console, words: list[str]) -> str:
        text = one_word(words)
        if text == "toggle":
            return console.toggle(name)
        try:
            level = parse_db(text)
        except ValueError as error:
            raise Wanted(str(error)) from error
        console.set_fader(name, level)
        return f"{name} {db_text(level)}"

    return do


def _key(console: Console, words: list[str]) -> str:
    text, player = one_word(words), console.player
    value = real(text, -24, 24)
    if text[0] in "+-":
        value += player.item.settings.key
    value = real(str(value), -12, 12)
    player.transpose(value, None)
    return f"key {value:+g}"


def _tempo(console: Console, words: list[str]) -> str:
    text, player = one_word(words), console.player
    value = real(text, -200, 200)
    if text[0] in "+-":
        value += player.item.settings.tempo * 100
    value = real(str(value), 50, 200)
    player.transpose(None, value / 100)
    return f"tempo {value:g} %"


def _order(console: Console, words: list[str]) -> None:
    n = len(console.player.items)
    old, new = (int(real(word, 1, n)) for word in words)
    console.player.reorder(old - 1, new - 1)


def _save(console: Console, words: list[str]) -> str:
    no_more(words)
    player, file = console.player, console.set_file
    if file is None:
        raise Refused("there is no set list to save to: start the show with one")
    levels = {name: console.faders[name] for name in ("vocals", "instrumental")}
    file.save(player.items, player.index, levels)
    return f"saved: {player.title(player.index)}"


def _lock(is_locked: bool) -> Callable[[Console, list[str]], str | None]:
    def do(console: Console, words: list[str]) -> None:
        no_more(words)
        console.is_locked = is_locked

    return do


def _quit(console: Console, words: list[str]) -> None:
    no_more(words)
    console.player.panic()
    console.is_over = True


def _help(_: Console, words: list[str]) -> str:
    no_more(words)
    lines = (f"{n} {c.words}".strip() + f": {c.text}" for n, c in COMMANDS.items())
    return "; ".join(lines)


def _status(console: Console, words: list[str]) -> str:
    no_more(words)
    return json.dumps(console.status())


_FADER = "DB | -inf | toggle"
COMMANDS = {
    "play": Command("", "play the selected song, or go on", _plain("play")),
    "stop": Command("", "fade out in 0.4 s and stay on the song", _plain("stop")),
    "panic": Command("", "silence within 10 ms", _plain("panic")),
    "pause": Command("", "stand still, or go on", _plain("pause")),
    "next": Command("", "select the next song", _step(1)),
    "previous": Command("", "select the previous song", _step(-1)),
    "restart": Command("", "begin the song again", _plain("restart")),
    "select": Command("N", "select a song by its number", _select),
    "seek": Command("[+|-]SECONDS | MINUTES:SECONDS", "go to a place", _seek),
    "loop": Command("START END | SECTION | off", "go round", _loop),
    "section": Command("NAME", "go to a section", _section),
    "vocals": Command(_FADER, "fader of the vocals", _fader("vocals")),
    "instrumental": Command(_FADER, "its fader", _fader("instrumental")),
    "guide": Command(_FADER, "fader of the guide vocals", _fader("guide")),
    "click": Command(_FADER, "fader of the click", _fader("click")),
    "master": Command(_FADER, "fader of the backing bus", _fader("master")),
    "key": Command("[+|-]SEMITONES", "transpose", _key, is_edit=True),
    "tempo": Command("[+|-]PERCENT", "faster or slower", _tempo, is_edit=True),
    "order": Command("N TO", "give a song another place", _order, is_edit=True),
    "save": Command(
        "", "write the song and the order to the set list", _save, is_edit=True
    ),
    "lock": Command("", "no edits from the page and the socket", _lock(True)),
    "unlock": Command("", "edits from everywhere", _lock(False), is_edit=True),
    "quit": Command("", "end the show", _quit, is_edit=True),
    "status": Command("", "all that a display shows, as JSON", _status),
    "help": Command("", "list the commands", _help),
}
