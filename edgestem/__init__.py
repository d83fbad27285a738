"""Two stems at the edge: vocals and instrumental from a song, in real time.

>>> import edgestem
>>> separator = edgestem.Separator(44100, 2)
>>> separator.latency_samples > 0
True
"""

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

__all__ = [
    "AudioError",
    "EdgestemError",
    "ModelError",
    "NativeError",
    "ProtocolError",
    "Separator",
    "Stems",
    "StreamClosed",
    "__version__",
    "separate",
    "separate_file",
]
