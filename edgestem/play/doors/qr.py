"""A QR code of an address, for the terminal: ISO/IEC 18004, bytes, level L.

Versions 1 to 5 only: one block of error correction, 106 bytes at most, which is more
than an address with a token needs.  The mask is always number 0; readers take any.
"""

from __future__ import annotations

from collections.abc import Callable

# Version -> (data codewords, error correction codewords) at level L, one block.
_SIZES = {1: (19, 7), 2: (34, 10), 3: (55, 15), 4: (80, 20), 5: (108, 26)}
MAX_BYTES = _SIZES[5][0] - 2
_FORMAT_L0 = 0b111011111000100  # level L, mask 0, with its BCH code and mask
_POLYNOMIAL = 0x11D  # of the field with 256 elements
Matrix = list[list[bool]]


def qr_code(text: str) -> Matrix:
    """Make the modules of a code, dark is True, without a quiet zone.

    Raises
    ------
    ValueError
        Longer than `MAX_BYTES`.
    """
    data = text.encode()
    version = next((v for v, (n, _) in _SIZES.items() if len(data) + 2 <= n), None)
    if version is None:
        raise ValueError(f"expected {MAX_BYTES} bytes or fewer, got {len(data)}")
    n_data, n_check = _SIZES[version]
    words = _codewords(data, n_data)
    bits = [word >> i & 1 for word in words + _check(words, n_check) for i in _DOWN]
    modules, is_fixed = _frame(17 + 4 * version, version)
    _fill(modules, is_fixed, bits)
    return modules


def to_lines(modules: Matrix) -> list[str]:
    """Draw with half blocks, light on dark, two rows a line, quiet zone with it."""
    size = len(modules)
    blank = [False] * (size + 4)
    rows = [blank, blank, *([False, False, *row, False, False] for row in modules)]
    rows += [blank, blank] + [blank] * (size % 2)
    glyphs = {(False, False): "█", (False, True): "▀", (True, False): "▄"}
    return [
        "".join(glyphs.get(pair, " ") for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


_DOWN = range(7, -1, -1)


def _codewords(data: bytes, n_words: int) -> list[int]:
    """Put bytes into codewords: mode 4, the count, the bytes, padding."""
    nibbles = [4, len(data) >> 4, len(data) & 15]
    for byte in data:
        nibbles += [byte >> 4, byte & 15]
    nibbles.append(0)
    words = [a << 4 | b for a, b in zip(nibbles[::2], nibbles[1::2], strict=True)]
    pads = (0xEC, 0x11)
    return words + [pads[i % 2] for i in range(n_words - len(words))]


def _times(a: int, b: int) -> int:
    """Multiply in the field."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (_POLYNOMIAL if a & 0x80 else 0)
        b >>= 1
    return product


def _check(words: list[int], n_check: int) -> list[int]:
    """Make Reed-Solomon's check words: the rest of a division."""
    divisor, root = [1], 1
    for _ in range(n_check):
        shifted = [*divisor, 0]
        for i, value in enumerate(divisor):
            shifted[i + 1] ^= _times(value, root)
        divisor, root = shifted, _times(root, 2)
    rest = [0] * n_check
    for word in words:
        factor = word ^ rest[0]
        rest = [*rest[1:], 0]
        rest = [r ^ _times(d, factor) for r, d in zip(rest, divisor[1:], strict=True)]
    return rest


def _frame(size: int, version: int) -> tuple[Matrix, Matrix]:
    """Draw what does not depend on the data; say where that is."""
    modules = [[False] * size for _ in range(size)]
    is_fixed = [[False] * size for _ in range(size)]

    def put(row: int, column: int, is_dark: bool) -> None:
        if 0 <= row < size and 0 <= column < size:
            modules[row][column], is_fixed[row][column] = is_dark, True

    for i in range(size):  # timing
        put(6, i, i % 2 == 0)
        put(i, 6, i % 2 == 0)
    for row, column in ((3, 3), (3, size - 4), (size - 4, 3)):
        _square(put, row, column, 4, (2, 4))  # finders, with their light border
    if version > 1:
        _square(put, size - 7, size - 7, 2, (1,))  # alignment
    for i in range(15):
        is_dark = bool(_FORMAT_L0 >> i & 1)
        put(*_format_place(i), is_dark)
        put(*((8, size - 1 - i) if i < 8 else (size - 15 + i, 8)), is_dark)
    put(size - 8, 8, True)
    return modules, is_fixed


def _square(
    put: Callable[[int, int, bool], None],
    row: int,
    column: int,
    radius: int,
    light: tuple[int, ...],
) -> None:
    """Draw rings around a module; those of some radii are light."""
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            put(row + i, column + j, max(abs(i), abs(j)) not in light)


def _format_place(i: int) -> tuple[int, int]:
    """Where bit i of the format stands beside the first finder."""
    if i < 6:
        return i, 8
    if i < 8:
        return i + 1, 8
    return (8, 7) if i == 8 else (8, 14 - i)


def _fill(modules: Matrix, is_fixed: Matrix, bits: list[int]) -> None:
    """Write bits in zigzag, two columns at a time from the right, under mask 0."""
    size, at, is_up = len(modules), 0, True
    for right in (*range(size - 1, 6, -2), 5, 3, 1):
        for k in range(size):
            row = size - 1 - k if is_up else k
            for column in (right, right - 1):
                if is_fixed[row][column]:
                    continue
                bit = bits[at] if at < len(bits) else 0
                modules[row][column] = bool(bit) ^ ((row + column) % 2 == 0)
                at += 1
        is_up = not is_up
