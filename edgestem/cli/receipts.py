"""`edgestem batch --status` and `--verify`: what the receipts of a catalogue say."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgestem.cli import interrupts
from edgestem.cli.console import complain, put, say
from edgestem.cli.progress import clock

if TYPE_CHECKING:
    from edgestem.catalogue.run import Settings


def status(args: argparse.Namespace, settings: Settings) -> int:
    """Say how far a catalogue is."""
    from edgestem.catalogue import failures
    from edgestem.catalogue.run import ALL_DONE, SOME_FAILED, look

    listing, found = look(settings)
    failed = failures.read(settings.out)
    names = {song.name for song in found.unfinished["to do"]}
    codes = Counter(line["code"] for n, line in failed.items() if n in names)
    summary = found.to_json() | {"songs": len(listing.songs), "failed": dict(codes)}
    if args.json:
        put(json.dumps(summary))
    else:
        put("\n".join(_lines(summary)))
    is_done = not (names or found.unfinished["stale"] or listing.problems)
    return ALL_DONE if is_done else SOME_FAILED


def _lines(found: dict[str, Any]) -> list[str]:
    """Say in words what `--status --json` has."""
    lines = [f"{found['done']} of {found['songs']} songs are done"]
    if found["stale"]:
        what = " and ".join(sorted(found["differences"]))
        lines[0] += f", {found['stale']} with another {what} (--redo)"
    if found["failed"]:
        said = ", ".join(f"{n} {code}" for code, n in sorted(found["failed"].items()))
        lines.append(f"failed and not done since: {said} (failed.jsonl has why)")
    if found["warned"]:
        lines.append(f"{found['warned']} have warnings in their receipts")
    if found["done"]:
        hosts = ", ".join(f"{host} {n}" for host, n in sorted(found["hosts"].items()))
        lines.append(f"{clock(found['audio_s'])} of sound; by machine: {hosts}")
    return lines


def verify(args: argparse.Namespace, settings: Settings) -> int:
    """Read songs again; say which are not as they were published."""
    from edgestem.catalogue.listing import make_list
    from edgestem.catalogue.run import ALL_DONE, SOME_FAILED
    from edgestem.catalogue.verify import choose
    from edgestem.catalogue.verify import verify as read_again

    songs = make_list(settings.paths, settings.out, settings.shard).songs
    counts: Counter[str] = Counter()
    chosen = choose(songs, args.sample)
    for found in read_again(str(settings.out), chosen, settings.n_jobs):
        interrupts.check()
        state = "differ" if found.faults else "fit"
        counts[state if found.is_published else "not_done"] += 1
        for fault in found.faults:
            complain("error", f"{found.song.name}: {fault}", "stems_differ")
    words = ("fit", "differ", "not_done")
    if args.json:
        put(json.dumps({"songs": len(songs)} | {word: counts[word] for word in words}))
    else:
        said = ", ".join(f"{counts[w]} {w.replace('_', ' ')}" for w in words)
        put(f"{len(chosen)} of {len(songs)} songs were read again: {said}")
    if counts["differ"]:
        say("remove the edgestem.json of such a song to have it done again")
    return SOME_FAILED if counts["differ"] else ALL_DONE
