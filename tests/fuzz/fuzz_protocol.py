"""Feed the parser with atheris: `python fuzz_protocol.py -max_total_time=60`.

Anything but a message or a ProtocolError is a crash; so are a fatal error about a
single request, and messages that depend on how the bytes arrive.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(
    include=["edgestem.wire.protocol", "edgestem.daemon.server"]
):
    from edgestem.daemon.requests import REQUESTS, parse
    from edgestem.errors import ProtocolError
    from edgestem.wire.protocol import Decoder, Message, encode_error, sequence_number


def messages(data: bytes, step: int) -> tuple[list[Message], str]:
    decoder, found = Decoder(), []
    try:
        for at in range(0, len(data), step):
            decoder.feed(data[at : at + step])
            while (message := decoder.next_message()) is not None:
                found.append(message)
    except ProtocolError as error:
        assert error.fatal
        return found, error.code
    return found, ""


def check(data: bytes) -> None:
    found, code = messages(data, max(len(data), 1))
    assert (found, code) == messages(data, 7)
    for message in found:
        check_message(message)


def check_message(message: Message) -> None:
    try:
        request = parse(message)
        assert type(request) is REQUESTS[message.type]
    except ProtocolError as error:
        assert not error.fatal
        encode_error(error.code, str(error), sequence_number(message))


def main() -> None:
    corpus = Path(__file__).parent / "corpus"
    atheris.Setup([*sys.argv, str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
