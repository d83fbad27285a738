"""A sound card that is lost a hundred times under a player.

usage: python -m tools.siege.card [--losses 100]

The card is ALSA's file plugin behind PortAudio; each time its process is killed, or
made to hang, and the card is away for a while.  Each loss has to be told within a
second, the song has to wait where it is, and one press has to go on.  Printed is how
long telling took, and how memory and descriptors grew.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from edgestem.play.card import CardSink
from edgestem.play.player import Player
from tools.bench.play import both, rss

from cards import player_on_card, write_alsa_config  # isort: skip - the siege's

RATE = 44_100
PATIENCE_S = 20.0


def wait(condition: Callable[[], object]) -> float:
    """Wait until something holds; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE_S:
            raise SystemExit("it did not happen")
        time.sleep(0.005)
    return time.monotonic() - began


def lose(player: Player, card: CardSink, config: Path, how: signal.Signals) -> float:
    """Take the card away and give it back; seconds until it was told."""
    text = config.read_text()
    config.write_text(text.replace("pcm.stage", "pcm.gone"))
    n_losses = card.n_losses
    assert card.child_pid is not None
    os.kill(card.child_pid, how)
    told = wait(lambda: card.n_losses > n_losses and player.output)
    wait(lambda: player.state == "paused")
    place = player.place()
    time.sleep(0.2)
    config.write_text(text)
    wait(lambda: not player.output)
    assert player.state == "paused" and player.place() == place, "it went on alone"
    player.play()
    wait(lambda: player.place() > place + RATE // 10)
    return told


def siege(n_losses: int, folder: Path) -> None:
    config, song = folder / "asound.conf", folder / "song.wav"
    write_alsa_config(config, Path("/dev/null"))
    os.environ["ALSA_CONFIG_PATH"] = str(config)
    seconds = 30 + n_losses
    ramp = np.repeat(np.linspace(0, 0.9, seconds * RATE)[:, None], 2, 1)
    soundfile.write(song, ramp.astype(np.float32), RATE, "PCM_16")
    player, card = player_on_card(song, RATE)
    player.say = lambda text: None
    player.start()
    card.open()
    is_over = threading.Event()
    thread = threading.Thread(target=card.run, args=(is_over.is_set,))
    thread.start()
    told, seen = [], []
    try:
        player.play()
        wait(lambda: player.track.is_complete)
        for i in range(n_losses):
            how = signal.SIGSTOP if i % 4 == 3 else signal.SIGKILL
            told.append(lose(player, card, config, how))
            seen.append((rss(), len(list(Path("/proc/self/fd").iterdir()))))
    finally:
        is_over.set()
        thread.join()
        player.close()
    first, last = seen[min(3, len(seen) - 1)], seen[-1]
    print(f"{n_losses} losses, told after ms p50 p95 {both(told)}, most "
          f"{1000 * max(told):.0f}")  # fmt: skip
    print(f"memory {first[0]} MB after the fourth, {last[0]} after the last; "
          f"descriptors {first[1]}, {last[1]}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--losses", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        siege(args.losses, Path(folder))


if __name__ == "__main__":
    main()
