"""What USDB Syncer does with a provider, by its own classes.

    PYTHON-WITH-usdb_syncer usdb_client.py PROVIDER FOLDER SONG...

Prints one JSON object: what the tests look at.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from usdb_syncer.separation import separation
from usdb_syncer.separation.separation import SeparationManager


def main(provider: str, folder: Path, songs: list[Path]) -> dict[str, object]:
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        manager = SeparationManager([provider])
        seconds.append(time.monotonic() - started)
        models = manager.get_available_models()
        found = [manager.get_name(), manager.get_version()]
        is_gpu = manager.is_gpu_accelerated()
        _end(manager)
    model = next(iter(models))
    separation.set_max_concurrent(3)
    splits = {song.name: _split(provider, song, folder, model) for song in songs}
    return {
        "handshake_s": min(seconds),
        "said": [*found, is_gpu, models],
        "splits": splits,
        "at_once": _at_once(provider, songs[0], folder, model),
        "killed": _killed(provider, songs[-1], folder, model),
        "error": _error(provider, folder, model),
    }


def _end(manager: SeparationManager) -> str:
    """End a provider as the Syncer does; give what it left on stderr."""
    process = manager.client._process
    manager.close()
    process.wait()
    return process.stderr.read().decode()


def _split(provider: str, song: Path, folder: Path, model: str) -> dict[str, object]:
    place = folder / song.name
    place.mkdir()
    manager = SeparationManager([provider])
    files = [str(path) for path in manager.split(song, place, model)]
    return {"files": files, "stderr": _end(manager)}


def _at_once(provider: str, song: Path, folder: Path, model: str) -> list[bool]:
    done: list[bool] = []

    def one(number: int) -> None:
        place = folder / f"at once {number}"
        place.mkdir()
        manager = SeparationManager([provider])
        files = manager.split(song, place, model)
        done.append(all(path.is_file() for path in files) and not _end(manager))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def _killed(provider: str, song: Path, folder: Path, model: str) -> list[str]:
    """Kill it within a song; give the names of what has one."""
    place = folder / "killed"
    place.mkdir()
    manager = SeparationManager([provider])

    def split() -> None:
        try:
            manager.split(song, place, model)
        except Exception as cause:  # it was killed
            problems.append(type(cause).__name__)

    problems: list[str] = []
    thread = threading.Thread(target=split)
    thread.start()
    while not any(place.glob(".*.part")):
        time.sleep(0.01)
    _end(manager)
    thread.join()
    return [*problems, *(p.name for p in place.iterdir() if p.name[0] != ".")]


def _error(provider: str, folder: Path, model: str) -> str:
    manager = SeparationManager([provider])
    try:
        manager.split(folder / "nothing.mp3", folder, model)
    except Exception as cause:
        name = type(cause).__name__
    assert manager.get_name(), "it answers no more"
    _end(manager)
    return name


if __name__ == "__main__":
    print(
        json.dumps(main(sys.argv[1], Path(sys.argv[2]), list(map(Path, sys.argv[3:]))))
    )
