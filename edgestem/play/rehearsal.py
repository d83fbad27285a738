"""The silent rehearsal: what would go wrong tonight, said this afternoon."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgestem.engine.separator import Separator
from edgestem.errors import EdgestemError
from edgestem.limits import check_stream
from edgestem.network.compute import Compute
from edgestem.play.card_child import CARDS, card_number
from edgestem.play.doors.pedals import device_name, is_pedal
from edgestem.play.items import Item
from edgestem.play.places import digest_of
from edgestem.sound.reading import open_song
from edgestem.store.store import Store

BLOCK = 1 << 16
INPUTS = Path("/dev/input")


def rehearse(
    items: Sequence[Item],
    model: str,
    compute: Compute,
    store: Store | None,
    card: str | None,
) -> Iterator[tuple[bool, str]]:
    """Look at everything a show needs; yield (is_good, sentence).

    Every song is decoded to its end; nothing is played, nothing separated.  `card` is
    the sound card of the show; None: it plays elsewhere.
    """
    for number, item in enumerate(items, 1):
        yield _song(number, item)
    yield _network(model, compute)
    yield _vocals(model, store)
    yield _cards(card)
    yield _pedals()


def _song(number: int, item: Item) -> tuple[bool, str]:
    head = f"{number}. {item.path.name}"
    try:
        song = open_song(item.path)
    except EdgestemError as error:
        return False, f"{head}: {error}"
    try:
        check_stream(song.sample_rate, song.n_channels)
        n_samples = 0
        while n := len(song.read(BLOCK)):
            n_samples += n
    except EdgestemError as error:
        return False, f"{head}: {error}"
    finally:
        song.close()
    seconds, s = n_samples / song.sample_rate, item.settings
    if song.is_damaged or not n_samples:
        return False, f"{head}: {'; '.join(song.notes) or 'it holds no samples'}"
    wrong = [name for name, (_, end) in s.sections.items() if end > seconds] + [
        "start"
    ] * (s.start >= seconds)
    if wrong:
        return False, f"{head}: beyond its end ({seconds:.1f} s): {', '.join(wrong)}"
    how = f"{seconds:.1f} s, {song.sample_rate} Hz"
    if s.key or s.tempo != 1:
        how += f", key {s.key:+g}, tempo {s.tempo * 100:g} %"
    return True, f"{head}: {how}"


def _network(model: str, compute: Compute) -> tuple[bool, str]:
    try:
        separator = Separator(44100, 2, model=model, **compute.keywords())
    except EdgestemError as error:
        return False, f"network: {error}"
    return True, f"network: {model} on {separator.device}, {separator.runtime}"


def _vocals(model: str, store: Store | None) -> tuple[bool, str]:
    if store is None:
        return True, "store: none"
    digest = digest_of(model)
    known = [r for r in store.receipts() if r.model == digest]
    free = shutil.disk_usage(store.folder).free
    text = (
        f"store: {store.folder}, {len(known)} songs of this model, "
        f"{store.size() >> 20} MB, {free >> 20} MB free on the disk"
    )
    return free > 100 << 20, text


def _cards(card: str | None) -> tuple[bool, str]:
    """List the sound cards' ids, and look for the one that is wanted."""
    try:
        text = CARDS.read_text()
    except OSError:
        text = ""
    ids = [x.split("[")[1].split("]")[0].strip() for x in text.splitlines() if "[" in x]
    there = f"sound cards: {', '.join(ids) or 'none'}"
    if card is None:
        return True, there
    if card == "default":
        return bool(ids), there
    is_there = card_number(card, text) is not None or card in text
    return is_there, f"{there}; {card} is {'there' if is_there else 'missing'}"


def _pedals() -> tuple[bool, str]:
    """List the pedals that can be read."""
    paths = sorted(INPUTS.glob("event*")) if INPUTS.exists() else []
    names = [_pedal(path) for path in paths]
    found = [name for name in names if name]
    n_refused = names.count(None)
    if n_refused:
        text = f"pedals: {n_refused} devices may not be read: join the group input"
        return False, text
    return True, f"pedals: {', '.join(found) or 'none'}"


def _pedal(path: Path) -> str | None:
    """Name a pedal; empty: it is none; None: nobody may look."""
    try:
        with path.open("rb", buffering=0) as file:
            is_one = is_pedal(file.fileno())
            return (device_name(file.fileno()) or path.name) if is_one else ""
    except OSError:
        return None
