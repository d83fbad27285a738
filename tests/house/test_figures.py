"""Pages quote the SDR and the latency that docs/figures.json holds, and no others.

Strict where a figure can only be one: pairs "6.29 / 12.05" in a paragraph or table
that speaks of SDR, columns headed SDR or latency, "N samples late".  Differences
("+0.39", "1.5 dB behind") and other units are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.ci.figures import page

ROOT = Path(__file__).parents[2]
FIGURES: dict[str, Any] = json.loads((ROOT / "docs/figures.json").read_text())
PAGES = [
    ROOT / "README.md",
    ROOT / "models/MODEL_CARD.md",
    *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != "evaluation.md"),
]
PAIR = re.compile(r"(?<![\d./+])(-?\d+\.\d\d)\s*/\s*(-?\d+\.\d\d)(?![\d/]|\s*/)")
SDR = re.compile(r"(?<![\d.+-])(-?\d+\.\d\d)(?!\d)")
ALONE = re.compile(r"(?<![\d.+/-])(\d+\.\d\d) dB\b")  # in prose
LATE = (
    re.compile(r"(\d[\d,.]*)\s+(samples|ms|s)\s+late\b"),
    re.compile(r"\blatency(?:\s+(?:of|is))?:?\s+(\d[\d,.]*)\s+(samples|ms|s)\b"),
    re.compile(r"\b(\d[\d,.]*)\s+(samples|ms|s)\s+of\s+latency\b"),
)
TIME = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s*(samples|ms|s)?\b")
LEAST_SDR = 3.0  # dB: below that a number in prose may be a difference


def blocks(text: str) -> list[str]:
    """Cut a page at empty lines; code is left out."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [block for block in re.split(r"\n\s*\n", text) if block.strip()]


def tables(text: str) -> Iterator[tuple[str, str]]:
    """Yield (head, cell) of every table."""
    for block in blocks(text):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        rows = [[c.strip() for c in line.strip("| ").split(" | ")] for line in lines]
        for row in rows[2:]:
            yield from zip(rows[0], row, strict=False)


def pairs() -> set[tuple[float, float]]:
    return {tuple(p) for halves in FIGURES["sdr"].values() for p in halves.values()}


def times() -> dict[str, set[float]]:
    """Unit -> every latency there is."""
    found: dict[str, set[float]] = {"samples": set(), "ms": set()}
    measured = [one["value"] for one in FIGURES["measured"]["latency"].values()]
    for one in [*FIGURES["latency"].values(), *measured]:
        for key, value in one.items():
            unit = key.split("_")[0]
            found[unit] |= set(value) if isinstance(value, list) else {value}
    found["s"] = {ms / 1000 for ms in found["ms"]}
    return found


def is_known_time(number: str, unit: str) -> bool:
    """Whether a latency, as far as it is written out, is one of ours."""
    n_places = len(number.partition(".")[2])
    value = float(number.replace(",", ""))
    step = 0.51 * 10.0**-n_places
    return any(abs(value - known) <= step for known in times()[unit])


def strange_sdr(text: str) -> set[str]:
    known = pairs()
    values = {value for pair in known for value in pair}
    found = set()
    for block in blocks(text):
        if "SDR" not in block:
            continue
        found |= {m[0] for m in PAIR.finditer(block) if _pair(m) not in known}
        for m in ALONE.finditer(block):
            if float(m[1]) >= LEAST_SDR and float(m[1]) not in values:
                found.add(m[0])
    for head, cell in tables(text):
        if "SDR" in head:
            found |= {m for m in SDR.findall(cell) if float(m) not in values}
    return found


def _pair(found: re.Match[str]) -> tuple[float, float]:
    return float(found[1]), float(found[2])


def strange_latency(text: str) -> set[str]:
    found = set()
    for block in blocks(text):
        for pattern in LATE:
            for m in pattern.finditer(block):
                if not is_known_time(m[1].rstrip(".,"), m[2]):
                    found.add(m[0])
    cells = [cell for head, cell in tables(text) if "latency" in head.lower()]
    for number, unit in TIME.findall("; ".join(cells)):
        if unit and not is_known_time(number, unit):
            found.add(f"{number} {unit}")
    return found


def test_the_file_is_made_from_sidecars_and_geometry() -> None:
    text = (ROOT / "docs/figures.json").read_text()
    assert text == page(), "python -m tools.ci.figures > docs/figures.json"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_quote_figures_that_are_there(path: Path) -> None:
    text = path.read_text()
    assert strange_sdr(text) == set()
    assert strange_latency(text) == set()


def numbers(text: str) -> set[float]:
    return {float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)}


def test_what_was_measured_by_hand_stands_on_a_page_as_it_is_there() -> None:
    measured = json.loads((ROOT / "docs/measured.json").read_text())
    quoted = set[float]().union(
        *(numbers(path.read_text().replace(",", "")) for path in PAGES)
    )
    for name, one in measured.items():
        if name in ("machines", "sdr"):
            continue
        for part in [one] if "value" in one else one.values():
            assert part["command"] and part["machine"], name
            values = list(part["value"].values())
            assert numbers(json.dumps(values)) - quoted == set(), name


def test_strange_figures_are_found_and_known_ones_are_not() -> None:
    karaoke = FIGURES["sdr"]["karaoke"]["checking"]
    known = f"SDR {karaoke[0]:.2f} / {karaoke[1]:.2f} dB, +0.39 dB, 0.17 dB behind"
    assert strange_sdr(known) == set()
    assert strange_sdr("SDR 1.23 / 4.56") == {"1.23 / 4.56"}
    assert strange_sdr("an SDR of 13.57 dB") == {"13.57 dB"}
    table = "| model | SDR | latency |\n|---|---|---|\n| x | 13.57 | 47 ms |"
    assert strange_sdr(table) == {"13.57"}
    assert strange_latency(table) == {"47 ms"}
    assert strange_latency("46.4 ms late, latency 2,048 samples, 4.2 s late") == set()
    assert strange_latency("2,049 samples late") == {"2,049 samples late"}
