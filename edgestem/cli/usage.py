"""The parser of the command line, which says what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from edgestem.cli.console import put

# What argparse takes for the value of an option, not for another option.
_NUMBER = re.compile(r"^-(\d+|\d*\.\d+|\d+\.)(e[-+]?\d+)?$|^-(inf|infinity|nan)$", re.I)


class UsageError(Exception):
    """The command line makes no sense."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UsageError, and puts its help on stdout."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        # argparse's own pattern knows neither -inf nor exponents.
        self._negative_number_matcher = _NUMBER

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{message}; see {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        put(message.rstrip("\n"))

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuse unknown options here, where the command's own help is known."""
        for word in args or ():
            if word == "--":
                break
            if re.match(r"-[^=]+=--$", word):  # argparse would drop the two dashes
                self.error(f"{word}: -- is no value")
            if self._is_unknown(word):
                name = word.split("=")[0]
                near = did_you_mean(name, self._option_string_actions)
                self.error(f"there is no option {name}{near}")
        found, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            name = rest[0].split("=")[0]
            self.error(f"there is no option {name} before a command, perhaps behind it")
        if rest:
            self.error(f"too many words: {' '.join(rest)}")
        return found, rest

    def _is_unknown(self, word: str) -> bool:
        """Tell whether a word looks like an option and is none of a command's.

        The parser of all commands lets those of a command pass.
        """
        if self._subparsers or not re.match(r"-[^\s]+$", word) or _NUMBER.match(word):
            return False
        name, options = word.split("=")[0], self._option_string_actions
        if word.startswith("--"):
            return not any(option.startswith(name) for option in options)
        return word[:2] not in options

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        near = did_you_mean(str(value), names)
        if action.dest == "command":
            text = f"there is no command {value!r}{near}; there are {', '.join(names)}"
            raise argparse.ArgumentError(None, text)
        text = f"expected one of {', '.join(names)}, got {value!r}{near}"
        raise argparse.ArgumentError(action, text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name what is spelt nearly so, or nothing."""
    bare = {name.strip("-"): name for name in known}  # dashes make all options alike
    near = difflib.get_close_matches(word.lower().strip("-"), bare, n=1, cutoff=0.6)
    return f" (did you mean {bare[near[0]]}?)" if near else ""
