"""Repack an sdist so that the same sources give the same bytes.

setuptools stamps PKG-INFO, folders and setup.cfg with the time of the build, and the
builder's name and number.  Here every entry has $SOURCE_DATE_EPOCH, nobody's name and
one of two modes, in the order of names.

    SOURCE_DATE_EPOCH=... python tools/ci/repack_sdist.py FILE.tar.gz
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import tarfile
from pathlib import Path


def repack(path: Path, seconds: int) -> None:
    """Replace a .tar.gz by one without traces of its builder."""
    packed = io.BytesIO()
    with (
        tarfile.open(path) as before,
        # No name and no time in gzip's header either.
        gzip.GzipFile("", "wb", 9, packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before.getmembers(), key=lambda m: m.name):
            after.addfile(_plain(member, seconds), before.extractfile(member))
    part = path.with_name(path.name + ".part")
    part.write_bytes(packed.getvalue())
    part.replace(path)


def _plain(member: tarfile.TarInfo, seconds: int) -> tarfile.TarInfo:
    """Describe a member by what it is: a name, a kind, a size, may it be run."""
    plain = tarfile.TarInfo(member.name)
    plain.type, plain.linkname, plain.size = member.type, member.linkname, member.size
    plain.mtime = seconds
    plain.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return plain


if __name__ == "__main__":
    repack(Path(sys.argv[1]), int(os.environ["SOURCE_DATE_EPOCH"]))
