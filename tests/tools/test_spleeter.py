"""Where the weights come from that every model descends from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.teach import spleeter

CARD = Path(__file__).parent.parent.parent / "models" / "MODEL_CARD.md"


def test_other_weights_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.data-00000-of-00001"
    weights.write_bytes(b"weights of somebody else")
    with pytest.raises(SystemExit, match="not the weights that the models came from"):
        spleeter.check(weights)


def test_the_model_card_names_package_and_weights() -> None:
    card = CARD.read_text()
    assert spleeter.SHA256 in card
    name, version = spleeter.PACKAGE.split("==")
    assert f"`{name}` {version}" in card
