"""`edgestem completion`: what a shell needs to complete words, from the parsers.

One table, command -> options -> words, written in the language of each shell.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import NamedTuple

SHELLS = ("bash", "zsh", "fish")
_ABOUT = """\
Prints a script that completes commands, options and their words.

  bash   source <(edgestem completion bash)                  in ~/.bashrc
  zsh    source <(edgestem completion zsh)                   in ~/.zshrc
  fish   edgestem completion fish | source                   in config.fish
"""


def add_parser(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = command("completion", "print a script that completes words", _ABOUT)
    parser.add_argument("shell", choices=SHELLS, metavar="|".join(SHELLS))


class _Option(NamedTuple):
    command: str
    names: tuple[str, ...]
    about: str
    words: tuple[str, ...]
    """What may follow; empty: a file's name, if there is a value at all."""
    has_value: bool


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Write the script of a shell."""
    commands = _commands(parser)
    options = [o for name, sub in commands.items() for o in _options(name, sub)]
    own = list(_options("", parser))
    abouts = _abouts(parser)
    if shell == "fish":
        return "\n".join(_fish(abouts, options, own, _firsts(commands)))
    write = _bash if shell == "bash" else _zsh
    return "\n".join(write(list(commands), options, own, _firsts(commands)))


def _subparsers(
    parser: argparse.ArgumentParser,
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    (found,) = (
        action
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return found


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return dict(_subparsers(parser).choices)


def _abouts(parser: argparse.ArgumentParser) -> dict[str, str]:
    actions = _subparsers(parser)._choices_actions
    return {action.dest: action.help or "" for action in actions}


def _options(command: str, parser: argparse.ArgumentParser) -> Iterator[_Option]:
    for action in parser._actions:
        if action.option_strings and action.help != argparse.SUPPRESS:
            about = (action.help or "").split("(default")[0].split(";")[0].strip()
            yield _Option(
                command,
                tuple(action.option_strings),
                about,
                _words(action),
                action.nargs != 0,
            )


def _words(action: argparse.Action) -> tuple[str, ...]:
    if action.choices is not None:
        return tuple(map(str, action.choices))
    if action.dest in ("model", "models"):
        from edgestem.network.catalogue import model_names

        return tuple(model_names())
    return ()


def _firsts(commands: dict[str, argparse.ArgumentParser]) -> dict[str, tuple[str, ...]]:
    """Words that stand where no option does, by command."""
    found = {"help": tuple(commands)}
    for name, parser in commands.items():
        for action in parser._actions:
            if not action.option_strings and action.choices is not None:
                found[name] = found.get(name, ()) + tuple(map(str, action.choices))
    return found


def _cases(options: list[_Option]) -> Iterator[tuple[str, str]]:
    """Yield (pattern of command:option, words) of options with a value."""
    for option in options:
        if option.has_value:
            pattern = "|".join(f"{option.command}:{name}" for name in option.names)
            yield pattern, " ".join(option.words)


def _names(options: list[_Option], command: str) -> str:
    return " ".join(n for o in options if o.command == command for n in o.names)


_FIND = """\
    for word in "${%s}"; do
        case $word in (%s) command=$word; break;; esac
    done"""


def _bash(
    commands: list[str],
    options: list[_Option],
    own: list[_Option],
    firsts: dict[str, tuple[str, ...]],
) -> Iterator[str]:
    yield "_edgestem() {"
    yield "    local word command= words= now=${COMP_WORDS[COMP_CWORD]}"
    yield "    local before=${COMP_WORDS[COMP_CWORD-1]}"
    yield _FIND % ("COMP_WORDS[@]:1:COMP_CWORD-1", "|".join(commands))
    yield "    COMPREPLY=()"
    yield "    case $command:$before in"
    for pattern, words in _cases(options):
        found = f'$(compgen -W "{words}" -- "$now")'
        yield f"        ({pattern}) COMPREPLY=({found}); return;;"
    yield "    esac"
    yield "    case $command:$now in"
    for name in commands:
        yield f'        ({name}:-*) words="{_names(options, name)}";;'
    for name, some in firsts.items():
        yield f'        ({name}:*) words="{" ".join(some)}";;'
    yield f'        (:-*) words="{_names(own, "")}";;'
    yield f'        (:*) words="{" ".join(commands)}";;'
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$now"))'
    yield "}"
    yield "complete -o default -F _edgestem edgestem"


def _zsh(
    commands: list[str],
    options: list[_Option],
    own: list[_Option],
    firsts: dict[str, tuple[str, ...]],
) -> Iterator[str]:
    yield "#compdef edgestem"
    yield "_edgestem() {"
    yield "    local word command= before=${words[CURRENT-1]} now=${words[CURRENT]}"
    yield _FIND % ("words[@]:1:$((CURRENT-2))", "|".join(commands))
    yield "    case $command:$before in"
    for pattern, words in _cases(options):
        what = f"compadd -- {words}" if words else "_files"
        yield f"        ({pattern}) {what}; return;;"
    yield "    esac"
    yield "    case $command:$now in"
    for name in commands:
        yield f"        ({name}:-*) compadd -- {_names(options, name)};;"
    for name, some in firsts.items():
        yield f"        ({name}:*) compadd -- {' '.join(some)};;"
    yield f"        (:-*) compadd -- {_names(own, '')};;"
    yield f"        (:*) compadd -- {' '.join(commands)};;"
    yield "        (*) _files;;"
    yield "    esac"
    yield "}"
    yield "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }"
    yield "compdef _edgestem edgestem"


def _fish(
    abouts: dict[str, str],
    options: list[_Option],
    own: list[_Option],
    firsts: dict[str, tuple[str, ...]],
) -> Iterator[str]:
    none = f"not __fish_seen_subcommand_from {' '.join(abouts)}"
    for name, about in abouts.items():
        yield (f"complete -c edgestem -n '{none}' -f -a {name} -d {_fish_quote(about)}")
    for name, some in firsts.items():
        place = f"__fish_seen_subcommand_from {name}"
        yield f"complete -c edgestem -n '{place}' -f -a '{' '.join(some)}'"
    for option in own + options:
        place = f"__fish_seen_subcommand_from {option.command}"
        words = [f"complete -c edgestem -n '{place if option.command else none}'"]
        words += [_fish_name(name) for name in option.names]
        words += ["-r"] if option.has_value else []
        words += [f"-f -a '{' '.join(option.words)}'"] if option.words else []
        yield f"{' '.join(words)} -d {_fish_quote(option.about)}"


def _fish_name(name: str) -> str:
    return f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
