"""Everything edgestem raises when the world is wrong, and every code it may carry.

EdgestemError          .code: stable snake_case word, the same on every surface
├── ModelError         a model, its runtime or its device                  .path
├── AudioError         a sound file                                        .path
├── NativeError        a status of the C kernel, by name                   .status
├── ProtocolError      a peer broke the wire format                        .fatal
└── StreamClosed       push() after flush() or close()

A caller who breaks a signature (dtype, shape, channels) gets ValueError or TypeError
instead.  `str(e)` is one line for a person and says the way out.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    """What a code means."""

    meaning: str
    """When it is raised, and what to do."""
    where: str
    """`song`, `model`, `machine`, `daemon`, `wire` or `kernel`."""
    closes: bool = False
    """Whether the daemon ends the connection that it tells it to."""


# Never renamed or reused: programs compare these words.
CODES = {
    # Songs and stems.
    "unreadable": Code("the song cannot be read; the sentence says why", "song"),
    "unwritable": Code("a stem cannot be written: permission, a full disk", "song"),
    "exists": Code("a stem is there already: --force, `replace`, `force=True`", "song"),
    "no_audio": Code("a folder holds no song", "song"),
    "same_name": Code("two songs would write the same stems", "song"),
    "no_stems": Code("no stems of that song there", "song"),
    "stems_differ": Code("stems that do not fit each other, or the song", "song"),
    "unsupported_format": Code("this format cannot hold such a stem", "song"),
    "unsupported_sample_rate": Code("outside 8 to 384 kHz", "song"),
    "unsupported_channels": Code("neither mono nor stereo: mix down first", "song"),
    "source_changed": Code("a song was written to while it was separated", "song"),
    "worker_died": Code("the process that separated a song was killed", "machine"),
    "claim_lost": Code("another machine has taken a song of a catalogue", "machine"),
    "no_receipt": Code("no receipt of a catalogue's song that can be used", "song"),
    "cluster_refused": Code("a Dask worker has another model or runtime", "machine"),
    "cluster_missing": Code("the extra `cluster` is not installed", "machine"),
    "ffmpeg_missing": Code("this format is read through ffmpeg: install it", "song"),
    "libsndfile_missing": Code("the C library of soundfile is not there", "song"),
    "stream_closed": Code("push() after flush() or close(): call reset()", "song"),
    # Models, runtimes, devices.
    "model_not_found": Code("no such model; `edgestem info` lists them", "model"),
    "model_mismatch": Code("the model, its sidecar and the runtime disagree", "model"),
    "runtime_missing": Code("no TFLite runtime that works here", "model"),
    "device_lost": Code("a device or runtime failed in mid-song", "model"),
    "bad_threads": Code("no runtime takes so many threads, or so few", "model"),
    "unknown_device": Code("no device of that name", "model"),
    "device_refused": Code("the device failed its trial; the reason is said", "model"),
    # This machine.
    "usage": Code("the command line makes no sense", "machine"),
    "os_error": Code("the system refused; the sentence says what and where", "machine"),
    "no_memory": Code("there is not enough memory", "machine"),
    "no_thread": Code("the system gives no more threads", "machine"),
    "bad_set": Code("a set list cannot be used; line and key are said", "machine"),
    "refused": Code("the player does not do that; the sentence says why", "machine"),
    "interrupted": Code("Ctrl-C", "machine"),
    "live_missing": Code("a package of the extra `live` is not installed", "machine"),
    "no_sound_server": Code("no JACK server answers", "machine"),
    "no_sound_device": Code("no such sound card, or it refuses", "machine"),
    "internal": Code("a bug; --debug, or the daemon's log, shows where", "machine"),
    "watched": Code("another `edgestem watch` has this folder", "machine"),
    "error": Code("what has no word of its own", "machine"),
    # The daemon.
    "bad_config": Code("the configuration cannot be used", "daemon"),
    "socket_in_use": Code("another daemon has the socket", "daemon"),
    "no_daemon": Code("nothing answers at the socket", "daemon"),
    "hung_up": Code("the other side closed the connection", "daemon"),
    "forbidden": Code("this user may not connect (closes), or not this path", "daemon"),
    "too_many_clients": Code("on connecting: all places are taken", "daemon", True),
    "too_many_streams": Code("all places for streams are taken", "daemon"),
    "queue_full": Code("as many jobs wait as may", "daemon"),
    "overloaded": Code("this stream would not keep up beside the others", "daemon"),
    "shutting_down": Code("the daemon ends", "daemon", True),
    "cancelled": Code("ends a job that its client gave up", "daemon"),
    "stalled": Code("ends a job: its song or stems did not move", "daemon"),
    "died": Code("a process that tried a network crashed", "daemon"),
    "no_job": Code("this connection has no such job", "daemon"),
    "no_service": Code("this version or system has no such service", "daemon"),
    "service_taken": Code("the unit's file is not ours: move it away", "daemon"),
    "service_refused": Code("systemd, or the folder, refused; it is said", "daemon"),
    # The wire.
    "bad_header": Code("no JSON object with a type, or no descriptors", "wire", True),
    "too_large": Code("header or payload (closes), input or song (not)", "wire", True),
    "timeout": Code(
        "a message did not get complete in time; or the daemon shows no sign of life",
        "wire",
        True,
    ),
    "idle": Code("nothing moved for too long", "wire", True),
    "bad_version": Code("another protocol version", "wire", True),
    "unknown_type": Code("no such request", "wire"),
    "bad_field": Code("a field is missing, wrong or contradicts another", "wire"),
    "bad_order": Code("no stream is open, or one is already", "wire"),
    # The C kernel; see ES_ERR_* in native/edgestem.h.
    "es_err_null": Code("a pointer is NULL", "kernel"),
    "es_err_size": Code("a size is not supported", "kernel"),
    "es_err_align": Code("memory is not aligned", "kernel"),
    "es_err_memory": Code("memory is too small", "kernel"),
    "es_err_simd": Code("this machine lacks the instruction set", "kernel"),
    "es_err_bands": Code("band edges do not increase", "kernel"),
    "es_err_thresholds": Code("thresholds decrease or are too close", "kernel"),
    "kernel_missing": Code("the C kernel is not built: reinstall edgestem", "kernel"),
    "rubberband_missing": Code(
        "librubberband is not installed (apt install librubberband2)", "kernel"
    ),
    "es_err_abi": Code("kernel and package differ: reinstall edgestem", "kernel"),
    "es_err_unknown": Code("a status without a name", "kernel"),
}


class EdgestemError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        One line for a person.
    code : str
        Stable machine-readable word, of CODES; a daemon of another version may say
        others.
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
