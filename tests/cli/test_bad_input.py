"""Bad input ends in one sentence that says what to do, and a documented status."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ("verify . gone.ogg", 3, "gone.ogg cannot be opened: No such file"),
        ("restore gone", 5, "gone is no folder: name a folder that edgestem batch"),
        ("restore .", 5, ". has no receipt that can be used: name a folder"),
        ("serve --config gone.toml", 1, "gone.toml"),
        ("serve --set slots=x --check-config", 1, "--set slots: expected a value like"),
        ("separate a --format ogg --subtype 24", 2, "leave it out with --format ogg"),
        ("stream --midi-cc 20 21", 2, "--midi-cc belongs to --jack"),
        ("play plain.wav --null fast --page", 2, "leave them out with --to and --null"),
        ("export plain.wav --layout pikaraoke", 1, "which takes videos, MP3+G pairs"),
        ("batch plain.wav -o note.txt", 1, "note.txt cannot be written: File exists; "),
    ],
)
def test_bad_input_ends_in_a_sentence(
    run: Run,
    write_song: Callable[..., Path],
    tmp_path: Path,
    words: str,
    status: int,
    sentence: str,
) -> None:
    write_song("plain.wav")
    (tmp_path / "note.txt").write_text("a note")
    result = run(*words.split())
    assert result.returncode == status
    assert sentence in result.stderr and "Traceback" not in result.stderr
    assert "[Errno" not in result.stderr
