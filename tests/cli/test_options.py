"""The words of the command line: nonsense is a usage error, a typo is understood."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgestem.cli import values
from edgestem.cli.completion import SHELLS, script
from edgestem.cli.usage import UsageError
from edgestem.cli.words import make_parser, parse
from edgestem.daemon.system.config import ConfigError, DaemonConfig
from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.network.choices import MAX_THREADS

TINY = str(Path(__file__).parent.parent / "data" / "tiny.tflite")
NONSENSE = (
    *("", " ", "-", "--", "x", "nan", "-nan", "inf", "-inf", "1e15", "-1", "0", "1e-9"),
    *("9" * 30, "9" * 5000, "-" + "9" * 30, "١٢", "0x10", "1_0", "\udcff", "a\nb"),
    *("a" * 300, "/", ".", "/dev/null", "/proc/nope/x", "~", "%s", "=", "é", "--json"),
)
COMMANDS = {
    "separate": ["separate", "gone.wav"],
    "stream": ["stream", "--model", TINY],
    "verify": ["verify", "gone", "gone.wav"],
    "devices": ["devices", "--model", "gone.tflite"],
    "lint": ["lint", "gone.tflite"],
    "client": ["client", "status", "--socket", "gone"],
    "completion": ["completion", "bash"],
}
# Runs for each line of argv in a file, in one process: starting Python takes longer
# than all of it.  What would run long gets words that nobody hears.
RUN_ALL = """
import contextlib, io, json, os, sys
from edgestem.cli.main import main
for line in open(sys.argv[1]):
    words = json.loads(line)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try: status = main(words)
        except BaseException as error: status = f"{type(error).__name__}: {error}"
    sys.__stdout__.write(json.dumps([words, status, said.getvalue()]) + "\\n")
