"""The table of faults fits the sources: a piece that has moved would test nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = json.loads((ROOT / "tests" / "mutants" / "table.json").read_text())


@pytest.mark.parametrize("row", TABLE, ids=[row["what"] for row in TABLE])
def test_a_fault_has_one_place_and_tests(row: dict[str, str]) -> None:
    assert (ROOT / row["file"]).read_text().count(row["before"]) == 1
    assert row["before"] != row["after"]
    assert row["tests"] and all((ROOT / test).exists() for test in row["tests"])


def test_every_room_that_makes_sound_has_one() -> None:
    rooms = {row["room"] for row in TABLE}
    assert rooms >= {
        "catalogue", "client", "daemon", "devices", "engine", "files", "karaoke",
        "live", "native", "network", "pcm", "play", "sound", "spectrum", "wire",
    }  # fmt: skip
