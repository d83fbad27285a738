"""What is sung next: the queue of a karaoke program, asked over HTTP.

PiKaraoke answers GET /get_queue with a list of objects, whose `file` is a path
(pikaraoke/routes/queue.py).  OpenHomeKaraoke answers GET
/get_vocal_todo_list/cpu/ with an object, whose `queue` is a list of paths and begins
with what is playing (its app.py); being asked also tells it that somebody splits
vocals, so that it shows its vocal switch.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

PIKARAOKE, OPENHOME = "/get_queue", "/get_vocal_todo_list/cpu/"
# Where the programs listen unless they are told otherwise: their `--port`.
USUAL = {"pikaraoke": "http://localhost:5555", "openhome": "http://localhost:5000"}
_PATIENCE_S = 2.0  # a song's work waits for it
_MOST = 1 << 22  # bytes; a queue of 10,000 songs has 2 MB


class Queue:
    """The queue of one program.

    Parameters
    ----------
    url : str
        Where it listens; without a path the layout's is added.
    layout : str
        Of the folder.

    Raises
    ------
    ValueError
        This is no address of the web.
    """

    def __init__(self, url: str, layout: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{url!r} is no address: give one like http://localhost:5555"
            )
        _ = parts.port  # a port that is no number is a ValueError, too
        path = OPENHOME if layout == "openhome" else PIKARAOKE
        self.url = url if parts.path.strip("/") else url.rstrip("/") + path
        # A queue in the house is not asked for through a proxy.
        no_proxy = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(no_proxy)
        self.problem = ""
        """Why the last question had no answer."""

    def ask(self) -> list[str]:
        """Give the queued files' paths, the next first; none: see `problem`."""
        try:
            with self._opener.open(self.url, timeout=_PATIENCE_S) as answer:
                found = _paths(json.loads(answer.read(_MOST)))
        except urllib.error.HTTPError as cause:
            self.problem = f"{self.url} answers {cause.code}"
        except (OSError, http.client.HTTPException):
            self.problem = f"{self.url} does not answer"
        except (ValueError, RecursionError):
            self.problem = f"{self.url} answers with something else than a queue"
        else:
            self.problem = ""
            return found
        return []


def _paths(answer: Any) -> list[str]:
    """Take the paths out of either program's answer.

    Raises
    ------
    ValueError
        It is neither's.
    """
    queue = answer.get("queue") if isinstance(answer, dict) else answer
    if not isinstance(queue, list):
        raise ValueError("no queue")
    found = [entry.get("file") if isinstance(entry, dict) else entry for entry in queue]
    return [path for path in found if isinstance(path, str) and path]


def first(paths: Sequence[Path], queued: Sequence[str]) -> int:
    """Find which of some songs is asked for first.

    The program may see the folder under another path, in a container or on another
    machine, so the same path goes before the same name.

    Returns
    -------
    index : into `paths`; 0: none is queued
    """
    by_path = {str(path): at for at, path in reversed(list(enumerate(paths)))}
    by_path |= {str(path.resolve()): at for at, path in enumerate(paths)}
    by_name = {path.name: at for at, path in reversed(list(enumerate(paths)))}
    for path in queued:
        at = by_path.get(path, by_name.get(_name(path)))
        if at is not None:
            return at
    return 0


def _name(path: str) -> str:
    is_windows = "\\" in path and "/" not in path
    return (PureWindowsPath if is_windows else PurePosixPath)(path).name
