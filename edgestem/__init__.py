"""Two stems at the edge: vocals and instrumental from a song, in real time.

>>> import edgestem
>>> separator = edgestem.Separator(44100, 2)
>>> separator.latency_samples > 0
True
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
    from edgestem.client.connection import Client
    from edgestem.engine.separator import Separator, separate
    from edgestem.files.separate import separate_file
    from edgestem.stems import Stems
    from edgestem.wire.place import find_socket

__all__ = [
    "AudioError",
    "Client",
    "EdgestemError",
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
    "find_socket": "wire.place",
    "Separator": "engine.separator",
    "Stems": "stems",
    "separate": "engine.separator",
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
