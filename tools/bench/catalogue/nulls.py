"""How large scheduler and driver become: null tasks through the driver itself.

The list, the ledger, what is handed out, how answers come and what is forgotten are
those of `edgestem batch --dask`; only the song's work is left out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgestem.catalogue import cluster_task
from edgestem.catalogue.claim import new_token
from edgestem.catalogue.cluster import Cluster
from edgestem.catalogue.identity import Recipe, described, identity
from edgestem.catalogue.ledger import Ledger
from edgestem.catalogue.listing import Song
from edgestem.catalogue.process import first_message
from edgestem.catalogue.publish import DONE
from tools.bench.catalogue.scene import TINY, WIDTH, cluster


class Nulls(Cluster):
    """The driver, with workers that answer at once."""

    def _submit(self, hand: Any, task: Callable[..., Any], *words: Any) -> Any:
        return super()._submit(hand, null if task is cluster_task.do else task, *words)


def null(key: str, first: Mapping[str, Any], *_: object) -> None:
    """Answer as a worker that has done a song."""
    done = {"state": DONE, "audio_s": 210.0, "seconds": 9.7, "warnings": []}
    cluster_task._answer(key, first, done)


def memory(args: argparse.Namespace) -> None:
    """Send null tasks through, and look at both sizes on the way."""
    recipe = Recipe(model=str(TINY))
    known = described(identity(recipe))
    root = str(args.folder / "empty")
    songs = [Song(root, f"album {i // WIDTH}/song {i}.wav") for i in range(args.tasks)]
    for song in songs[:: max(1, args.tasks // 10)]:  # what a worker has to see
        Path(song.source).parent.mkdir(parents=True, exist_ok=True)
        Path(song.source).touch()
    out = args.folder / "nulls"
    with cluster(args, args.workers) as address:
        first = first_message(
            *(out, recipe, new_token()), lease_s=600.0, is_alone=True, host="here"
        )
        ledger = Ledger(retries=3, busy_s=30.0)
        driver = Nulls(
            *(address, first, ledger), known=known, redo=False, warn=_complain
        )
        started, n = time.monotonic(), 0
        pids = {"scheduler": args.scheduler_pid, "driver": os.getpid()}
        before = {name: _cpu_s(pid) for name, pid in pids.items()}
        for n, _result in enumerate(driver.run(songs), 1):
            if n == 1 or n % max(1, args.tasks // 10) == 0:
                said = [
                    f"{name} {_rss(pid):.0f} MB, "
                    f"{1000 * (_cpu_s(pid) - before[name]) / n:.2f} ms of CPU a task"
                    for name, pid in pids.items()
                ]
                wall = time.monotonic() - started
                print(f"memory: {n} in {wall:.0f} s: {'; '.join(said)}", flush=True)
        assert (n, ledger.n_waiting) == (args.tasks, 0), (n, ledger.stopped_by)


def _complain(text: str) -> None:
    raise AssertionError(text)


def _rss(pid: int) -> float:
    """MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) / 256


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, stat[11:13])) / os.sysconf("SC_CLK_TCK")
