"""Lay what the Debian package holds beside the wheels: programs, units, /etc, shells.

    python -m tools.ci.deb_files WHEEL ROOT DEBIAN

Programs are the wheel's entry points.  ROOT gets files as they will be installed,
DEBIAN those that debhelper installs with its scripts (units).  Runs with an edgestem
of the same sources, whose texts these are.
"""

from __future__ import annotations

import ast
import configparser
import dataclasses
import inspect
import json
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edgestem.cli.completion import script
from edgestem.cli.words import make_parser
from edgestem.daemon.system.config import OCTAL, RESTART_ONLY, DaemonConfig
from edgestem.service.installation import PACKAGED, Installation
from edgestem.service.units import SYSTEM, UNITS, USER, fill

HOME = "/usr/lib/edgestem"
PROGRAM = """\
#!/usr/bin/python3 -I
# Isolated: neither PYTHONPATH nor packages of the user change what runs.
import sys

sys.path.insert(0, "{home}")
from {module} import {name}  # noqa: E402

sys.exit({name}())
"""
# How zsh loads it: the first call only defines the function.
ZSH = '\n[ "$funcstack[1]" = _edgestem ] && _edgestem "$@"\n'
DEFAULTS = """\
# Read by edgestem's units, where a variable is handier than /etc/edgestem.toml (which
# has every field and what it means).  EDGESTEM_<FIELD>=value; lists with colons.
# After a change: systemctl restart edgestem
#EDGESTEM_LOG_LEVEL=info
#EDGESTEM_MODELS=karaoke:live
#EDGESTEM_THREADS=1
# What `edgestem service install play` plays with besides its set list:
#EDGESTEM_PLAY="--card U24 --route backing=1,2"
"""
TOML = """\
# edgestem's daemon.  Every field at its default; take the # away to change one, then:
#   edgestem serve --check-config      is it right?
#   systemctl reload edgestem          restart, for fields that say (restart)
# For jobs by path the unit has to see the folders, too: systemctl edit edgestem
[serve]
"""


def programs(wheel: Path) -> dict[str, str]:
    """Name -> text of each program that the wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        table = configparser.ConfigParser()
        table.read_string(archive.read(name).decode())
    found = {}
    for program, entry in table["console_scripts"].items():
        module, _, function = entry.partition(":")
        found[program] = PROGRAM.format(home=HOME, module=module, name=function)
    return found


def toml() -> str:
    """Write the daemon's configuration, fully commented."""
    return TOML + "".join(_fields())


def _fields() -> Iterator[str]:
    abouts = _abouts()
    for field in dataclasses.fields(DaemonConfig):
        value = field.default
        text = f'"{value:04o}"' if field.name in OCTAL else json.dumps(value)
        restart = " (restart)" if field.name in RESTART_ONLY else ""
        for line in textwrap.wrap(abouts[field.name] + restart, 84):
            yield f"\n# {line}"
        yield f"\n#{field.name} = {text}\n"


def _abouts() -> dict[str, str]:
    """Field -> the sentence below it in the source."""
    (body,) = ast.parse(inspect.getsource(DaemonConfig)).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def completions() -> dict[str, str]:
    """Where each shell looks -> what it finds there."""
    parser = make_parser()
    return {
        "usr/share/bash-completion/completions/edgestem": script(parser, "bash"),
        "usr/share/zsh/vendor-completions/_edgestem": script(parser, "zsh") + ZSH,
        "usr/share/fish/vendor_completions.d/edgestem.fish": script(parser, "fish"),
    }


def units() -> dict[str, str]:
    """debhelper's name -> text of each unit whose command this version has."""
    commands = make_parser().format_help()
    packaged = Installation((str(PACKAGED),), ())
    found = {}
    for kind in UNITS:
        if kind == "watch" or (kind != "daemon" and f"\n    {kind} " not in commands):
            continue  # a watched folder has the owner's names in it
        for scope, infix in ((SYSTEM, ""), (USER, "user.")):
            for name, text in fill(kind, scope, packaged).items():
                stem, _, suffix = name.rpartition(".")
                prefix = "" if stem == "edgestem" else "edgestem."
                found[f"{prefix}{stem}.{infix}{suffix}"] = text
    return found


def main(wheel: Path, root: Path, debian: Path) -> None:
    """Write all files."""
    files = {f"usr/bin/{name}": text for name, text in programs(wheel).items()}
    files |= completions()
    files |= {"etc/edgestem.toml": toml(), "etc/default/edgestem": DEFAULTS}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n")
        path.chmod(0o755 if name.startswith("usr/bin/") else 0o644)
    for name, text in units().items():
        (debian / name).write_text(text)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
