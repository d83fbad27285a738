"""Installing, removing and showing a service; each step is one line for a person."""

from __future__ import annotations

import getpass
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgestem.service import systemd, units
from edgestem.service.installation import Installation
from edgestem.service.systemd import Manager
from edgestem.service.units import SYSTEM, UNITS, ServiceError


@dataclass(frozen=True, slots=True)
class Service:
    """One service of one systemd, as this installation has it."""

    kind: str
    """A key of `UNITS`."""
    manager: Manager
    installation: Installation
    settings: dict[str, str] = field(default_factory=dict)
    """DIR, OUT, LAYOUT and USER of a watched folder."""

    @property
    def start(self) -> str:
        """The unit that is enabled and started."""
        return units.STARTS[self.kind]

    @property
    def is_packaged(self) -> bool:
        """Whether the Debian package's own units are the ones to enable."""
        vendor = self.manager.root / str(systemd.VENDOR).lstrip("/")
        names = UNITS[self.kind]
        return (
            self.installation.is_packaged
            and self.manager.scope == SYSTEM
            and all((vendor / name).exists() for name in names)
        )

    def texts(self) -> dict[str, str]:
        """Name -> text of the units."""
        scope = self.manager.scope
        return units.fill(self.kind, scope, self.installation, self.settings)

    def command(self, word: str) -> str:
        """Write a command line of this service for a person."""
        words = [*self.installation.words, "service", word, self.kind]
        words += [] if self.manager.scope == SYSTEM else ["--user"]
        if self.manager.root != Path("/"):
            words += ["--root", str(self.manager.root)]
        sudo = ["sudo"] if self.manager.scope == SYSTEM else []
        return " ".join(sudo + words)


def watched(folder: str, out: str, layout: str, scope: str) -> dict[str, str]:
    """Describe a watched folder for its unit.

    Raises
    ------
    ServiceError
        `service_refused`: a folder is not there, or nobody but root owns the output.
    """
    found = {"DIR": Path(folder), "OUT": Path(out)}
    for path in found.values():
        if not path.is_dir():
            raise ServiceError(
                f"{path} is no folder: make it first", code="service_refused"
            )
    owner = found["OUT"].stat().st_uid
    if scope == SYSTEM and owner == 0:
        raise ServiceError(
            f"{out} belongs to root, and songs are no work for root: chown it to "
            "the user whose stems these are, or use --user",
            code="service_refused",
        )
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = str(owner)
    places = {name: str(path.resolve()) for name, path in found.items()}
    return {**places, "LAYOUT": layout, "USER": user}


def install(service: Service) -> Iterator[str]:
    """Write, enable and start a service; yield what was done.

    Raises
    ------
    ServiceError
        Nothing was changed, or the sentence says what is left.
    """
    manager = service.manager
    if service.is_packaged:
        yield f"the Debian package brings the units: {systemd.VENDOR}"
    else:
        texts = service.texts()
        try:
            for path in systemd.write(manager.folder, texts):
                yield f"wrote {path}"
        except OSError as cause:
            raise _refused(service, "install", cause) from cause
    try:
        yield from _enable(service)
    except ServiceError as error:
        raise ServiceError(
            f"{error}; the units are there, to take them away: "
            f"{service.command('remove')}",
            code=error.code,
        ) from error
    yield from _hints(service)


def _enable(service: Service) -> Iterator[str]:
    manager = service.manager
    if not manager.is_running:
        yield f"ran {manager.call('enable', service.start)}"
        yield "systemd does not run here: the service starts at the next boot"
        return
    yield f"ran {manager.call('daemon-reload')}"
    yield f"ran {manager.call('enable', service.start)}"
    # A socket cannot be started again beside the service that it serves.
    if service.kind == "daemon" and manager.ask("is-active", "edgestem.service") in (
        "active",
        "activating",
    ):
        yield f"ran {manager.call('restart', 'edgestem.service')}"
        return
    yield f"ran {manager.call('restart', service.start)}"


def _hints(service: Service) -> Iterator[str]:
    is_system = service.manager.scope == SYSTEM
    if service.kind == "daemon" and is_system:
        yield "members of the group audio may connect: sudo usermod -aG audio NAME"
    if service.kind == "daemon":
        words = " ".join(service.installation.words)
        yield f"the first client starts the daemon: {words} client status"
    if service.kind == "play":
        place = "/etc" if is_system else "~/.config"
        card = "/etc/default/edgestem" if is_system else f"{place}/edgestem/play.env"
        yield f"it plays {place}/edgestem/play.toml once that is there"
        yield f'its card stands in {card}: EDGESTEM_PLAY="--card NAME"'
    if not is_system:
        yield (
            "it starts when you log in; to start it at boot: "
            f"sudo loginctl enable-linger {getpass.getuser()}"
        )
    yield f"to undo: {service.command('remove')}"


def remove(service: Service) -> Iterator[str]:
    """Stop and disable a service, and remove our files; yield what was done.

    Raises
    ------
    ServiceError
        `no_service`: it is not there; `service_taken`: the files are not ours.
    """
    manager = service.manager
    paths = [manager.folder / name for name in UNITS[service.kind]]
    present = [path for path in paths if path.exists()]
    if not present and not service.is_packaged:
        raise ServiceError(
            f"{service.kind} is not installed in {manager.folder}", code="no_service"
        )
    systemd.check_free(present)
    if present and not os.access(manager.folder, os.W_OK):
        raise _refused(service, "remove", PermissionError(13, "Permission denied"))
    names = UNITS[service.kind]
    if manager.is_running:
        yield f"ran {manager.call('disable', '--now', *names)}"
    else:
        yield f"ran {manager.call('disable', *names)}"
    for path in present:
        path.unlink()
        yield f"removed {path}"
    if manager.is_running:
        yield f"ran {manager.call('daemon-reload')}"
    if service.is_packaged:
        yield "the units stay with their package: apt-get remove edgestem"
    yield f"to have it again: {service.command('install')}"


def _refused(service: Service, word: str, cause: OSError) -> ServiceError:
    way = f"{service.command(word)}, or --user for a service of your own"
    if not isinstance(cause, PermissionError) or service.manager.scope != SYSTEM:
        way = "make room, or let this user write there"
    return ServiceError(
        f"{service.manager.folder}: {cause.strerror}: {way}", code="service_refused"
    )


def show(service: Service) -> Iterator[str]:
    """Yield the units as they would be written, each after its path."""
    for name, text in service.texts().items():
        yield f"# {service.manager.folder / name}\n{text}"


def state(kind: str, manager: Manager) -> str:
    """Say in one line whether a service is there, starts at boot and runs."""
    start = units.STARTS[kind]
    if not any((manager.folder / name).exists() for name in UNITS[kind]) and not (
        manager.scope == SYSTEM and (systemd.VENDOR / start).exists()
    ):
        return f"{kind}: not installed"
    runs = manager.ask("is-active", start) if manager.is_running else "not running"
    return f"{kind}: {start} {manager.ask('is-enabled', start)}, {runs}"
