"""`edgestem service`: words and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from edgestem.cli.usage import UsageError
from edgestem.cli.values import filled
from edgestem.service.units import SYSTEM, UNITS, USER

_ABOUT = """\
install  writes systemd's units with the paths of this very installation (a venv,
         pipx, the Debian package), enables and starts them, and says how to undo it
remove   stops and disables the service and removes the units
show     prints the units as they would be written; without a service, what is there

  daemon   edgestem serve, started by the first client of its socket
  play     the player, with /etc/edgestem/play.toml (--user: ~/.config/...)
  watch    edgestem watch DIR -o OUT --layout L, as the user who owns OUT

Make changes with `systemctl edit UNIT`: a unit file that was changed by hand is
neither replaced nor removed.
"""
_EXAMPLES = """\
examples:
  sudo edgestem service install daemon         for everyone in the group audio
  edgestem service install daemon --user       for you alone
  edgestem service install watch ~/Songs -o ~/Stems --layout flat --user
"""
_ACTIONS = ("install", "remove", "show")


def add_parser(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command."""
    text = "make edgestem a service of this system"
    add = command("service", text, _ABOUT, _EXAMPLES).add_argument
    add("what", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    add("kind", choices=tuple(UNITS), nargs="?", metavar="|".join(UNITS))
    add("dir", type=filled, nargs="?", metavar="DIR", help="watch: where songs come")
    add("-o", "--output", dest="out", type=filled, metavar="OUT",
        help="watch: where stems go")  # fmt: skip
    add("--layout", type=filled, metavar="LAYOUT",
        help="watch: how files are named (see edgestem watch --help)")  # fmt: skip
    add("--user", action="store_true", help="a service of this user, not the system")
    add("--root", type=filled, default="/", metavar="ROOT",
        help="root folder of an image that is being built")  # fmt: skip


def run(args: argparse.Namespace, commands: set[str]) -> Iterator[str]:
    """Do what was asked for; yield lines to print.

    Parameters
    ----------
    commands : set of str
        The commands of this version: a service of another one is refused.

    Raises
    ------
    UsageError
        Words that contradict each other.
    EdgestemError
        The service, its files or systemd refuse.
    """
    from edgestem.service import actions
    from edgestem.service.installation import this_installation
    from edgestem.service.systemd import Manager

    scope = USER if args.user else SYSTEM
    manager = Manager(scope, _root(args))
    if args.what == "show" and args.kind is None:
        yield from (actions.state(kind, manager) for kind in UNITS)
        return
    _check(args)
    if args.what != "remove":
        _check_version(args.kind, commands)
    settings = {}
    if args.kind == "watch" and args.what != "remove":
        settings = actions.watched(args.dir, args.out, args.layout or "", scope)
    service = actions.Service(args.kind, manager, this_installation(), settings)
    yield from getattr(actions, args.what)(service)


def _root(args: argparse.Namespace) -> Path:
    root = Path(args.root).absolute()
    if args.user and root != Path("/"):
        raise UsageError(
            "--user and --root contradict each other: an image has no user"
        )
    return root


def _check(args: argparse.Namespace) -> None:
    if args.kind is None:
        raise UsageError(f"service {args.what}: which one? {', '.join(UNITS)}")
    is_watch = args.kind == "watch" and args.what != "remove"
    given = [w for w in (args.dir, args.out, args.layout) if w is not None]
    if given and not is_watch:
        raise UsageError("DIR, -o and --layout belong to service install watch")
    if is_watch and not (args.dir and args.out and args.layout):
        raise UsageError(f"service {args.what} watch: name DIR, -o OUT and --layout L")


def _check_version(kind: str, commands: set[str]) -> None:
    from edgestem.service.units import ServiceError
    from edgestem.version import __version__

    name = "serve" if kind == "daemon" else kind
    if name not in commands:
        raise ServiceError(
            f"edgestem {name} is not in this version ({__version__}): there is nothing "
            "that a service could start",
            code="no_service",
        )
