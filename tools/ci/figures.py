"""Write docs/figures.json: every figure that a page may quote.

python -m tools.ci.figures > docs/figures.json

SDR comes from the models' sidecars, latency from their geometry, and what was
measured by hand from docs/measured.json, with its command and kind of machine.
tests/house/test_figures.py refuses pages that quote others.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from edgestem.network.geometry import Geometry
from edgestem.network.reading import available_models
from edgestem.network.sidecar import ModelConfig

DOCS = Path(__file__).parents[2] / "docs"
MODELS = ("karaoke", "fast", "best", "stage", "monitor", "live")
RATES = (44_100, 48_000)
_PAIR = re.compile(r"vocals (-?\d+\.\d+), instrumental (-?\d+\.\d+)")
# Of a sidecar that has one pair: whose mean it is.
_HALVES = ("checking", "choosing")

Pairs = dict[str, list[float]]


def collect() -> dict[str, Any]:
    """Gather all figures."""
    measured = json.loads((DOCS / "measured.json").read_text())
    configs = {config.name: config for config in available_models()}
    assert set(configs) == set(MODELS), sorted(configs)
    sdr: dict[str, Pairs] = {}
    for name in MODELS:
        for system, pairs in halves(configs[name]).items():
            sdr.setdefault(system, {}).update(pairs)
    sdr |= measured.pop("sdr", {})
    return {
        "about": "SDR of whole songs, dB, [vocals, instrumental]: checking is the "
        "mean of the six songs that chose nothing, choosing that of the seven with "
        "which constants were chosen. Made by `python -m tools.ci.figures`.",
        "sdr": sdr,
        "latency": {name: latency(configs[name]) for name in MODELS},
        "measured": measured,
    }


def halves(config: ModelConfig) -> dict[str, Pairs]:
    """Read a sidecar's figures: system -> half -> [vocals, instrumental]."""
    found: dict[str, Pairs] = {}
    for key, text in config.figures.items():
        pairs = [[float(a), float(b)] for a, b in _PAIR.findall(str(text))]
        if not pairs:
            continue
        names = _HALVES if len(pairs) == 2 else _HALVES[1:]
        system = config.name if key.startswith("edgestem ") else key
        found[system] = dict(zip(names, pairs, strict=True))
    return found


def latency(config: ModelConfig) -> dict[str, float]:
    """How late a model is at the usual rates."""
    found: dict[str, float] = {}
    for rate in RATES:
        n = Geometry.of(config, rate).latency_samples
        found["samples" if rate == RATES[0] else f"samples_at_{rate}"] = n
        found[f"ms_at_{rate}"] = round(1000 * n / rate, 2)
    return found


def page() -> str:
    text = json.dumps(collect(), indent=1)
    # Short lists on one line: a figure is a line.
    return re.sub(r"\[\s+([^\[\]{}]+?)\s+\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]"


if __name__ == "__main__":
    print(page(), end="")
