"""What the page says was installed where has a record, and the records agree."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tools.ci import cell as tool
from tools.ci import matrix

ROOT = Path(__file__).parents[2]
CELLS: list[dict[str, Any]] = json.loads(matrix.FILE.read_text())["cells"]
RUN = [cell for cell in CELLS if "unrun" not in cell]
# What an owner may have: (system, Python, machine), each run or marked unrun.
WANTED = [
    ("Debian 12", "3.11", "x86_64"),
    ("Debian 13", "3.13", "x86_64"),
    ("Debian 12", "3.11", "aarch64"),
    ("Debian 13", "3.13", "aarch64"),
    ("Debian 12", "3.11", "armv7l"),
    *(("", python, "x86_64") for python in ("3.10", "3.12", "3.14")),
    ("Raspberry Pi OS", "", "aarch64"),
]


def test_the_page_is_made_from_the_records() -> None:
    text = (ROOT / "docs/matrix.md").read_text()
    assert text == matrix.page(CELLS), "python -m tools.ci.matrix > docs/matrix.md"


@pytest.mark.parametrize("wanted", WANTED, ids=" ".join)
def test_no_system_is_passed_over(wanted: tuple[str, str, str]) -> None:
    system, python, machine = wanted
    assert [
        cell
        for cell in CELLS
        if cell["system"].startswith(system)
        and f"{cell['python']}.".startswith(f"{python}." if python else "")
        and cell["machine"] == machine
    ]


def test_cells_are_whole_and_each_there_once() -> None:
    keys = [matrix.key(cell) for cell in CELLS]
    assert len(set(keys)) == len(keys)
    for cell in CELLS:
        fields = {"system", "python", "machine", "runtime", "how"}
        if "unrun" not in cell:
            fields |= {"song", "first_song_s", "size_mb", "stems", "edgestem"}
            assert isinstance(cell["size_mb"], int), cell
        assert fields <= set(cell), cell


def test_one_runtime_gives_the_same_bits_wherever_it_runs() -> None:
    assert len({matrix.key(cell)[:3] for cell in RUN}) > 1
    for runtime in {cell["runtime"] for cell in RUN}:
        stems = {c["stems"] for c in RUN if c["runtime"] == runtime}
        assert len(stems) == 1, runtime


def cell(how: str, python: str = "3.11.2", **more: Any) -> dict[str, Any]:
    found = {"system": "Debian 12", "python": python, "machine": "x86_64"}
    found |= {"runtime": "r 1", "how": how, "song": "song.ogg", "first_song_s": 2.5}
    return found | {"size_mb": 60, "stems": "f00", "edgestem": "1"} | more


def test_a_record_takes_the_place_of_an_old_one_and_of_unrun(tmp_path: Path) -> None:
    old = [cell("a"), cell("b", unrun="no time"), cell("c", python="3.10")]
    log = tmp_path / "log"
    new = [cell("a", python="3.11.9", first_song_s=3.5), cell("b")]
    log.write_text("== a song\n" + "".join(f"cell: {json.dumps(c)}\n" for c in new))
    found = matrix.merged(old, matrix.records([log]))
    assert [(c["how"], c["python"]) for c in found] == [
        ("c", "3.10"), ("a", "3.11.9"), ("b", "3.11.2")
    ]  # fmt: skip
    assert not [c for c in found if "unrun" in c]
    page = matrix.page([*found, cell("d", stems="bad"), cell("e", unrun="no board")])
    assert "| a | 3.5 s | 60 MB | A |\n" in page
    assert "| d | 2.5 s | 60 MB | B |\n" in page
    assert page.endswith("| e | unrun: no board |  |  |\n")
    log.write_text("it failed\n")
    with pytest.raises(SystemExit, match="holds no record"):
        matrix.records([log])


def test_a_slow_machine_is_measured_with_one_song(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("edgestem")
    song = tmp_path / "second.wav"
    soundfile.write(song, np.zeros((4800, 2), np.int16), 48000)
    found = tool.measure(str(program), "wheel, unpacked", song, song)
    assert found["song"] == "second.wav" and found["stems"]


PROGRAM = """\
#!{python}
import json, pathlib, sys
import soundfile
word, song, out = sys.argv[1], sys.argv[2], sys.argv[-1]
if word == "info":
    names = ("python", "machine", "edgestem", "numpy", "simd")
    print(json.dumps(dict.fromkeys(names, "1") | {{"runtimes": {{"r": "1"}}}}))
elif word == "separate":
    folder = pathlib.Path(out, pathlib.Path(song).stem)
    folder.mkdir(exist_ok=True)
    for stem in ("vocals", "instrumental"):
        with soundfile.SoundFile(folder / f"{{stem}}.wav", "w", 48000, 2) as file:
            file.software = "edgestem {version}, " + stem
            file.write(soundfile.read(song)[0] + {more})
"""


def test_the_digest_is_of_what_is_heard_not_of_the_version(tmp_path: Path) -> None:
    song, program = tmp_path / "second.wav", tmp_path / "edgestem"
    soundfile.write(song, np.zeros((4800, 2), np.int16), 48000)
    found = []
    for version, more in (("1.2.dev0", 0), ("1.2", 0), ("1.2", 0.1)):
        text = PROGRAM.format(python=sys.executable, version=version, more=more)
        program.write_text(text)
        program.chmod(0o755)
        found.append(tool.measure(str(program), "wheel", song, song)["stems"])
    assert found[0] == found[1] != found[2]
