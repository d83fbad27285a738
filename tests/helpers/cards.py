"""A sound card of ALSA's file plugin, which can be taken away and given back."""

from __future__ import annotations

from pathlib import Path

from edgestem.network.compute import ANY
from edgestem.play.ahead import Ahead
from edgestem.play.card import CardSink
from edgestem.play.items import Item
from edgestem.play.player import Player
from edgestem.play.routes import Routes
from edgestem.play.sources import Sources

SYSTEM = Path("/usr/share/alsa/alsa.conf")
TINY = Path(__file__).parents[1] / "data" / "tiny.tflite"


def write_alsa_config(path: Path, out: Path) -> None:
    """Describe a PCM `stage` that writes what it plays to `out`, in time as a rule.

    The variable ALSA_CONFIG_PATH has to name `path` before ALSA is loaded.
    """
    system = f"<{SYSTEM}>\n" if SYSTEM.exists() else ""
    path.write_text(
        f"{system}pcm.stage {{ type file slave.pcm null file {out} format raw "
        'hint { show on description "stage" } }\n'
        "ctl.!default { type hw card 0 }\n"
    )


def player_on_card(song: Path, rate: int) -> tuple[Player, CardSink]:
    """Make a player of one song, mixture and all, for the card `stage`."""
    ahead = Ahead(Sources(str(TINY), ANY, None, print), print)
    player = Player([Item(song)], ahead, rate)
    player.desk.faders.set(0.0, 0.0, 0)
    return player, CardSink(player, Routes(), "stage")
