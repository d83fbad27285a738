"""MIDI messages in words: `PC5@1, CC7.100@1`, as set lists have them."""

from __future__ import annotations

import re

_WORD = re.compile(r"(?:PC(\d{1,3})|CC(\d{1,3})\.(\d{1,3}))(?:@(\d{1,2}))?", re.I)


def parse_midi(text: str) -> tuple[bytes, ...]:
    """Read messages, in their order.

    `PCn@c` is Program Change n on channel c, `CCn.v@c` controller n at value v;
    numbers are those on the wire, 0 to 127, channels 1 to 16 (1 without `@`).

    Raises
    ------
    ValueError
        It is something else; the message says what is wanted.
    """
    return tuple(_message(word.strip()) for word in text.split(","))


def _message(word: str) -> bytes:
    found = _WORD.fullmatch(word)
    if found is not None:
        program, controller, value = (int(x or 0) for x in found.groups()[:3])
        channel = int(found[4] or 1)
        if max(program, controller, value) < 128 and 1 <= channel <= 16:
            if found[1] is not None:
                return bytes([0xC0 | channel - 1, program])
            return bytes([0xB0 | channel - 1, controller, value])
    raise ValueError(
        f"expected messages as PC5@1 or CC7.100@1 (0 to 127, channels 1 to 16) with "
        f"commas between, got {word[:20]!r}"
    )
