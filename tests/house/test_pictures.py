"""The picture of README is drawn from its table, and is well-formed."""

from __future__ import annotations

import xml.dom.minidom
from pathlib import Path

from tools.ci.flow import page

ROOT = Path(__file__).parents[2]


def test_the_picture_is_drawn_from_its_table() -> None:
    text = (ROOT / "docs/flow.svg").read_text()
    assert text == page(), "python -m tools.ci.flow > docs/flow.svg"
    xml.dom.minidom.parseString(text)
    assert "docs/flow.svg" in (ROOT / "README.md").read_text()
