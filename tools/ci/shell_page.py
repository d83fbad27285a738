"""Write docs/shell.md from the parsers of the command line.

python -m tools.ci.shell_page > docs/shell.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tools.ci.commands import Command, commands, common_options, exit_statuses

HEAD = """\
# Shell

`edgestem COMMAND ...`. Results go to stdout, everything else to stderr. Options may
stand before or behind songs. `edgestem help COMMAND` prints what this page says;
`edgestem completion` completes words in bash, zsh and fish. The page is made from
the program: `python -m tools.ci.shell_page > docs/shell.md`.
"""
ENVIRONMENT = {
    "EDGESTEM_SOCKET": "the daemon's socket",
    "EDGESTEM_CONFIG": "the daemon's configuration, read instead of the usual files",
    "EDGESTEM_<FIELD>": "a field of it; see [edgestem.toml](edgestem.toml)",
    "XDG_RUNTIME_DIR, XDG_CONFIG_HOME, XDG_CACHE_HOME": "where a user's socket, "
    "configuration and cache are",
}
# Fields of what `--json` prints.  A test holds those of songs to the program.
SEPARATE = {
    "input": "the song's path",
    "outputs": "stem -> path",
    "sample_rate": "Hz",
    "n_channels": "of the song and of every stem",
    "n_samples": "length of the song and of every stem",
    "seconds": "the same in seconds",
    "subtype": "sample format of the stems",
    "latency_samples": "of the engine; files are compensated",
    "elapsed": "time it took, s",
    "rtf": "that, divided by the song's length",
    "n_bad_samples": "NaN and infinite values, which became silence",
    "n_adjusted_samples": "values whose vocals gave way so that both stems fit",
    "n_clipped_samples": "values beyond full scale",
    "warnings": "sentences for a person",
}
VERIFY = {
    "song": "its path",
    "folder": "where its stems are",
    "subtype": "sample format in which they were added",
    "n_samples": "length compared",
    "n_channels": "channels compared",
    "max_lsb": "greatest residual, in steps of the format; floats: of the last place",
    "max_db": "the same, dB of full scale; null: none",
    "is_lossy": "the stems' format cannot keep every bit",
    "faults": "what is wrong besides the sum",
    "warnings": "what a person should know of the song",
    "is_exact": "true: it adds up",
}
LINES = {
    "separate": 'one object a song: the fields below, `{"input": ..., "skipped": true, '
    '"outputs": ...}`, or `{"input": ..., "error": {"code": ..., "text": ...}}`. After '
    'a folder `{"summary": ...}` with the counts.',
    "verify": "one object.",
    "info": "one object: versions, `runtimes`, `fft`, `simd`, and `models`, a list "
    "with `name`, `path`, `licence`, `latency_samples`, `latencies` (rate -> samples), "
    "`figures` and more.",
    "devices": 'one object: device -> `{"reason": ...}` where it is refused, the '
    "trial's figures where it works.",
    "doctor": "a list of lines: `level` (ok, warn, fail), `topic`, `found`, `verdict`.",
    "bench": "one object: `machine`, `setup`, `seconds`, `rtf`, `stages_ms` (analysis, "
    "network, synthesis, rest, io: ms a second of audio), `hop_ms` (p50, p95, p99, "
    "max, hop), `call_share`, `peak_rss_mib`, `comparison`.",
    "lint": "a list, one object a file: `model`, `is_clean`, `operators`, "
    "`operators_on_tpu`, `mac_share_on_tpu`, `macs`, `weight_bytes`, "
    "`largest_activation_bytes`, `findings`.",
    "client": "`status`: the daemon's fields, and `details` with `sessions` and "
    "`jobs`; `models`: `details`, a list. `watch` always prints one object a line.",
}
FIELDS = {"separate": SEPARATE, "verify": VERIFY}


def page() -> str:
    found = commands()
    lines = [HEAD, "| command | |", "|---|---|"]
    lines += [f"| [`{c.name}`](#{c.name}) | {c.text} |" for c in found]
    lines += ["", "## Exit status", "", "| status | meaning |", "|---|---|"]
    lines += [f"| {number} | {meaning} |" for number, meaning in exit_statuses()]
    lines += [
        "| 3 | of `verify` alone: there is nothing to compare |",
        "",
        "An error is one line, `edgestem: error: ... [code]`; [errors.md](errors.md) "
        "lists the codes.",
        "",
        "## For every command",
        "",
        *_table((o.spelling, o.text) for o in common_options()),
        "## Environment",
        "",
        *_table(ENVIRONMENT.items()),
    ]
    for command in found:
        lines += _section(command)
    return "\n".join(lines).rstrip() + "\n"


def _section(command: Command) -> list[str]:
    usage = f"edgestem {command.name} [options] {command.words}".rstrip()
    lines = [f"## {command.name}", "", "```text", usage, "```", ""]
    lines += _prose(command.more or _sentence(command.text))
    rows = [(o.spelling, o.text) for o in command.options if o.text]
    lines += _table(rows) if rows else []
    if command.examples:
        lines += ["```text", *command.examples, "```", ""]
    if command.name in LINES:
        lines += [f"With `--json`: {LINES[command.name]}", ""]
        if command.name in FIELDS:
            lines += _table(FIELDS[command.name].items())
    return lines


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    bars = [(a.replace("|", "\\|"), b.replace("|", "\\|")) for a, b in rows]
    return ["| | |", "|---|---|", *(f"| `{a}` | {b} |" for a, b in bars), ""]


def _prose(text: str) -> list[str]:
    """Paragraphs as they are; what is indented becomes a block."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        rows = paragraph.splitlines()
        plain = [row for row in rows if not row.startswith("  ")]
        # Words in columns (`status   device, load ...`) are a block as well.
        if any(re.search(r"\S {2,}\S", row) and ". " not in row for row in rows):
            plain = [row for row in plain if not re.search(r"\w {2,}\w", row)]
        block = [row.strip() for row in rows if row not in plain]
        # A page would take <song> for its own tag.
        plain = [row.replace(".  ", ". ").replace("<", "\\<") for row in plain]
        lines += [*plain, ""] if plain else []
        lines += ["```text", *block, "```", ""] if block else []
    return lines


if __name__ == "__main__":
    print(page(), end="")
