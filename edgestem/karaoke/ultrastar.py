"""UltraStar texts: two header lines, and every other byte as it was.

`#INSTRUMENTAL:` and `#VOCALS:` are read by UltraStar Deluxe, Performous, Vocaluxe and
Melody Mania.  Names are relative to the text.  No `#VERSION` is ever added: UltraStar
would then read an old text as UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgestem.errors import AudioError

KEYS = ("INSTRUMENTAL", "VOCALS")
MAX_BYTES = 4 << 20  # of a text: songs have some 20 kB
_BOM = b"\xef\xbb\xbf"
_ENCODINGS = {"utf8": "utf-8", "utf-8": "utf-8"}
_ENCODINGS |= {"cp1250": "cp1250", "cp1252": "cp1252"}


@dataclass(frozen=True, slots=True)
class Header:
    """One line of the head."""

    start: int
    """Of the line, in bytes."""
    end: int
    """Behind its end of line."""
    key: str
    """In capitals."""
    value: bytes
    """Without the blanks around it."""
    ending: bytes
    """The end of the line: LF, CR LF, CR or nothing."""


def headers(data: bytes) -> list[Header]:
    """List the header lines; blank lines may stand between them."""
    found = []
    at = len(_BOM) if data.startswith(_BOM) else 0
    for line in _lines(data[at:]):
        text = line.rstrip(b"\r\n")
        if text.startswith(b"#"):
            key, _, value = text[1:].partition(b":")
            name = key.decode("latin-1").strip().upper()
            ending = line[len(text) :]
            end = at + len(line)
            found.append(Header(at, end, name, value.strip(), ending))
        elif text.strip():
            break
        at += len(line)
    return found


def _lines(data: bytes) -> Iterator[bytes]:
    """Split at LF, or at CR in texts that have no LF."""
    mark = b"\n" if b"\n" in data else b"\r"
    start = 0
    while start < len(data):
        end = data.find(mark, start) + 1 or len(data)
        yield data[start:end]
        start = end


def is_text(data: bytes) -> bool:
    """Say whether bytes are an UltraStar text: a title, a song, and notes."""
    keys = {header.key for header in headers(data)}
    return "TITLE" in keys and bool(keys & {"MP3", "AUDIO"})


def encoding_of(data: bytes) -> str:
    """Name the encoding in which programs read the text.

    What is valid UTF-8 is taken for it; else #ENCODING counts, or Windows' western
    code page as UltraStar guesses.  In a text of ASCII alone #ENCODING counts as well,
    up to version 1: UltraStar would not find an instrumental that is named otherwise.
    """
    said = value_of(data, "ENCODING").decode("latin-1").lower()
    if data.isascii() and not _is_new(data):
        return _ENCODINGS.get(said, "utf-8")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        found = _ENCODINGS.get(said, "cp1252")
        return "cp1252" if found == "utf-8" else found
    return "utf-8"


def _is_new(data: bytes) -> bool:
    """Say whether a text is of format 1.0.0 or later."""
    return value_of(data, "VERSION")[:1] not in (b"", b"0")


def value_of(data: bytes, *keys: str) -> bytes:
    """Return the last value of the first of these keys that is there, or nothing."""
    found = {header.key: header.value for header in headers(data)}
    return next((found[key] for key in keys if found.get(key)), b"")


def audio_of(data: bytes) -> str:
    """Name the song's file: #AUDIO from version 1.0.0 on, else #MP3.

    Raises
    ------
    ValueError
        There is none.
    """
    keys = ("AUDIO", "MP3") if _is_new(data) else ("MP3", "AUDIO")
    value = value_of(data, *keys)
    if not value:
        raise ValueError("names no song: #MP3 or #AUDIO is missing")
    return value.decode(encoding_of(data), "replace")


def with_stems(data: bytes, names: Mapping[str, str]) -> bytes:
    """Set header lines; names are by `KEYS`.

    Lines that are there keep their place, others go behind the last header line.

    Raises
    ------
    AudioError
        `unsupported_format`: the text's encoding cannot hold a name.
    """
    encoding = encoding_of(data)
    values = {key: _encode(name, encoding) for key, name in names.items()}
    found = headers(data)
    ending = next((h.ending for h in found if h.ending), b"\n")
    parts, at, missing = [], 0, dict(values)
    for header in found:
        parts.append(data[at : header.start])
        line = data[header.start : header.end]
        if header.key in values:
            missing.pop(header.key, None)
            if header.value != values[header.key]:
                line = _line(header.key, values[header.key], header.ending)
        parts.append(line)
        at = header.end
    if missing and found and not found[-1].ending:
        parts.append(ending)
    parts += [_line(key, value, ending) for key, value in missing.items()]
    return b"".join([*parts, data[at:]])


def without_stems(data: bytes, names: Mapping[str, str]) -> bytes:
    """Remove the header lines that hold just these names."""
    values = {key: _encode(name, encoding_of(data)) for key, name in names.items()}
    parts, at = [], 0
    for header in headers(data):
        if values.get(header.key) == header.value:
            parts.append(data[at : header.start])
            at = header.end
    return b"".join([*parts, data[at:]])


def _line(key: str, value: bytes, ending: bytes) -> bytes:
    return b"#" + key.encode("ascii") + b":" + value + ending


def _encode(name: str, encoding: str) -> bytes:
    try:
        return name.encode(encoding)
    except UnicodeEncodeError as cause:
        raise AudioError(
            f"{name} cannot be written in a text in {encoding}: save the text as UTF-8 "
            "with #ENCODING:UTF8",
            code="unsupported_format",
        ) from cause
