"""QR codes are read by somebody else's reader."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgestem.play.doors.qr import MAX_BYTES, qr_code, to_lines


@pytest.mark.skipif(not shutil.which("zbarimg"), reason="zbar-tools is not installed")
@pytest.mark.parametrize("n", [5, 17, 32, 33, 53, 78, MAX_BYTES])
def test_a_reader_reads_it(tmp_path: Path, n: int) -> None:
    text = ("http://192.168.178.23:8766/?t=" + "aB3_-xYz" * 12)[:n]
    scale, quiet, rows = 4, 4, []
    for row in qr_code(text):
        line = [False] * quiet + row + [False] * quiet
        rows += [b"".join((b"\0" if x else b"\xff") * scale for x in line)] * scale
    width = len(rows[0])
    blank = [b"\xff" * width] * (quiet * scale)
    picture = tmp_path / "code.pgm"
    rows = blank + rows + blank
    picture.write_bytes(b"P5 %d %d 255\n" % (width, len(rows)) + b"".join(rows))
    done = subprocess.run(
        ["zbarimg", "-q", "--raw", str(picture)], capture_output=True, text=True
    )
    assert done.stdout.strip() == text


def test_the_drawing_and_the_limit() -> None:
    lines = to_lines(qr_code("http://127.0.0.1:8766/?t=x"))
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) == 29
    assert lines[0] == "█" * 29 and set("".join(lines)) <= set("█▀▄ ")
    with pytest.raises(ValueError, match="fewer"):
        qr_code("x" * (MAX_BYTES + 1))
