"""The sound card's process: PortAudio and nothing else, so that it can be killed.

`python -m edgestem.play.card_child FD JSON`: FD is shared memory (see `card`), JSON
what to open.  It plays what it finds in the ring; one line on stdout says that it
began, or why not.
"""

from __future__ import annotations

import json
import mmap
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgestem.missing import way_to_install

HEADER = 8  # int64 numbers before the samples
READ, WRITTEN, XRUNS, STOP, BEATS = range(5)
CARDS = Path("/proc/asound/cards")
LOOK_S = 0.1


def card_number(name: str, text: str) -> int | None:
    """Find the number of a card by its ALSA id, in /proc/asound/cards."""
    found = re.search(r"CARD=([^,]+)", name)
    wanted = found[1] if found else name
    for line in text.splitlines():
        match = re.match(r"\s*(\d+)\s+\[(\S+)\s*\]", line)
        if match and match[2] == wanted:
            return int(match[1])
    return None


def find_device(name: str, devices: list[Any], text: str) -> int:
    """Find a device by ALSA id, number, or a part of its name that only it has.

    Raises
    ------
    LookupError
        None, or several; the message says which there are.
    """
    outputs = {
        i: str(d["name"]) for i, d in enumerate(devices) if d["max_output_channels"]
    }
    if name.isdigit() and int(name) in outputs:
        return int(name)
    number = card_number(name, text)
    part = f"(hw:{number}," if number is not None else name
    exact = [i for i, n in outputs.items() if n == name]
    found = exact or [i for i, n in outputs.items() if part in n]
    if len(found) == 1 or (found and number is not None):
        return found[0]
    if not outputs:
        raise LookupError(
            "this machine has no sound card for output: plug one in, or choose "
            "--to FILE or --null timed"
        )
    what = "several devices fit" if found else "there is no device"
    raise LookupError(f"{what} {name!r}; there is: {', '.join(outputs.values())}")


class Shared:
    """Numbers and a ring of frames in shared memory.

    Parameters
    ----------
    fd : int
        Of a memory file.
    n_frames, n_outputs : int
        Of the ring.
    """

    def __init__(self, fd: int, n_frames: int, n_outputs: int) -> None:
        size = HEADER * 8 + n_frames * n_outputs * 4
        self._map = mmap.mmap(fd, size)
        self.numbers = np.frombuffer(self._map, np.int64, HEADER)
        flat = np.frombuffer(self._map, np.float32, n_frames * n_outputs, HEADER * 8)
        self.ring = flat.reshape(n_frames, n_outputs)

    def take(self, out: Any) -> int:
        """Copy the next frames to a callback's block; return how many there were."""
        numbers, ring = self.numbers, self.ring
        n_read = int(numbers[READ])
        n = min(len(out), int(numbers[WRITTEN]) - n_read)
        at = n_read % len(ring)
        first = min(n, len(ring) - at)
        out[:first] = ring[at : at + first]
        out[first:n] = ring[: n - first]
        out[n:] = 0
        numbers[READ] = n_read + n
        numbers[BEATS] += 1
        return n


def main() -> None:
    """Open the card and play until told to stop."""
    fd, said = int(sys.argv[1]), json.loads(sys.argv[2])
    shared = Shared(fd, said["n_frames"], said["n_outputs"])
    try:
        import sounddevice

        text = CARDS.read_text() if CARDS.exists() else ""
        number = find_device(said["name"], list(sounddevice.query_devices()), text)

        def play(out: Any, n: int, _: Any, status: Any) -> None:
            if shared.take(out) < n or status:
                shared.numbers[XRUNS] += 1

        stream = sounddevice.OutputStream(
            samplerate=said["sample_rate"],
            blocksize=said["block"],
            device=number,
            channels=said["n_outputs"],
            dtype="float32",
            latency="low",
            callback=play,
        )
        stream.start()
    except ImportError:
        _say({"code": "live_missing", "text": way_to_install("sounddevice")})
        return
    except Exception as error:
        _say({"code": "no_sound_device", "text": " ".join(str(error).split())})
        return
    _say({"device": sounddevice.query_devices(number)["name"]})
    while not shared.numbers[STOP] and stream.active:
        time.sleep(LOOK_S)
    stream.abort()


def _say(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
