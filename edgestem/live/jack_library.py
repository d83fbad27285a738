"""What JACK-Client lacks: latencies, and callbacks that outlive JACK's cancelling.

JACK 2 cancels its threads when a client leaves.  If one of them is just then waiting
for Python's interpreter lock, the program stands still for ever; JACK-Client's own
callbacks are not safe from that (see native/guard.h).
"""

from __future__ import annotations

import ctypes.util
import functools
from collections.abc import Callable
from typing import Any

from edgestem.native import ffi, lib

CAPTURE, PLAYBACK = 0, 1  # JackLatencyCallbackMode
_DECLARATIONS = """
typedef struct { uint32_t min, max; } jack_latency_range_t;
void jack_port_get_latency_range(void *port, int mode, jack_latency_range_t *range);
void jack_port_set_latency_range(void *port, int mode, jack_latency_range_t *range);
int jack_set_process_callback(void *client, void *function, void *argument);
int jack_set_buffer_size_callback(void *client, void *function, void *argument);
int jack_set_xrun_callback(void *client, void *function, void *argument);
int jack_set_freewheel_callback(void *client, void *function, void *argument);
int jack_set_latency_callback(void *client, void *function, void *argument);
void jack_on_info_shutdown(void *client, void *function, void *argument);
void jack_set_error_function(void *function);
void jack_set_info_function(void *function);
"""
# What happens -> (the library's function, its callback's type, the guard for it)
_EVENTS = {
    "process": ("jack_set_process_callback", "int(uint32_t, void *)", "frames"),
    "period": ("jack_set_buffer_size_callback", "int(uint32_t, void *)", "frames"),
    "xrun": ("jack_set_xrun_callback", "int(void *)", "event"),
    "freewheel": ("jack_set_freewheel_callback", "void(int, void *)", "mode"),
    "latency": ("jack_set_latency_callback", "void(int, void *)", "mode"),
    "shutdown": (
        "jack_on_info_shutdown",
        "void(int, const char *, void *)",
        "shutdown",
    ),
}


def ignore_messages() -> None:
    """Have JACK print nothing: its thread for messages is cancelled like the others."""
    if lib is None:  # not built: it prints
        return
    jack_ffi, jack_lib = _load()
    nothing = _address(jack_ffi, "es_ignore_message")
    jack_lib.jack_set_error_function(nothing)
    jack_lib.jack_set_info_function(nothing)


@functools.cache
def _load() -> tuple[Any, Any]:
    """Return the FFI that declares JACK's library, and the library."""
    from cffi import FFI

    jack_ffi = FFI()
    jack_ffi.cdef(_DECLARATIONS)
    return jack_ffi, jack_ffi.dlopen(ctypes.util.find_library("jack"))


def _address(jack_ffi: Any, name: str) -> Any:
    """Make an address of the kernel one that JACK's FFI takes."""
    number = int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
    return jack_ffi.cast("void *", number)


class JackLibrary:
    """JACK's C library behind a `jack.Client`.

    Parameters
    ----------
    client : jack.Client
        Not active yet.  It must not outlive this object, which owns its callbacks.
    """

    def __init__(self, client: Any) -> None:
        self._ffi, self._lib = _load()
        self._client = self._pointer(client)
        self._callbacks: list[Any] = []  # cffi frees what nobody keeps

    def on(self, event: str, callback: Callable[..., None]) -> None:
        """Have JACK call back; before the client is activated.

        Parameters
        ----------
        event : {"process", "period", "xrun", "freewheel", "latency", "shutdown"}
        callback : callable
            Gets what JACK's own callback of that kind gets, as Python numbers, and
            for "shutdown" the reason as a str.  If `process` raises, JACK does not
            call it again.
        """
        name, kind, guard = _EVENTS[event]
        has_result = kind.startswith("int")

        def call(*arguments: Any) -> int | None:
            callback(*arguments[:-1])
            return 0 if has_result else None

        def end(status: int, reason: Any, _: Any) -> None:
            callback(status, self._ffi.string(reason).decode(errors="replace"))

        function = end if event == "shutdown" else call
        error = {"error": 1} if has_result else {}
        pointer = self._ffi.callback(kind, function, **error)
        self._callbacks.append(pointer)
        getattr(self._lib, name)(self._client, *self._guarded(guard, pointer))

    def latency(self, ports: list[Any], mode: int) -> tuple[int, int]:
        """Read the least and the most latency of ports, in samples."""
        span = self._ffi.new("jack_latency_range_t *")
        low, high = [], []
        for port in ports:
            self._lib.jack_port_get_latency_range(self._pointer(port), mode, span)
            low.append(span.min)
            high.append(span.max)
        return min(low), max(high)

    def set_latency(self, ports: list[Any], mode: int, low: int, high: int) -> None:
        """Tell the latency of ports, in samples."""
        span = self._ffi.new("jack_latency_range_t *", (low, high))
        for port in ports:
            self._lib.jack_port_set_latency_range(self._pointer(port), mode, span)

    def _guarded(self, guard: str, callback: Any) -> tuple[Any, Any]:
        """Return function and argument that JACK gets."""
        if lib is None:  # not built: unguarded
            return callback, self._ffi.NULL
        return _address(self._ffi, f"es_guard_{guard}"), callback

    def _pointer(self, owner: Any) -> Any:
        """Find the C object behind one of JACK-Client's."""
        import jack

        number = int(jack._ffi.cast("uintptr_t", owner._ptr))
        return self._ffi.cast("void *", number)
