"""Tags that users name themselves: MOOD, OCCASION, what their players show.

Left behind are those that say of the file or the recording what is not true of a stem:
lengths, gaps, fingerprints, numbers, and the programs that made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

OWN = "own:"  # how the names of such tags begin among `extras`
MAX_OWN, MAX_OWN_TEXT = 64, 1000  # tags, and characters of one: notes, not pictures
_NAME = re.compile(r"[\x20-\x3c\x3e-\x7d]{1,64}")  # what a vorbis comment may be called
# What libsndfile carries, under all of its names, and what is of this file alone.
_CARRIED = frozenset(
    "title artist artists album date year tracknumber track tracktotal totaltracks "  # noqa: SIM905
    "genre comment description copyright license software encoder encoded_by "
    "encoded-by encodedby metadata_block_picture coverart disctotal totaldiscs "
    "major_brand minor_version compatible_brands creation_time vendor length tlen "
    "isrc tsrc barcode cuesheet".split()
)
_FOREIGN = re.compile(
    "musicbrainz|acoustid|fingerprint|accuraterip|itun|encod|replaygain|r128|serato|"
    "traktor|discid|coverart|waveformat",
)


def is_own_name(name: str) -> bool:
    """Say whether a tag of this name is carried over as it is."""
    folded = name.lower()
    known = folded in _CARRIED or _FOREIGN.match(folded)
    return bool(_NAME.fullmatch(name)) and not known


def own_of(found: Mapping[str, str]) -> dict[str, str]:
    """Choose the user's own tags, without `OWN`; of two spellings the first."""
    own: dict[str, tuple[str, str]] = {}
    for name, text in found.items():
        bare = name.removeprefix(OWN)
        if bare != name and is_own_name(bare):
            own.setdefault(bare.lower(), (bare, text))
    return dict(sorted(own.values()))
