"""The commands of the shell, taken from their parsers, for pages about them."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgestem.cli.words import STATUSES, make_parser

COMMON = ("-h", "-q", "-v", "--debug")  # of every command


@dataclass(frozen=True)
class Option:
    """An option or a word of a command."""

    names: tuple[str, ...]
    """Spellings; of a word that is no option the one that stands for it."""
    value: str
    """What follows it, as people write it; empty: nothing does."""
    text: str
    """What it does."""
    is_word: bool = False
    """It is no option but a word, as FILE."""

    @property
    def spelling(self) -> str:
        """All of it: `-o DIR, --output DIR`, or `FILE ...`."""
        if self.is_word:
            return self.value
        return ", ".join(f"{name} {self.value}".strip() for name in self.names)


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    text: str
    """One line."""
    more: str
    """Paragraphs; indented lines stand as they are."""
    examples: list[str]
    options: list[Option]

    @property
    def words(self) -> str:
        """What follows the options."""
        return " ".join(option.value for option in self.options if option.is_word)


@cache
def commands() -> tuple[Command, ...]:
    """List all commands, in the order of `edgestem --help`."""
    parsers = _subparsers(make_parser())
    helps = {choice.dest: str(choice.help) for choice in parsers._choices_actions}
    return tuple(
        _command(name, helps[name], parser) for name, parser in parsers.choices.items()
    )


@cache
def common_options() -> tuple[Option, ...]:
    """List what every command takes, and the version."""
    parser = make_parser()
    return tuple(
        _option(action, parser) for action in parser._actions if action.option_strings
    )


def exit_statuses() -> list[tuple[str, str]]:
    """Split the sentence about exit statuses: (numbers, meaning)."""
    text = " ".join(STATUSES.split()).removeprefix("exit status: ")
    parts = re.split(r"[;,] (?=\d)", text)
    return [(part.split(" ", 1)[0], part.split(" ", 1)[1]) for part in parts]


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    kind = argparse._SubParsersAction
    return next(a for a in parser._actions if isinstance(a, kind))


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> Command:
    more = (parser.description or "").strip()
    examples = (parser.epilog or "").replace(STATUSES, "").strip()
    lines = examples.removeprefix("examples:").strip("\n").splitlines()
    options = [
        _option(action, parser)
        for action in parser._actions
        if not set(action.option_strings) & set(COMMON)
    ]
    return Command(
        name,
        text,
        more if more != text else "",
        [line.strip() for line in lines],
        options,
    )


def _option(action: argparse.Action, parser: argparse.ArgumentParser) -> Option:
    text = ""
    if action.help:
        text = parser._get_formatter()._expand_help(action)
    names = tuple(action.option_strings)
    return Option(names or (_value(action),), _value(action), text, not names)


def _value(action: argparse.Action) -> str:
    """Write what an option takes, alike under every Python."""
    if action.nargs == 0:
        return ""
    metavar = action.metavar
    if isinstance(metavar, tuple):
        return " ".join(metavar)
    if metavar is None:
        metavar = "|".join(map(str, action.choices)) if action.choices else ""
    name = metavar or action.dest.upper()
    several = {"?": f"[{name}]", "+": f"{name} ...", "*": f"[{name} ...]"}
    return several.get(str(action.nargs), name)
