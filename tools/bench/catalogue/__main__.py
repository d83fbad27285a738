"""Show that catalogues keep their promises: once each, fast enough, little memory.

    python -m tools.bench.catalogue FOLDER SHOW...

SHOW is one of

    jobs, claims, dask   N short songs through two processes, two claimers on one
                         folder, two Dask workers; one worker is killed by SIGKILL
                         every --kill seconds meanwhile
    restarts             four claimers on one folder, each killed as a whole at random
                         and started again until all is done
    speed                a bare loop over Separator, one process, two, and Dask, in one
                         run: CPU seconds and wall seconds
    receipts             --status on --receipts receipts, --verify --sample 200 on them
    memory               scheduler and driver at --tasks null tasks through the driver

Songs are noise of numpy's, 0.2 s each, and the model is the test net: what is measured
is the catalogue, not the network.  `speed` takes --model and longer songs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.bench.catalogue.deaths import claims, dask, jobs, restarts
from tools.bench.catalogue.figures import receipts, speed
from tools.bench.catalogue.nulls import memory
from tools.bench.catalogue.scene import TINY

SHOWS = (jobs, claims, dask, restarts, speed, receipts, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    names = {show.__name__: show for show in SHOWS}
    add("folder", type=Path)
    add("shows", nargs="+", choices=names)
    add("--songs", type=int, default=5000)
    add("--kill", type=float, default=20.0, help="seconds between two kills")
    add("--minutes", type=float, default=3.0, help="of killing in `restarts`")
    add("--receipts", type=int, default=100_000)
    add("--tasks", type=int, default=100_000)
    add("--workers", type=int, default=2, help="of Dask, in `memory`")
    add("--model", default=str(TINY))
    add("--long-songs", type=int, default=12)
    add("--seconds", type=float, default=30.0)
    add("--turns", type=int, default=1)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    args.folder = args.folder.absolute()
    for name in args.shows:
        names[name](args)


if __name__ == "__main__":
    main()
