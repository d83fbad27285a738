"""Everything edgestem raises when the world is wrong.

EdgestemError          .code: stable snake_case word, the same on every surface
├── ModelError         model_not_found, model_mismatch, runtime_missing,
│                      unknown_device, device_refused, device_lost         .path
├── AudioError         unreadable, unwritable, exists, unsupported_format,
│                      ffmpeg_missing, libsndfile_missing, no_audio,
│                      same_name, stems_differ                             .path
├── NativeError        a status of the C kernel, by name                   .status
├── ProtocolError      bad_header, too_large, bad_version, bad_order,
│                      unknown_type, bad_field, timeout, no_job            .fatal
└── StreamClosed       push() after flush() or close()

Plain EdgestemErrors carry unsupported_sample_rate, unsupported_channels, bad_threads,
live_missing, no_sound_server, no_sound_device and what only the daemon says;
docs/protocol.md lists those.  A caller who breaks a
signature (dtype, shape, channels) gets ValueError or TypeError instead.  `str(e)`
is one line for a person and says the way out.
"""

from __future__ import annotations


class EdgestemError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        One line for a person.
    code : str
        Stable machine-readable word; never renamed or reused.
    """

    def __init__(self, message: str, *, code: str = "error") -> None:
        super().__init__(message)
        self.code = code


class ModelError(EdgestemError):
    """A model or its runtime cannot be used."""

    def __init__(self, message: str, *, code: str, path: str = "") -> None:
        super().__init__(message, code=code)
        self.path = path


class AudioError(EdgestemError):
    """A sound file cannot be read or written."""

    def __init__(self, message: str, *, code: str, path: str = "") -> None:
        super().__init__(message, code=code)
        self.path = path


class NativeError(EdgestemError):
    """The C kernel refused a call."""

    def __init__(self, message: str, *, code: str, status: int = 0) -> None:
        super().__init__(message, code=code)
        self.status = status


class ProtocolError(EdgestemError):
    """A peer broke the wire format; `fatal` means the stream lost its framing."""

    def __init__(self, message: str, *, code: str, fatal: bool = False) -> None:
        super().__init__(message, code=code)
        self.fatal = fatal


class StreamClosed(EdgestemError):
    """A Separator was used after flush() or close()."""

    def __init__(self, message: str, *, code: str = "stream_closed") -> None:
        super().__init__(message, code=code)
