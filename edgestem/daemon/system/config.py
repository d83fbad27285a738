"""What the daemon is told: one frozen object, filled from four places.

Later wins: defaults, /etc/edgestem.toml, the user's edgestem/edgestem.toml below
$XDG_CONFIG_HOME (~/.config), variables EDGESTEM_<FIELD>, flags.  `--config` or
EDGESTEM_CONFIG names a file that is read instead of the two.  A misspelt key is an
error.  Files are TOML with one table, [serve]; Python 3.10 has no TOML reader, so
there variables and flags remain.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgestem.errors import EdgestemError
from edgestem.network.choices import MAX_THREADS
from edgestem.wire.place import PREFIX

SYSTEM_FILE = Path("/etc/edgestem.toml")


LEVELS = ("debug", "info", "warning", "error")
OCTAL = ("socket_mode", "output_mode")
_MANY, _COUNT = 1e9, 1000
_RANGES: dict[str, tuple[float, float]] = {
    "socket_mode": (0, 0o777),
    "output_mode": (0, 0o777),
    "user_share": (0.01, 1),
    "max_memory_mb": (16, _MANY),
    "max_output_mb": (1, _MANY),
    "job_turn_s": (0.05, _MANY),
    "stall_s": (0.2, _MANY),
    "threads": (1, MAX_THREADS),
    "slots": (0, _COUNT),
    "live_load": (0, 1),
    "realtime_priority": (0, 99),
    "live_queue_ms": (0, _MANY),
    "max_clients": (1, _COUNT),
    "max_streams": (1, _COUNT),
    "max_jobs": (1, _COUNT),
    "max_client_jobs": (1, _COUNT),
    "job_workers": (1, _COUNT),
    "max_file_mb": (0, _MANY),
    "max_hours": (0.001, _MANY),
    "idle_s": (0.05, _MANY),
    "message_s": (0.05, _MANY),
    "drain_s": (0, _MANY),
    "cache_mb": (0, _MANY),
}


class ConfigError(EdgestemError):
    """The daemon's configuration makes no sense: code `bad_config`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_config")


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """One daemon's configuration; see each field."""

    socket: str = ""
    """Path; empty: $XDG_RUNTIME_DIR/edgestem.sock, else /run/edgestem/socket."""
    socket_mode: int = 0o660
    """Permission bits of the socket; files and variables write "0660"."""
    socket_group: str = ""
    """Group of the socket; empty: the daemon's own."""
    allow_users: tuple[str, ...] = ()
    """Names or numbers of users who may connect; empty: whom the socket lets in."""
    models: tuple[str, ...] = ()
    """Names or .tflite files; the first is the default.  Empty: all installed."""
    device: str = "auto"
    """Where networks run; see `edgestem.devices.choice`."""
    threads: int = 1
    """Threads of one network."""
    slots: int = 0
    """Network calls at the same time; 0: one a core, one on an accelerator."""
    live_load: float = 0.8
    """Part of the slots that live streams may book; a stream above it is refused."""
    realtime_priority: int = 0
    """SCHED_RR priority of live streams' threads, 1 to 99; 0: the usual scheduling."""
    live_queue_ms: float = 500.0
    """Audio that waits for a late live stream, ms; then the oldest is dropped."""
    max_clients: int = 64
    """Connections."""
    max_streams: int = 8
    """Open streams."""
    max_jobs: int = 32
    """Jobs waiting or running."""
    max_client_jobs: int = 8
    """Jobs waiting or running for one connection."""
    job_workers: int = 1
    """Jobs running at the same time."""
    user_share: float = 0.5
    """Part of what the others leave of each limit that one user may take; 1: all."""
    max_memory_mb: int = 640
    """Memory of all streams and running jobs, MiB, as estimated."""
    job_turn_s: float = 2.0
    """A job runs for so long before it gives way to another user's."""
    stall_s: float = 60.0
    """A job whose song or stems do not move for so long is ended."""
    max_file_mb: int = 4096
    """Size of a job's input, MiB."""
    max_hours: float = 6.0
    """Length of a job's song."""
    idle_s: float = 600.0
    """A connection on which nothing moves for so long is closed."""
    message_s: float = 20.0
    """A message must arrive whole within this time."""
    drain_s: float = 10.0
    """Time that running jobs get to finish when the daemon ends."""
    input_dirs: tuple[str, ...] = ()
    """Directories below which jobs may name inputs by path."""
    output_dirs: tuple[str, ...] = ()
    """Directories below which jobs may name outputs by path."""
    output_mode: int = 0o640
    """Permission bits of stems by path; files and variables write "0640"."""
    max_output_mb: int = 16384
    """Size of one stem, MiB."""
    cache_dir: str = ""
    """Results of jobs; empty: $CACHE_DIRECTORY, else ~/.cache/edgestem."""
    cache_mb: int = 0
    """Size of the cache, MiB; 0: no cache."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                got = getattr(self, name)
                raise ConfigError(f"{name}: expected {low:g} to {high:g}, got {got}")
        if self.log_level not in LEVELS:
            expected = ", ".join(LEVELS)
            raise ConfigError(f"log_level: one of {expected}, not {self.log_level!r}")
        for folder in (*self.input_dirs, *self.output_dirs):
            if not folder.startswith("/"):
                raise ConfigError(f"allowed directories are absolute, not {folder!r}")

    def cache_folder(self) -> Path:
        """Folder of the result cache."""
        if self.cache_dir or os.environ.get("CACHE_DIRECTORY"):
            # systemd may name several, the first is ours.
            return Path(self.cache_dir or os.environ["CACHE_DIRECTORY"].split(":")[0])
        base = os.environ.get("XDG_CACHE_HOME") or _home(".cache")
        if base is None:
            raise ConfigError("this user has no home: say --set cache_dir=/folder")
        return Path(base) / "edgestem"


RESTART_ONLY = (
    *("socket", "socket_mode", "socket_group", "models", "device", "threads", "slots"),
    *("job_workers", "cache_dir", "cache_mb"),
)
"""Fields that SIGHUP cannot change."""


def load_config(
    file: str | None = None,
    flags: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> DaemonConfig:
    """Collect the configuration; see the module's text for the order.

    Parameters
    ----------
    file : str, optional
        Read instead of the usual files; it has to exist.
    flags : mapping, optional
        Field -> value from the command line; None means "not given".
    settings : sequence of str
        "field=value", as variables write values.

    Raises
    ------
    ConfigError
        A file cannot be read, a key is unknown, a value makes no sense.
    """
    values: dict[str, Any] = {}
    for path in _files(file):
        for name, value in _read_file(path).items():
            values[name] = _convert(name, value, f"{path}: ")
    for name in _fields():
        text = os.environ.get(PREFIX + name.upper())
        if text:
            values[name] = _from_text(name, text, f"{PREFIX}{name.upper()}")
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _convert(name, value, "")
    for setting in settings:
        name, _, text = setting.partition("=")
        _check_name(name, "--set: ")
        values[name] = _from_text(name, text, f"--set {name}")
    return DaemonConfig(**values)


def _files(file: str | None) -> list[Path]:
    named = file or os.environ.get(PREFIX + "CONFIG")
    if named:
        return [Path(named)]
    usual = [SYSTEM_FILE]
    home = os.environ.get("XDG_CONFIG_HOME") or _home(".config")
    if home:  # a service may have no home
        usual.append(Path(home) / "edgestem" / "edgestem.toml")
    return [path for path in usual if _is_there(path)]


def _home(folder: str) -> Path | None:
    """Name a folder of the user's home; None: this user has no home."""
    try:
        return Path.home() / folder
    except RuntimeError:
        return None


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as cause:
        raise ConfigError(
            f"{path} cannot be read: {cause.strerror}; set XDG_CONFIG_HOME to another "
            "folder, or name a file with --config"
        ) from cause


