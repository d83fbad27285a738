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
    from edgestem.audio import separate_file
    from edgestem.client import Client, ClientStream
    from edgestem.config import ModelConfig
    from edgestem.job import FileReport
    from edgestem.place import find_socket
    from edgestem.protocol import Message
    from edgestem.separator import Separator, separate
    from edgestem.stems import Stems

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
    "Client": "client",
    "ClientStream": "client",
    "FileReport": "job",
    "Message": "protocol",
    "ModelConfig": "config",
    "find_socket": "place",
    "Separator": "separator",
    "Stems": "stems",
    "separate": "separator",
    "separate_file": "audio",
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
