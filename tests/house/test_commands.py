"""Every command that a page shows can be typed: its words exist and fit together."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgestem.cli.usage import UsageError
from edgestem.cli.words import parse

ROOT = Path(__file__).parent.parent.parent
# docs/shell.md is made from the parsers, and has a test of its own.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted(p for p in (ROOT / "docs").glob("*.md") if p.stem != "shell")
PAGES += [ROOT / "models/MODEL_CARD.md", ROOT / "examples/README.md"]
START = re.compile(r"edgestem\s|python3? -m tools\.|sh (tools|examples)/")
# Reads ["module", words ...] lines, lets each module read its words, and prints what it
# says of them.  What is not installed here is there in name only.
READ_ALL = """
import argparse, contextlib, importlib.abc, importlib.machinery, io, json, runpy, sys
import types

class Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Thing

class Thing(metaclass=Anything):
    def __init__(self, *_, **__): pass
    def __call__(self, *words, **_): return words[0] if words else self  # a decorator
    def __getattr__(self, name): return getattr(Thing, name)
    def __enter__(self): return self
    def __exit__(self, *_): pass

for word in "or add sub mul truediv floordiv pow matmul".split():
    for name in (f"__{word}__", f"__r{word}__"):
        setattr(Anything, name, lambda *_: Thing)
        setattr(Thing, name, lambda *_: Thing())
for name in ("__neg__", "__getitem__", "__setitem__"):
    setattr(Anything, name, lambda *_: Thing)
    setattr(Thing, name, lambda *_: Thing())

HEAVY = {"torch", "scipy", "pyfftw", "matplotlib"}  # also where they are installed

class Nobody(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, names=None):
        self.names = names
    def find_spec(self, name, path, target=None):
        first = name.split(".")[0]
        if first in ("tools", "edgestem") or (self.names and first not in self.names):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: getattr(Thing, name)
        module.__path__ = []
        return module
    def exec_module(self, module):
        pass

sys.meta_path[:] = [Nobody(HEAVY), *sys.meta_path, Nobody()]
real = argparse.ArgumentParser.parse_args
def parse_args(parser, *words):
    real(parser, *words)
    raise SystemExit("read")
argparse.ArgumentParser.parse_args = parse_args
for line in sys.stdin:
    sys.argv = json.loads(line)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        status = "read no words"
    except SystemExit as end:
        status = "read" if end.code in ("read", 0) else said.getvalue()
    except BaseException as error:
        status = repr(error)
    print(json.dumps(status), flush=True)
"""


def shown() -> list[tuple[str, str]]:
    """(page, command) for lines of blocks, and for `code` within the text."""
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text()).replace("\\|", "|")
        for name, value in re.findall(r'^([A-Z]+)="(.*)"$', text, re.M):
            text = text.replace(f"${name}", value)
        is_block = False
        for line in text.splitlines():
            is_block ^= line.startswith("```")
            codes = [line] if is_block else re.findall(r"`([^`]+)`", line)
            commands = [c for code in codes for c in split(code)]
            found += [(page.name, c) for c in commands if START.match(c)]
    return found


def split(code: str) -> list[str]:
    """Cut a line into its commands; what stands far behind is an explanation."""
    code = re.split(r"\s#\s|\s{3,}", code.strip().removeprefix("$ "))[0]
    code = re.sub(r"^(/usr/bin/time -v|pw-jack|sudo)\s+", "", code)
    parts = [part.strip() for part in re.split(r"\||&&|;", code)]
    return [re.sub(r"\s*>\s*\S+", "", part) for part in parts]


def is_part(words: list[str], complaint: str) -> bool:
    """Say whether words are only missing because a page names a command, or says ..."""
    return "required" in complaint and (len(words) == 1 or "..." in words)


SHOWN = shown()
OURS = [(w, c) for w, c in SHOWN if c.split()[0] == "edgestem"]
MODULES = [(w, c) for w, c in SHOWN if c.startswith("python")]
SCRIPTS = [(w, c) for w, c in SHOWN if c.startswith("sh ")]


def test_pages_show_commands() -> None:
    assert len(OURS) > 20 and len(MODULES) > 20 and len(SCRIPTS) > 3


@pytest.mark.parametrize(("where", "command"), OURS)
def test_words_of_edgestem(where: str, command: str) -> None:
    words = shlex.split(command)[1:]
    try:
        parse(words)
    except UsageError as error:
        assert is_part(words, str(error)), f"{where}: {command}: {error}"


def read_words(lines: list[list[str]]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL],
        input="".join(json.dumps(words) + "\n" for words in lines),
        capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.count("\n") == len(lines), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def takes_words(module: str) -> bool:
    """Say whether a tool has a parser; what makes a page prints it, and that is all."""
    path = (ROOT / module.replace(".", "/")).with_suffix(".py")
    return not module.startswith("tools.ci.") or "argparse" in path.read_text()


def test_words_of_tools() -> None:
    every = {command: shlex.split(command)[2:] for _, command in MODULES}
    lines = {c: words for c, words in every.items() if takes_words(words[0])}
    without = {words[0]: words[1:] for c, words in every.items() if c not in lines}
    # A folder, at most.
    assert not {m: words for m, words in without.items() if len(words) > 1}
    said = read_words(list(lines.values()))
    wrong = {
        command: text
        for (command, words), text in zip(lines.items(), said, strict=True)
        if text != "read" and not is_part(words, text)
    }
    assert not wrong


@pytest.mark.parametrize(("where", "command"), SCRIPTS)
def test_scripts_are_there(where: str, command: str) -> None:
    script = ROOT / shlex.split(command)[1]
    assert script.is_file(), where
    subprocess.run(["sh", "-n", script], check=True)


def measured(found: object) -> Iterator[str]:
    """Every command of docs/measured.json."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from [value] if key == "command" else measured(value)


def test_commands_of_measured_figures_fit() -> None:
    found = set(measured(json.loads((ROOT / "docs/measured.json").read_text())))
    lines = [shlex.split(c)[2:] for c in found if c.startswith("python -m")]
    assert len(lines) > 4
    for words, text in zip(lines, read_words(lines), strict=True):
        assert text == "read" or is_part(words, text), words


def test_files_that_pages_name_are_there() -> None:
    place = r"(?:docs|tools|models|examples|native|edgestem|tests)/[\w./-]*\w"
    for page in PAGES:
        for name in re.findall(rf"`({place})`", page.read_text()):
            if "NAME" in name:  # any
                continue
            there = [ROOT / name, page.parent / name, ROOT / f"{name}.py"]
            assert any(path.exists() for path in there), f"{page.name}: {name}"
    for page, command in SHOWN:
        for word in shlex.split(command)[1:]:
            if re.match(r"(examples|tools|docs)/", word):
                assert (ROOT / word).exists(), f"{page}: {word}"


@pytest.mark.parametrize(
    ("missing", "module", "extra"),
    [
        ("pyfftw", "tools.bench.spectral", "fftw"),
        ("torch", "tools.export.block", "train"),
    ],
)
def test_a_tool_that_lacks_a_package_says_which_extra_brings_it(
    missing: str, module: str, extra: str
) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None; sys.argv = ['-m']\n"
        f"runpy.run_module({module!r}, run_name='__main__')"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)
    said = f'{missing} is not installed: pip install -e ".[{extra}]"\n'
    assert (done.returncode, done.stderr) == (1, said)
