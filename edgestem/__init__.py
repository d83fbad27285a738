"""Two stems at the edge: vocals and instrumental from a song, in real time.

>>> import edgestem
>>> separator = edgestem.Separator(44100, 2)
>>> separator.latency_samples > 0
True
"""

from typing import TYPE_CHECKING

from edgestem.audio import separate_file
from edgestem.errors import (
    AudioError,
    EdgestemError,
    ModelError,
    NativeError,
    ProtocolError,
    StreamClosed,
)
from edgestem.separator import Separator, Stems, separate

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgestem.client import Client
    from edgestem.daemon_config import find_socket

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


def __getattr__(name: str) -> object:
    """Import what speaks to the daemon when it is used: it brings the socket module."""
    if name == "Client":
        from edgestem.client import Client

        return Client
    if name == "find_socket":
        from edgestem.daemon_config import find_socket

        return find_socket
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
