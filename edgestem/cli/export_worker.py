"""`export --jobs`: `python -m edgestem.cli.export_worker`, and who asks it.

Each process has the command's own arguments, its layout and one loaded model.  Which
files an item gets was decided once, by whoever asks.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgestem.cli.library import make_layout, make_maker
from edgestem.cli.world import as_error, bug
from edgestem.errors import EdgestemError
from edgestem.files.coworker import Answer, Message, serve
from edgestem.files.crew import Crew

if TYPE_CHECKING:
    from edgestem.karaoke.export import Export, Job

_PLAIN = (str, int, float, bool, list, tuple, type(None))


def export_all(
    args: argparse.Namespace, jobs: list[Job]
) -> Iterator[tuple[Job, list[str], EdgestemError | None]]:
    """Do jobs in `args.jobs` processes; yield each, its warnings, what went wrong."""
    plain = {name: v for name, v in vars(args).items() if isinstance(v, _PLAIN)}
    plain["threads"] = args.threads or 1
    first = {"args": plain, "folder": str(Path.cwd())}
    crew = Crew("edgestem.cli.export_worker", first, args.jobs)
    for number, answer in crew.run([_request(job) for job in jobs]):
        failed = answer.get("failed")
        error = None if failed is None else _error(jobs[number], failed)
        yield jobs[number], answer.get("warnings", []), error


def _request(job: Job) -> Message:
    item = job.item
    return {
        "path": str(item.path),
        "root": str(item.root),
        "kind": item.kind,
        "targets": {label: str(path) for label, path in job.targets.items()},
    }


def _error(job: Job, failed: Message) -> EdgestemError:
    text, code = failed["text"], failed["code"]
    if code == "worker_died":
        text = f"{job.item.path}: {text}; run the same command again"
    return EdgestemError(text, code=code)


def main() -> int:
    """Serve until stdin ends."""
    return serve(_work)


def _work(request: Callable[[], Message | None], answer: Answer) -> None:
    from edgestem.karaoke.export import Export

    first = request()
    if first is None:
        return
    os.chdir(first["folder"])  # names are relative to it
    args = argparse.Namespace(**first["args"])
    export = Export(make_layout(args), make_maker(args), is_forced=args.force)
    while (found := request()) is not None:
        answer(_do(export, found))


def _do(export: Export, found: Message) -> Message:
    from edgestem.karaoke.export import Job
    from edgestem.karaoke.items import Item

    item = Item(Path(found["path"]), Path(found["root"]), found["kind"])
    targets = {label: Path(path) for label, path in found["targets"].items()}
    try:
        return {"warnings": export.write(Job(item, targets))}
    except Exception as cause:  # the others are still to be done
        error = as_error(cause) or bug(cause)
        return {"failed": {"code": error.code, "text": str(error)}}


if __name__ == "__main__":
    sys.exit(main())
