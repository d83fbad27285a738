"""Which part of a list is ours, from the command line or from a scheduler.

`I/N` is shard I, from 0, of N.  `array/N` takes I from the scheduler's array task,
and `array` takes both.  Slurm counts the tasks of one submission: repeating two of
ten tasks (`--array=3,7`) says "two", so it is believed only for a whole array.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

MAX_COUNT = 1_000_000
# Scheduler -> variables of the task's index and of the number of tasks.
_ARRAYS = {
    "Slurm": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    "AWS Batch": ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    "Kubernetes": ("JOB_COMPLETION_INDEX", ""),
}
_FORM = re.compile(r"(\d{1,7}|array)(?:/(\d{1,7}))?", re.ASCII)


def shard(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Read `I/N`, `array/N` or `array`.

    Returns
    -------
    index, count : with 0 <= index < count

    Raises
    ------
    ValueError
        It makes no sense; the sentence says what does.
    """
    match = _FORM.fullmatch(text)
    if match is None or (match[1] != "array" and match[2] is None):
        raise ValueError(f"expected I/N, array/N or array, got {text[:40]}")
    index, count = match[1], match[2]
    if index == "array":
        index, known = _array(environment)
        count = count or known
    return _checked(int(index), int(count))


def _array(environment: Mapping[str, str]) -> tuple[str, str]:
    """Find the array task that this process is."""
    for name, (index, count) in _ARRAYS.items():
        if environment.get(index, "").isdecimal():
            return environment[index], _count(name, count, environment)
    names = ", ".join(index for index, _ in _ARRAYS.values())
    raise ValueError(f"this is no array task: none of {names} is set")


def _count(name: str, variable: str, environment: Mapping[str, str]) -> str:
    """Read how many tasks there are; 0: nobody can tell."""
    count = environment.get(variable, "")
    if name == "Slurm" and count.isdecimal():
        first = environment.get("SLURM_ARRAY_TASK_MIN", "0")
        last = environment.get("SLURM_ARRAY_TASK_MAX", str(int(count) - 1))
        if (first, last) != ("0", str(int(count) - 1)):
            return "0"
    return count if count.isdecimal() else "0"


def _checked(index: int, count: int) -> tuple[int, int]:
    if count == 0:
        raise ValueError("say how many shards there are: array/N, or I/N with N from 1")
    if count > MAX_COUNT:
        raise ValueError(f"expected at most {MAX_COUNT} shards, got {count}")
    if index >= count:
        raise ValueError(
            f"shards of {count} are 0 to {count - 1}, got {index}: begin the array at 0"
        )
    return index, count


def other_count(store: Path, count: int) -> int:
    """Remember how many shards a catalogue has; say what it had, if that differs.

    Another number is harmless, but some songs are looked at twice and some not.
    """
    path = store / "shards.json"
    try:
        known = int(json.loads(path.read_text())["count"])
    except (OSError, ValueError, KeyError, TypeError):
        known = count
    store.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"count": count}) + "\n")
    return known if known != count else 0
