"""`edgestem-usdb`: the separation provider that USDB Syncer starts for each song.

JSON-RPC 2.0, one JSON object a line, over stdin and stdout.  The Syncer waits for ever
when stderr fills up, and gives up a whole job when a provider dies: so nothing is ever
written to stderr, stdout belongs to the answers alone, and whatever goes wrong is an
answer.  $EDGESTEM_USDB_LOG names a file for what would have been said.

Starting is paid for each song: nothing is imported before it is needed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

SPEC = "1"
# First is the Syncer's default.
MODELS = {"karaoke": "edgestem karaoke (best)", "live": "edgestem live (faster)"}
_PARSE, _INVALID, _NO_METHOD = -32700, -32600, -32601  # JSON-RPC's own numbers
_PARAMS, _INTERNAL = -32602, -32603
_DAEMON_IS_AWAY = ("no_daemon", "hung_up", "model_not_found", "bad_field", "forbidden")


class Fault(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, text: str, number: Any = None) -> None:
        super().__init__(text)
        self.code, self.number = code, number


def main() -> int:
    """Answer until stdin ends or `exit` is asked for."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    log = os.environ.get("EDGESTEM_USDB_LOG") or os.devnull
    fd = _open_log(log)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    try:
        _serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, KeyboardInterrupt):
        return 1  # the Syncer has gone
    return 0


def _open_log(name: str) -> int:
    try:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        if not line.strip():
            continue
        answer, is_end = reply(line)
        if answer is not None:
            answers.write(json.dumps(answer).encode("ascii") + b"\n")
        if is_end:
            return


def reply(line: bytes) -> tuple[dict[str, Any] | None, bool]:
    """Answer one line; the answer to a notification is None, True is the end."""
    number: Any = None
    try:
        method, params, number, is_asked = _read(line)
        if method == "exit":
            return _answer(number, is_asked, result=None), True
        action = _METHODS.get(method)
        if action is None:
            raise Fault(_NO_METHOD, f"there is no method {method}")
        result = action(params)
    except Fault as fault:
        asked = number if fault.number is None else fault.number
        return _error(asked, fault.code, str(fault)), False
    except Exception as cause:  # a provider that dies takes the whole job with it
        return _error(number, _INTERNAL, _sentence(cause)), False
    return _answer(number, is_asked, result=result), False


def _read(line: bytes) -> tuple[str, dict[str, Any], Any, bool]:
    """Take a request apart: method, params, id, whether an answer is wanted."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as cause:
        raise Fault(_PARSE, "the line is no JSON") from cause
    if not isinstance(found, dict) or not isinstance(found.get("method"), str):
        raise Fault(_INVALID, "a request is an object with a method")
    params = found.get("params") or {}
    if not isinstance(params, dict):
        raise Fault(_PARAMS, "params are an object", found.get("id"))
    return found["method"], params, found.get("id"), "id" in found


def _answer(number: Any, is_asked: bool, result: Any) -> dict[str, Any] | None:
    if not is_asked:
        return None
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _error(number: Any, code: int, text: str) -> dict[str, Any]:
    error = {"code": code, "message": text}
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _sentence(cause: Exception) -> str:
    from edgestem.cli.world import as_error, bug

    return str(as_error(cause) or bug(cause))


# ---- methods -----------------------------------------------------------------------


def _version(_: dict[str, Any]) -> str:
    from edgestem.version import __version__

    return __version__


def _split(params: dict[str, Any]) -> dict[str, str]:
    """Separate a song into two WAV files of its own rate and length."""
    song, folder = _path(params, "input_file"), _path(params, "output_dir")
    model = params.get("model") or next(iter(MODELS))
    if model not in MODELS:
        raise Fault(_PARAMS, f"model: expected one of {', '.join(MODELS)}, got {model}")
    targets = {stem: folder / f"{stem}.wav" for stem in ("vocals", "instrumental")}
    if not _by_daemon(song, targets, model):
        _here(song, targets, model)
    return {f"output_{stem}": str(path) for stem, path in targets.items()}


def _path(params: dict[str, Any], name: str) -> Path:
    value = params.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise Fault(_PARAMS, f"{name}: expected a path")
    return Path(value).absolute()


def _by_daemon(song: Path, targets: dict[str, Path], model: str) -> bool:
    """Let a daemon do it, where there is one: one model serves all processes."""
    from edgestem.wire.place import find_socket

    place = find_socket()
    if not Path(place).exists():
        return False
    from edgestem.client.files import RemoteSeparator
    from edgestem.errors import EdgestemError
    from edgestem.files.output import Output

    try:
        output = Output(is_forced=True)
        wanted = "" if model == next(iter(MODELS)) else model
        RemoteSeparator(output, place, wanted).to_files(song, targets)
    except EdgestemError as error:
        if error.code in _DAEMON_IS_AWAY:
            return False
        raise
    return True


def _here(song: Path, targets: dict[str, Path], model: str) -> None:
    from edgestem.files.output import Output
    from edgestem.files.separate import FileSeparator

    chosen = os.environ.get("EDGESTEM_USDB_MODEL") or model
    FileSeparator(Output(is_forced=True), chosen).to_files(song, targets)


_METHODS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "get_spec_version": lambda _: SPEC,
    "get_name": lambda _: "edgestem",
    "get_version": _version,
    "is_gpu_accelerated": lambda _: False,
    "get_available_models": lambda _: MODELS,
    "split": _split,
}


if __name__ == "__main__":
    sys.exit(main())
