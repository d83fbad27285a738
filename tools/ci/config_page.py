"""Write docs/edgestem.toml, the daemon's configuration, from its fields.

python -m tools.ci.config_page > docs/edgestem.toml
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json

from edgestem.daemon.system import config
from edgestem.daemon.system.config import OCTAL, RESTART_ONLY, DaemonConfig

HEAD = """\
# The daemon's configuration, every field at its default.  Copy what you change to
# /etc/edgestem.toml, or to ~/.config/edgestem/edgestem.toml of a user's daemon, and
# check it with `edgestem serve --check-config`.
#
# Later wins: these two files, variables (EDGESTEM_THREADS=2; lists with colons
# between), flags, --set threads=2.  Files need Python 3.11.  SIGHUP reads the
# configuration again, but for fields that say (restart).
[serve]
"""


def texts() -> dict[str, str]:
    """Field -> the line below it in the source."""
    tree = ast.parse(inspect.getsource(config))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    body = next(c for c in classes if c.name == DaemonConfig.__name__).body
    found = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = ast.literal_eval(text.value)
    return found


def page() -> str:
    lines = [HEAD]
    found = texts()
    for field in dataclasses.fields(DaemonConfig):
        value = field.default
        if field.name in OCTAL:
            value = f"{value:04o}"
        restart = " (restart)" if field.name in RESTART_ONLY else ""
        text = " ".join(found[field.name].split()).replace("`", "")
        text = text.replace("edgestem.devices.choice", "docs/hardware.md")
        lines += [f"# {text}{restart}", f"{field.name} = {json.dumps(value)}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(page(), end="")