def _read_file(path: Path) -> dict[str, Any]:
    """Return the [serve] table of a TOML file."""
    if sys.version_info < (3, 11):
        raise ConfigError(
            f"{path}: configuration files need Python 3.11; "
            f"use {PREFIX}* variables or flags"
        )
    import tomllib

    try:
        data = tomllib.loads(path.read_text())
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise ConfigError(f"{path} cannot be read: {reason}") from cause
    table = data.get("serve", {})
    strangers = sorted(set(data) - {"serve"})
    if strangers or not isinstance(table, dict):
        raise ConfigError(f"{path}: expected one table [serve], got {strangers}")
    return table


def _fields() -> dict[str, Any]:
    """Field -> its default, whose type is the field's."""
    return {f.name: f.default for f in dataclasses.fields(DaemonConfig)}


def _convert(name: str, value: Any, where: str) -> Any:
    """Check the type of a value from a file or a flag."""
    _check_name(name, where)
    default = _fields()[name]
    if name in OCTAL and isinstance(value, str):
        return _octal(name, value)
    if isinstance(default, tuple):
        if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
    elif isinstance(default, float) and type(value) in (int, float):
        return float(value)
    elif type(value) is type(default):
        return value
    raise ConfigError(
        f"{where}{name}: expected a value like {default!r}, got {value!r}"
    )


def _check_name(name: str, where: str) -> None:
    if name not in _fields():
        known = ", ".join(_fields())
        raise ConfigError(f"{where}there is no key {name!r}; known are {known}")


def _from_text(name: str, text: str, where: str) -> Any:
    """Read a variable or --set; lists are separated by colons."""
    default = _fields()[name]
    try:
        if name in OCTAL:
            return _octal(name, text)
        if isinstance(default, tuple):
            return tuple(part for part in text.split(":") if part)
        return type(default)(text)
    except ValueError:
        raise ConfigError(
            f"{where}: expected a value like {default!r}, got {text!r}"
        ) from None


def _octal(name: str, text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ConfigError(f'{name}: expected "0660", got {text!r}') from None
