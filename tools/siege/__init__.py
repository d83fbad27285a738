"""A daemon among strangers, for long: `tools.siege.fuzz` and `tools.siege.soak`.

Users are numbers, so none has to be made; only root has other users.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))
