"""docs/shell.md and the manual's pages are made from the parsers, and are in order."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgestem.files.output import FileReport
from edgestem.files.verify import Residual
from tools.ci import man_pages
from tools.ci.commands import commands, exit_statuses
from tools.ci.shell_page import SEPARATE, VERIFY, page

ROOT = Path(__file__).parents[2]
PAGES = man_pages.pages()
MACROS = {"TH", "SH", "PP", "TP", "B", "I", "BR", "RI", "RS", "RE", "nf", "fi"}


def test_the_page_is_made_from_the_parsers() -> None:
    text = (ROOT / "docs/shell.md").read_text()
    assert text == page(), "python -m tools.ci.shell_page > docs/shell.md"


def test_records_have_the_fields_that_the_page_names() -> None:
    fields = {field.name for field in dataclasses.fields(FileReport)}
    assert set(SEPARATE) == fields | {"seconds", "rtf"}
    fields = {field.name for field in dataclasses.fields(Residual)}
    assert set(VERIFY) == fields | {"is_exact"}


def test_every_exit_status_is_found() -> None:
    numbers = [number for number, _ in exit_statuses()]
    assert numbers == ["0", "1", "2", "130", "143", "129", "141"]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_manual_is_in_order(name: str, tmp_path: Path) -> None:
    text = PAGES[name]
    used = set(re.findall(r"^\.(\w+)", text, re.MULTILINE))
    assert used <= MACROS
    if shutil.which("groff"):
        path = tmp_path / name
        path.write_text(text)
        line = ["groff", "-man", "-ww", "-Tutf8", "-z", str(path)]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert done.stderr == ""


def test_the_manual_has_a_page_for_every_program_and_command() -> None:
    names = {f"edgestem-{command.name}.1" for command in commands()}
    table = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    programs = re.findall(r"^([\w-]+) = ", table.partition("\n\n")[0], re.MULTILINE)
    assert len(programs) == 2
    assert set(PAGES) == names | {f"{program}.1" for program in programs}
