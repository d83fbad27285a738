"""Which licence a source of the pool is under, and of which family that is."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from pathlib import Path

# Families of licences; "custom" are the voice banks' own permissive terms.
ALLOWED = (
    "cc0",
    "cc-by",
    "cc-by-sa",
    "mit",
    "public-domain",
    "bsd",
    "apache",
    "custom",
)

# Packages whose copyright file is prose; read by hand.
PROSE_LICENCES = {
    "fretsonfire-songs-muldjord": "CC-BY-SA-3.0",
    "fretsonfire-songs-sectoid": "MIT",
    "openclonk-data": "CC-BY-3.0",
    "singularity-music": "CC-BY-SA-3.0",
}
SHARED_LICENCES = {
    "everything-is-free": "CC0-1.0",
    "hitsuboku-kumi": "custom permissive (Cubialpha, Hitsuboku Kumi)",
    "scottpoid": "custom permissive (Scott, SCOTTPOID)",
    "vocobox": "MIT",
    "vocadito": "CC-BY-4.0",
    "tannerhelland": "CC-BY-4.0",
    "house-vocals": "CC0-1.0",
    "trance-phrases": "CC0-1.0",
    "dance-shouts": "CC0-1.0",
}


def family(licence: str) -> str:
    """`CC-BY-SA-3.0+` -> `cc-by-sa`; '' for what we know nothing of or refuse."""
    words = licence.lower()
    if re.search(r"\bn[cd]\b|sampling", words):
        return ""
    for name in ("gpl", "cc0", "cc-by-sa", "cc-by", "mit", "bsd", "apache", "custom"):
        if name in words:
            return name
    if "expat" in words:
        return "mit"
    return "public-domain" if "public" in words or words == "pd" else ""


def package_licences(root: Path, package: str) -> Callable[[str], str]:
    """Return a function: path inside the package -> licence name, or ''."""
    if package in PROSE_LICENCES:
        return lambda path: PROSE_LICENCES[package]
    from debian.copyright import Copyright

    text = (root / f"usr/share/doc/{package}/copyright").read_text(errors="replace")
    copyright_file = Copyright(text.splitlines(), strict=False)

    def lookup(path: str) -> str:
        # The stanzas name source paths; installed ones end the same way.
        found = ""
        for stanza in copyright_file.all_files_paragraphs():
            for pattern in stanza.files:
                if pattern == "*" or fnmatch.fnmatch(path, f"*{pattern.lstrip('./')}"):
                    found = stanza.license.synopsis if stanza.license else ""
        return found

    return lookup
