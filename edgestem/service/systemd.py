"""Units in systemd's folders, and what systemctl is told about them.

A file that we wrote begins with a digest of what follows, so that one which somebody
changed, or brought, is neither replaced nor removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgestem.service.units import SYSTEM, ServiceError

_MARK = re.compile(r"# Written by edgestem service install \[([0-9a-f]{16})\].*\n")
_TIMEOUT_S = 100  # systemd itself gives a start 90 s
VENDOR = Path("/usr/lib/systemd/system")
"""Where the Debian package has its units."""


@dataclass(frozen=True, slots=True)
class Manager:
    """systemd of the machine, of one user, or of an image that is being built."""

    scope: str
    root: Path = Path("/")
    """Root folder of the system; another than / is an image: nothing is started."""

    @property
    def folder(self) -> Path:
        """Where the administrator's (or the user's) units are."""
        if self.scope == SYSTEM:
            return self.root / "etc/systemd/system"
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(base) / "systemd/user"

    @property
    def is_running(self) -> bool:
        """Whether there is a systemd that can start something now."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def words(self, *words: str) -> list[str]:
        """Write a command of systemctl."""
        image = [f"--root={self.root}"] if self.root != Path("/") else []
        scope = [] if self.scope == SYSTEM else ["--user"]
        return ["systemctl", *scope, *image, *words]

    def call(self, *words: str) -> str:
        """Run systemctl; return the line that was run.

        Raises
        ------
        ServiceError
            `no_service`: there is no systemd here; `service_refused`: it says no.
        """
        command = self.words(*words)
        done = _run(command)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason given"]
            line = " ".join(command)
            raise ServiceError(f"{line}: {said[0]}", code="service_refused")
        return " ".join(command)

    def ask(self, *words: str) -> str:
        """Return what systemctl answers, a word such as `enabled`, `active`."""
        said = _run(self.words(*words)).stdout.strip()
        return said.splitlines()[0] if said else "unknown"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    if not shutil.which(command[0]):
        raise ServiceError(
            "systemctl is not here: services are systemd's; without it, start "
            "`edgestem serve` from what this system has",
            code="no_service",
        )
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as cause:
        line = " ".join(command)
        raise ServiceError(
            f"{line}: no answer in {_TIMEOUT_S} s", code="service_refused"
        ) from cause


def marked(name: str, text: str) -> str:
    """Put our line before a unit's text."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return (
        f"# Written by edgestem service install [{digest}]; changes belong into "
        f"`systemctl edit {name}`\n{text}"
    )


def is_ours(path: Path) -> bool:
    """Whether we wrote this file and nobody has changed it since."""
    text = path.read_text("utf-8", "replace")
    found = _MARK.match(text)
    return found is not None and marked(path.name, text[found.end() :]) == text


def check_free(paths: list[Path]) -> None:
    """Refuse files of others.

    Raises
    ------
    ServiceError
        `service_taken`: a file is there that we did not write.
    """
    for path in paths:
        if path.is_symlink() or (path.exists() and not is_ours(path)):
            raise ServiceError(
                f"{path} was written or changed by somebody else: move it away first "
                "(changes belong into a drop-in: systemctl edit)",
                code="service_taken",
            )


def write(folder: Path, texts: dict[str, str]) -> Iterator[Path]:
    """Write units, each whole or not at all; yield their paths.

    Raises
    ------
    ServiceError
        `service_taken`, before anything is written.
    OSError
        The folder refuses.
    """
    check_free([folder / name for name in texts])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        part = folder / f".{name}.part"
        try:
            part.write_text(marked(name, text), "utf-8")
            part.chmod(0o644)
            part.replace(folder / name)
        finally:
            part.unlink(missing_ok=True)
        yield folder / name
