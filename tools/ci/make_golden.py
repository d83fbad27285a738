"""Write tests/data/golden.json anew: bits and SDR of every model and runtime here.

    python -m tools.ci.make_golden [MODEL...]

Lines of other machines and runtimes stay, except those of the models named: what
changes a model on purpose makes their old bits worthless.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))

import golden

from edgestem import Separator
from edgestem.network.runtime import installed


def main(names: list[str]) -> None:
    table = {"bits": {}, "sdr": {}}
    if golden.TABLE.exists():
        table = json.loads(golden.TABLE.read_text())
    changed = tuple(f"{name}{end}" for name in names for end in (",", " in mono,"))
    kept = {
        k: v for k, v in table["bits"].items() if not k.startswith(changed or ("?",))
    }
    for key, model, n_channels in golden.rows(installed()):
        if names and model not in names:
            continue
        runtime = key.split(", ")[1].split()[0]
        separator = Separator(
            golden.RATE, n_channels, model=model, runtime=runtime, device="cpu"
        )
        stems = golden.in_blocks(separator, golden.clip(model, n_channels), 4099)
        kept[key] = golden.digest(stems)
        print(key, kept[key], flush=True)
    for model in names or golden.MODELS:
        found = golden.known_sdr(model, next(iter(installed())))
        table["sdr"][model] = [round(value, 3) for value in found]
        print(model, table["sdr"][model], flush=True)
    table["bits"] = dict(sorted(kept.items()))
    golden.TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
