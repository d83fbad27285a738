"""Every code that the package raises is in the table, and the page is the table."""

from __future__ import annotations

import re
from pathlib import Path

import edgestem
from edgestem.errors import CODES
from edgestem.native import STATUS
from tools.ci.errors_page import WHERE, page

PACKAGE = Path(edgestem.__file__).parent
# Words that were promised to programs; this list only grows.
PROMISED = [
    "bad_config",
    "bad_field",
    "bad_header",
    "bad_order",
    "bad_version",
    "cancelled",
    "device_refused",
    "es_err_abi",
    "es_err_align",
    "es_err_bands",
    "es_err_memory",
    "es_err_null",
    "es_err_simd",
    "es_err_size",
    "es_err_thresholds",
    "exists",
    "ffmpeg_missing",
    "forbidden",
    "hung_up",
    "idle",
    "internal",
    "interrupted",
    "libsndfile_missing",
    "live_missing",
    "model_mismatch",
    "model_not_found",
    "no_audio",
    "no_daemon",
    "no_job",
    "no_sound_device",
    "no_sound_server",
    "overloaded",
    "queue_full",
    "runtime_missing",
    "same_name",
    "shutting_down",
    "socket_in_use",
    "stems_differ",
    "stream_closed",
    "timeout",
    "too_large",
    "too_many_clients",
    "too_many_streams",
    "unknown_device",
    "unknown_type",
    "unreadable",
    "unsupported_channels",
    "unsupported_format",
    "unsupported_sample_rate",
    "unwritable",
    "usage",
]


def raised() -> set[str]:
    """Codes as they stand in the source."""
    sources = [path.read_text() for path in PACKAGE.rglob("*.py")]
    assert len(sources) > 60
    return {word for text in sources for word in re.findall(r'code="(\w+)"', text)}


def test_every_code_that_is_raised_is_in_the_table() -> None:
    assert raised() - set(CODES) == set()
    assert set(STATUS.values()) - set(CODES) == set()


def test_no_promised_word_has_gone() -> None:
    assert set(PROMISED) - set(CODES) == set()


def test_every_code_says_what_it_means_and_where() -> None:
    for word, code in CODES.items():
        assert re.fullmatch("[a-z_]+", word)
        assert code.meaning and not code.meaning.endswith(".")
        assert code.where in WHERE


def test_the_page_is_made_from_the_table() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "errors.md").read_text()
    assert text == page(), "python -m tools.ci.errors_page > docs/errors.md"
