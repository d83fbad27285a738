"""`edgestem serve` and `edgestem client`: words and what they mean."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

_SERVE = """\
Serves the models of this machine on a UNIX socket; docs/protocol.md describes the
protocol.  Only one process can own an accelerator: let it be this one.

It listens on the socket that systemd passes, else on --socket, else on
$EDGESTEM_SOCKET, else on $XDG_RUNTIME_DIR/edgestem.sock, or /run/edgestem/socket for
root.  A stale socket is replaced, that of a running daemon never.

The configuration is read in this order, and later values win: /etc/edgestem.toml,
~/.config/edgestem/edgestem.toml (each has one table [serve]; they need Python 3.11),
variables EDGESTEM_<FIELD>, flags, --set.  On SIGHUP the daemon reads it again.  On
SIGTERM it gives running jobs drain_s to finish, then ends.
"""
_CLIENT = """\
status   device, load, streams, jobs, hop times, xruns
models   the daemon's models
watch    what happens in the daemon, one JSON object a line, until Ctrl-C
"""


def add_parsers(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the two commands."""
    add = command("serve", "be the daemon behind a UNIX socket", _SERVE).add_argument
    add("--socket", metavar="PATH", help="where to listen")
    add("--config", metavar="FILE", help="read this file instead of the usual ones")
    add("--model", action="append", dest="models", metavar="MODEL",
        help="name or .tflite file; repeat for more, the first counts")  # fmt: skip
    add("--device", metavar="NAME", help="where networks run (see edgestem devices)")
    add("--input-dir", action="append", dest="input_dirs", metavar="DIR",
        help="jobs may name inputs below it by path; repeat for more")  # fmt: skip
    add("--output-dir", action="append", dest="output_dirs", metavar="DIR",
        help="jobs may name outputs below it by path; repeat for more")  # fmt: skip
    add("--cache-mb", type=int, metavar="MIB", help="keep results of jobs (default: 0)")
    add("--set", action="append", default=[], metavar="FIELD=VALUE",
        help="any field of the configuration; --check-config lists them")  # fmt: skip
    add("--check-config", action="store_true",
        help="check the configuration and the models, print both, and end")  # fmt: skip
    add = command("client", "talk to the daemon", _CLIENT).add_argument
    add("what", choices=("status", "models", "watch"), metavar="status|models|watch")
    add("--socket", metavar="PATH", help="the daemon's socket")
    add("--json", action="store_true", help="print one JSON object")


def serve(args: argparse.Namespace) -> str:
    """Be the daemon, or check its configuration; return what to print at the end.

    Raises
    ------
    EdgestemError
        The configuration, a model or the socket cannot be used.
    """
    from edgestem.daemon.system.config import DaemonConfig, load_config

    names = ("socket", "models", "device", "input_dirs", "output_dirs", "cache_mb")
    flags = {name: getattr(args, name) for name in names}

    def load() -> DaemonConfig:
        return load_config(args.config, flags, args.set)

    config = load()
    if args.check_config:
        return "\n".join(_check(config))
    from edgestem.daemon.server import run

    run(config, load)
    return ""


def _check(config: Any) -> Iterator[str]:
    """List the configuration as TOML, and what it would use."""
    from dataclasses import fields

    from edgestem.daemon.jobs.paths import AllowedFolders, insecure_parents
    from edgestem.daemon.pool.engine import Engine
    from edgestem.daemon.system.config import OCTAL
    from edgestem.daemon.system.listener import check_place

    check_place(config)
    for key in ("input_dirs", "output_dirs"):
        AllowedFolders(key, getattr(config, key)).close()
    engine = Engine(config, lambda *_, **__: None)
    yield "[serve]"
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in OCTAL:
            value = f"{value:04o}"
        yield f"{field.name} = {json.dumps(value)}"
    yield f"# models: {', '.join(engine.models)}"
    yield f"# {engine.runtime} on {engine.device}, {engine.scheduler.n_slots} slots"
    for note in engine.notes:
        yield f"# {note}"
    for folder in (*config.input_dirs, *config.output_dirs):
        for parent in insecure_parents(folder):
            yield (
                f"# warning: {folder} is what it is only while the daemon runs: others "
                f"than root may change {parent}, and exchange it before a start"
            )


def client(args: argparse.Namespace) -> Iterator[str]:
    """Ask the daemon; yield lines to print.

    Raises
    ------
    EdgestemError
        There is no daemon, or it refuses.
    """
    from edgestem.client.connection import Client

    with Client(args.socket) as connection:
        if args.what == "watch":
            connection.request("subscribe", "subscribed")
            while True:
                yield json.dumps(connection.receive("event").fields)
        reply = connection.request(args.what, args.what)
    details = json.loads(reply.payload)
    if args.json:
        yield json.dumps(reply.fields | {"details": details})
    elif args.what == "status":
        yield from (f"{key}: {value}" for key, value in reply.fields.items())
        for kind in ("sessions", "jobs"):
            yield from (f"{kind[:-1]}: {json.dumps(one)}" for one in details[kind])
    else:
        for model in details:
            yield f"{model['name']}: {model['sample_rate']} Hz, {model['licence']}"
