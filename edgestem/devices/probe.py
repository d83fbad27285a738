"""Try a delegate in a child process, where it may crash, hang or lie.

`probe` starts `python -m edgestem.devices.trial`, which loads the delegate, runs the
built-in clip through it and through the CPU, and reports one JSON object a line:
the stage it enters, at last the result.  Whatever happens becomes one sentence.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgestem import child

# The first inference of a USB Coral loads firmware and weights: a few seconds.
TIME_LIMIT = 30.0
# Correct runtimes differ too: where a network is undecided, one rounding step early
# in it moves the mask.  tflite-runtime 2.14 and ai-edge-litert 2.3 differ by up to
# 0.4, RMS 0.03, on a 9.8 M weight int8 U-net; a broken delegate by RMS 0.3 and more.
MAX_DIFFERENCE = 0.8
RMS_DIFFERENCE = 0.06
SILENT = "it refused without a word; check its --delegate-opt options and its manual"
MARK = "@edgestem "  # delegates print too; only lines with it are ours

PHASES = {
    "start": "starting Python",
    "cpu": "running the model on the CPU",
    "load": "loading the delegate and giving it the model",
    "invoke": "running the model",
    "close": "closing the delegate",
}

KNOWN_CAUSES = (
    ("wrong ELF class", "the library is for another processor; install this one's"),
    ("invalid ELF header", "the library is damaged or no library; install it anew"),
    (
        "cannot open shared object",
        "the library, or one it needs, is absent; install it",
    ),
    (
        "undefined symbol: tflite_plugin",
        "the library is no external TFLite delegate; use a build that exports "
        "tflite_plugin_create_delegate (docs/hardware.md)",
    ),
    ("undefined symbol", "the library does not fit this system; use another build"),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a child is to try."""

    model: str
    """The .tflite file for the CPU; its sidecar tells the tensors."""
    delegate_model: str
    """The file for the delegate: the same, or one compiled for it."""
    library: str
    options: Mapping[str, str]
    runtime: str | None
    """Distribution name."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of it."""

    reason: str = ""
    """Why it cannot be used, one sentence with the way out; empty: it can."""
    text: str = ""
    """What the delegate itself said, or the raw cause."""
    max_difference: float = 0.0
    """Of the mask against the CPU's, on the built-in clip, 0..1."""
    rms_difference: float = 0.0
    n_partitions: int = 0
    """Pieces of the model that run on the device."""
    cpu_ms: float = 0.0
    """One call on the CPU, one thread."""
    device_ms: float = 0.0
    """One call on the device."""


def probe(job: Trial, time_limit: float = TIME_LIMIT) -> Probe:
    """Try a delegate; never raises for what the delegate does.

    Parameters
    ----------
    time_limit : float
        Seconds until the child is ended.
    """
    import subprocess  # 10 ms, and most processes never try anything

    trial = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgestem.devices.trial",
            json.dumps(asdict(_absolute(job))),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child.environment(),
        cwd=child.FOLDER,
        start_new_session=True,  # so that a hung delegate's threads end with it
    )
    try:
        out, _ = trial.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        os.killpg(trial.pid, signal.SIGKILL)
        out, _ = trial.communicate()
        return _hung(_messages(out), time_limit)
    return _verdict(_messages(out), trial.returncode)


def _absolute(job: Trial) -> Trial:
    """Name the files so that they are found from another folder."""
    library = job.library  # without a folder the system's loader looks for it
    if os.sep in library:
        library = os.path.abspath(library)  # noqa: PTH100 - it stays a name
    return replace(
        job,
        model=str(Path(job.model).absolute()),
        delegate_model=str(Path(job.delegate_model).absolute()),
        library=library,
    )


def _messages(out: bytes) -> dict[str, Any]:
    """Merge what the child reported; a later line wins."""
    merged: dict[str, Any] = {"stage": "start"}
    for line in out.decode(errors="replace").splitlines():
        if line.startswith(MARK):
            merged |= json.loads(line.removeprefix(MARK))
    return merged


def _hung(said: Mapping[str, Any], time_limit: float) -> Probe:
    stage = PHASES[said["stage"]]
    return Probe(
        f"it did not answer within {time_limit:g} s while {stage}; "
        "take the device off its power and try again"
    )


def _verdict(said: Mapping[str, Any], status: int) -> Probe:
    """Turn the child's report and exit status into a Probe."""
    if status < 0:
        return _died(said, -status)
    if "error" in said:
        ours = said["stage"] in ("start", "cpu")  # the delegate was not yet asked
        return Probe(said["error"] if ours else _refused(said["error"]), said["error"])
    if "result" not in said:
        return Probe(
            f"the trial ended while {PHASES[said['stage']]}; "
            "run `python -m edgestem doctor` for the rest",
            f"exit status {status}",
        )
    return _judge(Probe(**said["result"]))


def _died(said: Mapping[str, Any], number: int) -> Probe:
    name, stage = signal.Signals(number).name, PHASES[said["stage"]]
    runtime = said.get("runtime", "this one")
    fixes = {
        "SIGILL": "it was built for a newer processor; use a build for this one",
        "SIGKILL": "the system ended it, most likely for want of memory",
    }
    fix = fixes.get(
        name,
        f"most likely it was built for another TFLite than {runtime}; "
        "use a build for that version (docs/hardware.md)",
    )
    return Probe(f"it crashed ({name}) while {stage}: {fix}", name)


def _refused(text: str) -> str:
    """Sentence for an error that the runtime raised."""
    for part, sentence in KNOWN_CAUSES:
        if part in text:
            return f"{sentence} ({text})"
    if not text:
        return SILENT
    return f"it refused: {text}; check its --delegate-opt options and its manual"


def _judge(done: Probe) -> Probe:
    """Refuse what ran but is wrong or useless."""
    reason = ""
    if done.n_partitions == 0:
        reason = (
            "it took no part of this model, so the CPU would do all the work; "
            "use a model made for it"
        )
    elif done.max_difference > MAX_DIFFERENCE or done.rms_difference > RMS_DIFFERENCE:
        reason = (
            f"its mask is wrong: off the CPU's by up to {done.max_difference:.2f}, "
            f"RMS {done.rms_difference:.3f} (limits {MAX_DIFFERENCE} and "
            f"{RMS_DIFFERENCE}); use another version of the library"
        )
    return Probe(**(asdict(done) | {"reason": reason}))
