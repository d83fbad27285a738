"""What tools.judge.evaluate says of two halves of the dev songs, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra edgestem[train]")

from pathlib import Path

from tools.judge import halves
from tools.judge.evaluate import Kept, evaluate

SONGS = ("Caesium", "new-a", "piano-trio", "new-b", "new-c")


def scores(leads: tuple[float, ...]) -> halves.Scores:
    ours = {n: {"sdr": [2.0, 10.0 + d]} for n, d in zip(SONGS, leads, strict=True)}
    peer = {n: {"sdr": [1.0, 10.0]} for n in SONGS}
    return {"edgestem x int8": ours, halves.PEER: peer}


def test_songs_that_chose_nothing_come_first_and_apart() -> None:
    found = halves.halves(SONGS)
    assert list(found) == ["chose nothing", "chose"]
    assert found["chose nothing"] == ["new-a", "new-b", "new-c"]
    assert set(halves.halves(["new-a"])) == {"chose nothing"}


def test_a_row_has_the_mean_its_interval_and_the_worst() -> None:
    rows = halves.rows(scores((1.0, 0.5, 3.0, -0.2, 0.3)))
    assert [row[1] for row in rows] == ["3 that chose nothing", "2 that chose"]
    assert rows[0][3].startswith("+0.20 (-0.20 to +0.50), 2 of 3 better, worst -0.20")
    assert rows[1][3].startswith("+2.00 (+1.00 to +3.00), 2 of 2 better, worst +1.00")


def test_an_interval_holds_the_mean_and_narrows_with_songs() -> None:
    rng = np.random.default_rng(1)
    few, many = rng.normal(0.5, 1, 8), rng.normal(0.5, 1, 200)
    for values in (few, many):
        low, high = halves.interval(values)
        assert low < values.mean() < high
    assert np.diff(halves.interval(many)) < np.diff(halves.interval(few)) / 2


def test_figures_of_a_sidecar_name_the_halves_and_the_lead() -> None:
    found = halves.figures(scores((1.0, 0.5, 3.0, -0.2, 0.3)))
    assert "of the 3 that chose nothing, then of the 2 that chose" in found["SDR"]
    assert found["edgestem x int8"] == (
        "vocals 2.00, instrumental 10.20; vocals 2.00, instrumental 12.00"
    )
    assert "+0.20" in found[f"instrumental minus {halves.PEER}"]


def test_an_interrupted_run_goes_on_with_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(0, 0.1, (3 * 44100, 2)).astype(np.float32)
    monkeypatch.setattr(
        "tools.judge.evaluate.mixtures", lambda root: [("a", x, x / 2, x / 2)]
    )
    calls = []

    def system(mixture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(1)
        return mixture / 2, mixture / 2

    def run(version: str) -> halves.Scores:
        return evaluate(tmp_path, {"s": system}, Kept(tmp_path, {"s": version}))

    first, again = run("1"), run("1")
    assert first == again and len(calls) == 1
    run("2")  # another model of that name is another system
    assert len(calls) == 2