"""


def options_of(command: str) -> list[argparse.Action]:
    (commands,) = (
        a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)
    )
    return [a for a in commands.choices[command]._actions if a.option_strings]


def trials() -> list[list[str]]:
    """Every option of every command with every nonsense, where it is quick to try."""
    found = []
    for command, words in COMMANDS.items():
        for action in options_of(command):
            name = action.option_strings[-1]
            if action.nargs == 0:
                found.append([*words, name])
                found.append([*words, f"{name}=x"])
                continue
            for i, value in enumerate(NONSENSE):
                n = action.nargs if isinstance(action.nargs, int) else 1
                is_joined = i % 2 and n == 1
                more = [f"{name}={value}"] if is_joined else [name, *[value] * n]
                found.append([*words, *more])
    return [w for w in found if not {"--jack", "--alsa", "--debug"} & {*w}]


def test_no_word_of_the_user_is_a_bug(tmp_path: Path) -> None:
    """Each ends with 0, 1, 2 (verify: 3) and one sentence unless it is 0."""
    (tmp_path / "all").write_text("".join(json.dumps(w) + "\n" for w in trials()))
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", RUN_ALL, "all"], cwd=tmp_path, env=env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
        check=True,
    )  # fmt: skip
    lines = result.stdout.splitlines()
    assert len(lines) == len(trials()) > 500
    for line in lines:
        words, status, said = json.loads(line)
        assert status in (0, 1, 2, 3), (words, status, said)
        assert "a bug" not in said and "Traceback" not in said, (words, said)
        errors = [s for s in said.splitlines() if s.startswith("edgestem: error: ")]
        assert len(errors) == (status != 0), (words, status, said)


@pytest.mark.parametrize(
    "words",
    [
        ("separate", "a.wav", "--threads", "100000"),
        ("separate", "a.wav", "--threads", "99999999999"),
        ("stream", "--threads", "-3"),
        ("stream", "--cpu", "-1"),
        ("stream", "--cpu", "1" + "0" * 20),
        ("stream", "--rate", "1"),
        ("bench", "--threads", "0"),
        ("bench", "--threads", "65"),
        ("bench", "--seconds", "0"),
        ("bench", "--seconds", "-1"),
        ("bench", "--seconds", "nan"),
        ("bench", "--runtime", "foo"),
        ("separate", "a.wav", "--vocals-db", "nan"),
        ("separate", "a.wav", "--vocals-db", "inf"),
        ("separate", "a.wav", "--vocals-db", "21"),
        ("separate", "a.wav", "--force", "--skip-existing"),
        ("separate", "a.wav", "--model", ""),
        ("stream", "--jack", "--name", "x" * 64),
    ],
)
def test_numbers_have_bounds(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"see edgestem {words[0]} --help"):
        parse(words)


@pytest.mark.parametrize("slack", ["nan", "inf", "1e15", "-1"])
def test_a_stream_writes_nothing_before_all_is_checked(run, write_song, slack) -> None:
    with write_song().open("rb") as song:
        result = run("stream", "--model", TINY, "--slack", slack, stdin=song)
    assert (result.returncode, result.stdout) == (2, "")
    no_device = ("--device", "delegate:/nope.so", "--no-fallback")
    for words in (("--model", "nope"), no_device):
        with write_song().open("rb") as song:
            result = run("stream", *words, stdin=song)
        assert (result.returncode, result.stdout) == (1, "")


def test_an_empty_stdin_of_a_stream_is_said(run) -> None:
    result = run("stream", "--model", TINY, input="")
    assert (result.returncode, result.stdout) == (1, "")
    assert "stdin is empty" in result.stderr


@pytest.mark.parametrize("command", ["separate a.wav", "stream"])
@pytest.mark.parametrize("words", ["--vocals-db -inf", "--vocals-db=-inf",
                                   "--vocals-db -Infinity"])  # fmt: skip
def test_silent_vocals_have_one_grammar(command: str, words: str) -> None:
    level = parse(f"{command} {words}".split()).vocals_db
    assert level in (-math.inf, -100.0)
    assert parse(f"{command} --vocals-db -1e1".split()).vocals_db == -10


def test_karaoke_without_vocals_is_the_instrumental(run, write_song, tmp_path) -> None:
    song = write_song(subtype="PCM_24")
    assert run("separate", song, "-o", "x", "--vocals-db", "-inf").returncode == 0
    files = [tmp_path / f"x/song/{n}.wav" for n in ("karaoke", "instrumental")]
    assert np.array_equal(*(soundfile.read(file, dtype="int32")[0] for file in files))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("seperate a.wav", "(did you mean separate?); "),
        ("separate a --formt flac", "(did you mean --format?); see edgestem separate"),
        ("separate -x", "there is no option -x; see edgestem separate --help"),
        ("separate a.wav --only vocal", "did you mean vocals?"),
        ("stream --vocal-db 3", "(did you mean --vocals-db?); see edgestem stream"),
        ("info --jsno", "did you mean --json?"),
        ("separate a --frobnicate", "no option --frobnicate; see edgestem separate"),
        ("separate a --format mp9", "flac, ogg, mp3, m4a, alac, opus, got 'mp9' (did"),
        ("help sepparate", "did you mean separate?"),
        ("--bogus info", "there is no option --bogus before a command"),
        ("--force separate a", "no option --force before a command, perhaps behind it"),
    ],
)  # fmt: skip
def test_what_is_nearly_right_is_understood(words: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words.split())
    assert meant in str(caught.value)


def test_common_words_stand_before_and_behind_the_command() -> None:
    for words in ("-q info", "info -q", "--quiet info", "info --quiet"):
        args = parse(words.split())
        assert args.quiet and not args.verbose and not args.debug
    for words in ("-v doctor", "doctor --verbose", "--debug -v stream"):
        args = parse(words.split())
        assert args.verbose and not args.quiet
    assert parse(["separate", "a", "--output", "b"]).out == "b"


def test_the_names_of_models_are_in_the_error(run, write_song) -> None:
    result = run("separate", write_song(), "--model", "Karaoke")
    assert result.returncode == 1
    for name in ("'Karaoke'", "karaoke", "live", ".tflite", "[model_not_found]"):
        assert name in result.stderr


def test_who_plays_along_gets_the_live_model() -> None:
    from edgestem.cli.stream import _settings

    for words, model in (
        ("stream", "karaoke"),
        ("stream --jack", "live"),
        ("stream --alsa 0 0", "live"),
        ("stream --jack --model karaoke", "karaoke"),
        ("stream --model live", "live"),
    ):
        assert _settings(parse(words.split())).model == model


def test_the_daemon_gets_the_model_that_was_named_and_no_other(monkeypatch) -> None:
    from edgestem.cli import separate as separate_cli
    from edgestem.client import files as remote

    asked = []
    monkeypatch.setattr(
        remote, "RemoteSeparator", lambda output, path, model: asked.append(model)
    )
    for more in ([], ["--model", "karaoke"], ["--model", "live"]):
        args = parse(["separate", "a.wav", "--socket", "s", *more])
        separate_cli._separator(args, separate_cli.make_output(args))
    assert asked == ["", "karaoke", "live"]


def test_every_help_tells_the_statuses(capsys) -> None:
    for command in ("", *COMMANDS, "serve", "info", "doctor", "bench", "help"):
        with pytest.raises(SystemExit):
            parse([*command.split(), "--help"])
        assert "exit status: 0 all done; 1 something failed" in capsys.readouterr().out


# ---- completion ------------------------------------------------------------------

TRIES = {
    "edgestem se": {"separate", "serve", "service"},
    "edgestem separate --vo": {"--vocals-db"},
    "edgestem separate a.wav --format m": {"mp3", "m4a"},
    "edgestem stream --model l": {"live"},
    "edgestem -q ver": {"verify"},
    "edgestem client st": {"status"},
    "edgestem completion z": {"zsh"},
}
COMPLETE = {
    "bash": """source ./script; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_edgestem; printf '%%s\\n' "${COMPREPLY[@]}\"""",
    "fish": """source script; complete -C '%s' | string split -f1 \\t""",
    "zsh": """compadd() { shift; print -l -- ${(M)@:#$PREFIX*} }; compdef() { : }
_files() { : }; source script; words=(%s); CURRENT=$#words; PREFIX=$words[-1]
_edgestem""",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_commands_options_and_words(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(script(make_parser(), shell))
    for words, wanted in TRIES.items():
        found = subprocess.run(
            [shell, "-c", COMPLETE[shell] % words], cwd=tmp_path, capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        assert found.stderr == ""
        assert set(found.stdout.split()) == wanted, words


def test_threads_have_one_bound_at_every_door(tiny_model: Path) -> None:
    too_many = str(MAX_THREADS + 1)
    with pytest.raises(argparse.ArgumentTypeError, match=f"1 to {MAX_THREADS}"):
        values.threads(too_many)
    with pytest.raises(ConfigError, match=f"1 to {MAX_THREADS}"):
        DaemonConfig(threads=MAX_THREADS + 1)
    with pytest.raises(EdgestemError, match=f"1 to {MAX_THREADS}"):
        Separator(44100, 2, model=tiny_model, threads=MAX_THREADS + 1)
