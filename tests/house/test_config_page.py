"""docs/edgestem.toml has every field of the daemon's configuration at its default."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgestem.daemon.system.config import DaemonConfig, load_config
from tools.ci.config_page import page

PATH = Path(__file__).parents[2] / "docs" / "edgestem.toml"


def test_the_page_is_made_from_the_fields() -> None:
    assert PATH.read_text() == page(), (
        "python -m tools.ci.config_page > docs/edgestem.toml"
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no TOML reader before 3.11")
def test_it_loads_and_is_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDGESTEM_")]:
        monkeypatch.delenv(name)
    assert load_config(str(PATH)) == DaemonConfig()
