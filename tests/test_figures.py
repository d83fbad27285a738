"""Figures of quality on every page are those of the sidecars, by tools.evaluate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgestem.geometry import Geometry
from edgestem.model import available_models

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODELS = {config.name: config for config in available_models()}
NUMBER = r"-?\d+\.\d+"
PEERS = {  # README's row -> the sidecars' name for it
    "Spleeter 2stems, float": "Spleeter 2stems float",
    "the same in int8": "Spleeter 2stems int8",
    "centre cancellation": "centre cancellation",
    "the mixture as it is": "mixture as it is",
    "ideal ratio mask": "ideal ratio mask",
}


def means(figures: dict[str, str], row: str) -> list[str]:
    """Mean SDR of vocals and instrumental."""
    return re.findall(NUMBER, figures[row])


def own(name: str) -> list[str]:
    return means(MODELS[name].figures, f"edgestem {name} int8")


def row_of(page: str, start: str) -> list[str]:
    """Find the numbers of a table's row."""
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return re.findall(NUMBER, line.split("|", 2)[2])


@pytest.mark.parametrize("name", MODELS)
def test_all_sidecars_agree_with_the_page_of_the_evaluation(name: str) -> None:
    page = (ROOT / "docs/evaluation.md").read_text().split("## ")[0]
    for row in MODELS[name].figures:
        if row != "SDR":
            numbers = row_of(page, f"{row} |")[:2]
            assert means(MODELS[name].figures, row) == numbers, row


@pytest.mark.parametrize("name", MODELS)
def test_other_pages_say_the_same(name: str) -> None:
    vocals, instrumental = own(name)
    assert f"{vocals} / {instrumental}" in README.replace("; ", " ")
    card = (ROOT / "models/MODEL_CARD.md").read_text()
    assert f"{vocals} / {instrumental}" in card
    live = row_of((ROOT / "docs/live.md").read_text(), f"`{name}`")
    assert instrumental in live or name == "best"


def test_readme_tells_of_the_others_what_was_measured() -> None:
    figures = MODELS["karaoke"].figures
    for row, name in PEERS.items():
        assert row_of(README, row) == means(figures, name), row


def test_readme_compares_rightly() -> None:
    text = " ".join(README.split())
    peer = float(means(MODELS["karaoke"].figures, "Spleeter 2stems float")[1])
    for name, said in (
        ("karaoke", r"by (0\.\d+) dB in the instrumental"),
        ("fast", r"still (0\.\d+) dB above Spleeter"),
        ("best", r"four times, is (0\.\d+) dB above"),
        ("live", r"`live` is (\d\.\d) dB behind Spleeter"),
        ("stage", r"`stage` (0\.\d) dB"),
        ("monitor", r"`monitor` (0\.\d) dB"),
    ):
        found = re.search(said, text)
        assert found, name
        rounding = 0.011 if len(found[1]) == len("0.00") else 0.051
        distance = abs(float(own(name)[1]) - peer)
        assert abs(distance - float(found[1])) <= rounding, name


def test_latencies_are_those_of_the_models() -> None:
    (line,) = [line for line in README.splitlines() if line.startswith("| latency at")]
    for name in ("karaoke", "stage", "live", "monitor"):
        late = Geometry.of(MODELS[name], 44100).latency_samples
        assert f"`{name}`" in line and f"{late:,}" in line


def test_every_figure_names_its_command() -> None:
    table = README.split("## Figures")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    for row in rows:
        last = row.rstrip("| ").rsplit("|", 1)[1].strip()
        assert last == '"' or last.startswith("`"), row


def test_references_of_the_benchmark_can_be_read() -> None:
    for path in (ROOT / "docs/benchmarks").glob("*.json"):
        assert json.loads(path.read_text())["rtf"] > 0
