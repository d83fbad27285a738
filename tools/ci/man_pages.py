"""Write the manual's pages, edgestem.1 and one a command, from the parsers.

python -m tools.ci.man_pages packaging/man
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from edgestem.cli import usdb
from edgestem.version import __version__
from tools.ci.commands import Command, Option, commands, common_options, exit_statuses

FILES = {
    "/etc/edgestem.toml, ~/.config/edgestem/edgestem.toml": "the daemon's "
    "configuration, one table [serve]",
    "/run/edgestem/socket, $XDG_RUNTIME_DIR/edgestem.sock": "its socket",
}
ENVIRONMENT = {
    "EDGESTEM_SOCKET": "the daemon's socket",
    "EDGESTEM_CONFIG": "the daemon's configuration",
    "EDGESTEM_FIELD": "a field of it; edgestem serve --check-config lists them",
}
USDB_ENVIRONMENT = {
    "EDGESTEM_USDB_LOG": "a file for what would have been said; stderr stays empty",
    "EDGESTEM_USDB_MODEL": "another model than the Syncer chose: a name or a file",
    "EDGESTEM_SOCKET": "the daemon that does the work, where there is one",
}
ABOUT = """\
edgestem separates songs and streams into vocals and instrumental, in real time, on
small boards.  Results go to stdout, everything else to stderr."""


def pages() -> dict[str, str]:
    """File name -> page."""
    found = commands()
    names = [f"edgestem-{command.name}" for command in found]
    made = {"edgestem.1": _main_page(found), "edgestem-usdb.1": _usdb_page()}
    for command in found:
        name = f"edgestem-{command.name}"
        others = ["edgestem", *(n for n in names if n != name)]
        made[f"{name}.1"] = _command_page(command, others)
    return made


def _main_page(found: list[Command]) -> str:
    rows = [(f"edgestem-{c.name}(1)", c.text) for c in found]
    return _page(
        "edgestem",
        "two stems of a song, vocals and instrumental",
        ".B edgestem\n.RI [ options ]\n.I COMMAND\n.RI [ words ]",
        [
            ("DESCRIPTION", _prose(ABOUT)),
            ("COMMANDS", _terms(rows)),
            ("OPTIONS", _options(common_options())),
            ("EXIT STATUS", _statuses()),
            ("ENVIRONMENT", _terms(ENVIRONMENT.items())),
            ("FILES", _terms(FILES.items())),
            ("SEE ALSO", _see(f"edgestem-{c.name}" for c in found)),
        ],
    )


def _usdb_page() -> str:
    about, _, more = str(usdb.__doc__).partition("\n\n")
    text = more.partition("\n\n")[0].replace("$", "")  # the rest is for programmers
    models = ((name, str(text)) for name, text in usdb.MODELS.items())
    return _page(
        "edgestem-usdb",
        "separate songs for USDB Syncer",
        ".B edgestem\\-usdb",
        [
            ("DESCRIPTION", _prose(f"{_plain(about)}\n\n{text}")),
            ("MODELS", _terms(models)),
            ("ENVIRONMENT", _terms(USDB_ENVIRONMENT.items())),
            ("SEE ALSO", _see(["edgestem", "edgestem-serve"])),
        ],
    )


def _plain(text: str) -> str:
    return text.replace("`edgestem-usdb`: the", "edgestem-usdb is the")


def _command_page(command: Command, others: list[str]) -> str:
    words = f"\n.I {_escape(command.words)}" if command.words else ""
    common = [option for option in common_options() if "-V" not in option.names]
    sections = [
        ("DESCRIPTION", _prose(command.more or command.text)),
        ("OPTIONS", _options(command.options + common)),
    ]
    if command.examples:
        sections.append(("EXAMPLES", _block(command.examples)))
    sections += [("EXIT STATUS", _statuses()), ("SEE ALSO", _see(others))]
    name = f"edgestem-{command.name}"
    synopsis = f".B edgestem {command.name}\n.RI [ options ]{words}"
    return _page(name, command.text, synopsis, sections)


def _page(
    name: str, text: str, synopsis: str, sections: list[tuple[str, list[str]]]
) -> str:
    lines = [
        r".\" Made from the program by tools.ci.man_pages.",
        f'.TH {name.upper()} 1 "" "edgestem {__version__}" "User Commands"',
        ".SH NAME",
        f"{_escape(name)} \\- {_escape(text)}",
        ".SH SYNOPSIS",
        synopsis,
    ]
    for title, body in sections:
        lines += [f".SH {title}", *body]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    """Paragraphs; what is indented, or in columns, stands as it is."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        rows = paragraph.splitlines()
        lines.append(".PP")
        is_table = all(re.search(r"\w {2,}\w", row) for row in rows)
        plain = [row for row in rows if not (is_table or row.startswith("  "))]
        lines += [_escape(row) for row in plain]
        block = [row.strip() for row in rows if row not in plain]
        lines += _block(block) if block else []
    return lines


def _block(rows: list[str]) -> list[str]:
    return [".nf", ".RS", *(_escape(row) for row in rows), ".RE", ".fi"]


def _options(options: list[Option]) -> list[str]:
    return _terms((option.spelling, option.text) for option in options if option.text)


def _terms(rows: Iterable[tuple[str, str]]) -> list[str]:
    lines: list[str] = []
    for term, text in rows:
        lines += [".TP", f".B {_escape(term)}", _escape(text)]
    return lines


def _statuses() -> list[str]:
    return _terms(exit_statuses())


def _see(names: Iterable[str]) -> list[str]:
    pages = [f".BR {_escape(name)} (1)" for name in names]
    return [f"{page}," for page in pages[:-1]] + pages[-1:]


def _escape(text: str) -> str:
    """Write text that roff would read otherwise."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
