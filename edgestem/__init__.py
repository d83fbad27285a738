"""Two stems at the edge: vocals and instrumental from a song, in real time.

>>> import edgestem
>>> separator = edgestem.Separator(44100, 2)
>>> separator.latency_samples > 0
True

A song from a file to files, a song in memory, and a stream:

    report = edgestem.separate_file("song.flac", "separated")
    vocals, instrumental = edgestem.separate(mixture, sample_rate)
    with edgestem.Separator(sample_rate, n_channels) as separator:
        stems = separator.push(block)
"""

from importlib import import_module

from edgestem.errors import (
    AudioError,
    EdgestemError,
    ModelError,
    NativeError,
    ProtocolError,
    StreamClosed,
)
from edgestem.version import __version__

TYPE_CHECKING = False  # what `typing` has, without its cost
if TYPE_CHECKING:
    from edgestem.client.connection import Client, ClientStream
    from edgestem.engine.separator import Separator
    from edgestem.engine.whole import separate
    from edgestem.files.output import FileReport
    from edgestem.files.separate import separate_file
    from edgestem.network.sidecar import ModelConfig
    from edgestem.stems import Stems
    from edgestem.wire.place import find_socket
    from edgestem.wire.protocol import Message

__all__ = [
    "AudioError",
    "Client",
    "ClientStream",
    "EdgestemError",
    "FileReport",
    "Message",
    "ModelConfig",
    "ModelError",
    "NativeError",
    "ProtocolError",
    "Separator",
    "Stems",
    "StreamClosed",
    "__version__",
    "find_socket",
    "separate",
    "separate_file",
]

_HOMES = {
    "Client": "client.connection",
    "ClientStream": "client.connection",
    "FileReport": "files.output",
    "Message": "wire.protocol",
    "ModelConfig": "network.sidecar",
    "find_socket": "wire.place",
    "Separator": "engine.separator",
    "Stems": "stems",
    "separate": "engine.whole",
    "separate_file": "files.separate",
}


def __getattr__(name: str) -> object:
    """Import what is heavy when it is used: the command line can catch signals first.

    The client brings the socket module, the others numpy.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"edgestem.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List what is public; modules that happen to be imported are not."""
    return __all__
