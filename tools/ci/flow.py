"""Draw docs/flow.svg, the picture of README, from the two tables below.

python -m tools.ci.flow > docs/flow.svg

Boxes have a ground and ink of their own, arrows are of a grey between: the picture
can be read on white and on black.
"""

from __future__ import annotations

from html import escape

# name | column | row | text; "/" breaks the line
BOXES = """
file         | 0 | 0   | a file
live         | 0 | 0.9 | a pipe, JACK,/a sound card
socket       | 0 | 1.8 | the daemon's/UNIX socket
analysis     | 1 | .45 | analysis/window, FFT, int8
network      | 2 | .45 | network/TFLite: CPU or TPU
synthesis    | 3 | .45 | synthesis/mask, inverse FFT
wait         | 2 | 1.8 | wait/latency_samples
minus        | 3 | 1.8 | mixture/minus vocals
vocals       | 4 | .45 | vocals
instrumental | 4 | 1.8 | instrumental
"""
# from | to | label
ARROWS = """
file      | analysis     |
live      | analysis     |
socket    | analysis     |
analysis  | network      |
network   | synthesis    | masks
synthesis | vocals       |
synthesis | minus        |
live      | wait         | the mixture
wait      | minus        |
minus     | instrumental |
"""
WIDTH, HEIGHT = 132, 50  # of a box
STEP_X, STEP_Y = 182, 76
MARGIN, TOP = 12, 44
INK, GREY = "#1b2733", "#808890"
PAPER, FRAME = "#dfeaf5", "#f3e3c3"  # of the engine's boxes, of the doors'


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in r.split("|")] for r in table.strip().split("\n")]


def place(column: str, row: str) -> tuple[float, float]:
    return MARGIN + float(column) * STEP_X, TOP + float(row) * STEP_Y


def box(column: str, row: str, text: str) -> str:
    x, y = place(column, row)
    ground = FRAME if column in "04" else PAPER
    lines = text.split("/")
    shape = (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
        f'fill="{ground}" stroke="{GREY}"/>'
    )
    first = y + HEIGHT / 2 + 5 - 8 * (len(lines) - 1)
    words = [
        f'<text x="{x + WIDTH / 2:g}" y="{first + 17 * i:g}" fill="{INK}" '
        f'font-weight="{"bold" if i == 0 and column not in "0" else "normal"}">'
        f"{escape(line)}</text>"
        for i, line in enumerate(lines)
    ]
    return "\n".join([shape, *words])


def arrow(start: tuple[float, float], end: tuple[float, float], label: str) -> str:
    (x0, y0), (x1, y1) = start, end
    if x0 == x1:  # down
        path = f"M{x0 + WIDTH / 2:g} {y0 + HEIGHT:g}V{y1 - 3:g}"
    elif y0 == y1:
        path = f"M{x0 + WIDTH:g} {y0 + HEIGHT / 2:g}H{x1 - 3:g}"
    else:  # along, then up or down, then along
        middle = x0 + WIDTH + (STEP_X - WIDTH) / 2
        path = (
            f"M{x0 + WIDTH:g} {y0 + HEIGHT / 2:g}H{middle:g}"
            f"V{y1 + HEIGHT / 2:g}H{x1 - 3:g}"
        )
    drawn = f'<path d="{path}" fill="none" stroke="{GREY}" marker-end="url(#tip)"/>'
    if label:
        first = x0 + WIDTH + (STEP_X - WIDTH) / 2 * (y0 != y1)
        x, y = (first + x1) / 2, y1 + HEIGHT / 2 - 6  # over the last stretch
        drawn += f'\n<text x="{x:g}" y="{y:g}" fill="{GREY}">{escape(label)}</text>'
    return drawn


def page() -> str:
    boxes = rows(BOXES)
    places = {name: place(column, row) for name, column, row, _ in boxes}
    width = 2 * MARGIN + 4 * STEP_X + WIDTH
    height = TOP + round(1.8 * STEP_Y) + HEIGHT + 2 * MARGIN
    left = MARGIN + STEP_X - 18
    frame = (
        f'<rect x="{left}" y="{MARGIN}" width="{2 * STEP_X + WIDTH + 36}" '
        f'height="{height - 2 * MARGIN}" rx="8" fill="none" stroke="{GREY}" '
        'stroke-dasharray="5 4"/>\n'
        f'<text x="{left + 12}" y="{MARGIN + 20}" fill="{GREY}" '
        'text-anchor="start">the engine: edgestem.Separator</text>'
    )
    arrows = [arrow(places[a], places[b], label) for a, b, label in rows(ARROWS)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="13" '
        'text-anchor="middle">',
        "<title>A mixture goes through analysis, network and synthesis and becomes "
        "vocals; the mixture, as late, minus vocals is the instrumental</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{GREY}"/>'
        "</marker></defs>",
        frame,
        *arrows,
        *(box(column, row, text) for _, column, row, text in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(page(), end="")
