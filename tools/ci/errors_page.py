"""Write docs/errors.md from the table of codes.

python -m tools.ci.errors_page > docs/errors.md
"""

from __future__ import annotations

from edgestem.errors import CODES

HEAD = """\
# Error codes

Every error has one sentence for a person and one word for a program. The word is
the same in Python (`error.code`), on the command line (`edgestem: error: ...
[code]`), in `--json` and on the socket. Words are never renamed or reused.

A command ends with status 0 when all was done, 1 when something failed, 2 when the
command line makes no sense, 130 after Ctrl-C, 143 when it was terminated and 141
when the reader of its output has gone.
"""
WHERE = {
    "song": "Songs and stems",
    "model": "Models, runtimes and devices",
    "machine": "This machine and this program",
    "daemon": "The daemon",
    "wire": "The wire: what a client sent",
    "kernel": "The C kernel",
}


def page() -> str:
    lines = [HEAD]
    for where, title in WHERE.items():
        lines += [f"## {title}", "", "| code | meaning |", "|---|---|"]
        for word, code in CODES.items():
            if code.where == where:
                end = "; the connection is closed" if code.closes else ""
                lines.append(f"| `{word}` | {code.meaning}{end} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
