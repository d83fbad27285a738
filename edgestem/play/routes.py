"""Which bus leaves by which output: `backing=1,2`, `guide=3,4`, `click=3`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgestem.play.desk import MAX_PIECE, Desk

BUSES = ("backing", "guide", "click")
MONO = np.float32(0.5**0.5)  # -3 dB of each side, where a bus gets one output only
DEFAULT = {"backing": (1, 2)}


def parse_route(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `BUS=N` or `BUS=N,M`; outputs count from 1.

    Raises
    ------
    ValueError
        It is something else; the message says what is wanted.
    """
    bus, equals, numbers = text.partition("=")
    try:
        outputs = tuple(int(n) for n in numbers.split(","))
    except ValueError:
        outputs = ()
    is_sound = bus in BUSES and equals and 1 <= len(outputs) <= 2
    if not is_sound or not all(1 <= n <= 64 for n in outputs):
        raise ValueError(
            f"expected {', '.join(BUSES)} = one or two outputs from 1 to 64, as "
            f"backing=1,2, got {text}"
        )
    return bus, outputs


class Routes:
    """Buses on outputs; several buses on one output add up."""

    def __init__(self, routes: dict[str, tuple[int, ...]] | None = None) -> None:
        self.routes = dict(routes or DEFAULT)
        self.n_outputs = max(max(outputs) for outputs in self.routes.values())
        self._mono = np.zeros(MAX_PIECE, np.float32)
        one_bus = len(self.routes) == 1
        self._is_plain = one_bus and self.routes.get("backing") == (1, 2)

    def render(self, desk: Desk, out: NDArray[np.float32]) -> None:
        """Fill outputs (n, n_outputs or more) with what plays; the rest is silence."""
        done = 0
        while done < len(out):
            n = desk.process(len(out) - done)
            part = out[done : done + n]
            part.fill(0)
            for bus, outputs in self.routes.items():
                self._add(getattr(desk, bus)[:n], outputs, part)
            done += n

    def _add(
        self,
        bus: NDArray[np.float32],
        outputs: tuple[int, ...],
        part: NDArray[np.float32],
    ) -> None:
        if bus.ndim == 1:
            for number in outputs:
                np.add(part[:, number - 1], bus, out=part[:, number - 1])
        elif len(outputs) == 1:
            mono, line = self._mono[: len(bus)], part[:, outputs[0] - 1]
            np.add(bus[:, 0], bus[:, 1], out=mono)
            np.multiply(mono, MONO, out=mono)
            np.add(line, mono, out=line)
        else:
            for side, number in enumerate(outputs):
                np.add(part[:, number - 1], bus[:, side], out=part[:, number - 1])
