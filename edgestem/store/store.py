"""The user's store of stems: vocals by content, with receipts, below a size.

One folder; an entry is `<key>.flac` (`.wav` where FLAC cannot hold the grid) and
`<key>.json`, its receipt, which is named last: an entry without one is none.  Where
opening the song is slow, `<key>.head` is how it begins.  Files
are written under hidden names, synced, and renamed, so a process that is killed at any
moment leaves whole entries and litter, which the next one removes.  `seen/` remembers
which file (device, inode, size, times) had which content, to start without waiting;
the content is confirmed by the caller once it has read the song.

Several processes share the folder.  What changes names in it happens under one lock;
readers need none, as an open file outlives its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from edgestem.errors import EdgestemError
from edgestem.sound.parts import remove_dead_parts
from edgestem.sound.wav import WavFormat
from edgestem.store.entry import Entry, suffix_of
from edgestem.store.receipt import Receipt, Recipe, parse_receipt

LIMIT_MB = 4096  # about a hundred songs of four minutes as FLAC
PARTS = (".json", ".flac", ".wav", ".head")  # of an entry; its receipt goes first
MAX_SEEN = 10_000  # remembered files; each is 32 bytes and an inode


def default_folder() -> Path:
    """Tell where the store is when nobody says: $XDG_DATA_HOME/edgestem/store."""
    return own_folder("XDG_DATA_HOME", ".local/share") / "store"


def own_folder(variable: str, usual: str) -> Path:
    """Tell where this user keeps things: a service in the folder that systemd gave it.

    Raises
    ------
    EdgestemError
        `unwritable`: nobody says where, and this user has no home.
    """
    state = os.environ.get("STATE_DIRECTORY")
    if state:
        return Path(state.split(":")[0])
    try:
        home = Path(os.environ.get(variable) or Path.home() / usual)
    except RuntimeError as cause:
        raise EdgestemError(
            f"this user has no home folder: set HOME or {variable}", code="unwritable"
        ) from cause
    return home / "edgestem"


class Store:
    """Stems that are kept for the next time.

    Parameters
    ----------
    folder : Path
        Made when it is not there, for this user only.  On a disk that is read only it
        is read.
    limit : int
        Bytes of all entries; the least recently used go first.

    Raises
    ------
    EdgestemError
        `unwritable`: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, limit: int = LIMIT_MB << 20) -> None:
        self.folder, self._limit = folder, limit
        self._seen = folder / "seen"
        try:
            self._seen.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                self._tidy()
        except OSError as cause:
            if cause.errno == errno.EROFS and folder.is_dir():
                return  # what is there is read; nothing is added
            raise EdgestemError(
                f"the store {folder} cannot be used: {cause.strerror or cause}; name "
                "another folder with --store, or go without: --store none",
                code="unwritable",
            ) from cause

    # ---- looking ----------------------------------------------------

    def find(self, key: str) -> Receipt | None:
        """Read the receipt of an entry; it counts as used now."""
        path = self.folder / f"{key}.json"
        with contextlib.suppress(OSError):
            found = parse_receipt(path.read_text())
            if found is not None and found.key == key and self.path(found).exists():
                with contextlib.suppress(OSError):  # a disk that is read only
                    os.utime(path)
                return found
        return None

    def find_file(self, status: os.stat_result, recipe: Recipe) -> Receipt | None:
        """Find the vocals of a file that was seen before and has not changed since.

        Another file may have been put in its place with all its times: compare
        `content` when the song has been read, and call `forget_file` if it differs.
        """
        with contextlib.suppress(OSError):
            key = (self._seen / _identity(status, recipe)).read_text()
            if key.isalnum():
                return self.find(key)
        return None

    def path(self, receipt: Receipt) -> Path:
        """Tell where an entry's vocals are."""
        return self.folder / (receipt.key + suffix_of(receipt.wav))

    def receipts(self) -> list[Receipt]:
        """Read all receipts, the least recently used first."""
        found = (self.find_quietly(path) for _, path in self._by_use())
        return [receipt for receipt in found if receipt is not None]

    def find_quietly(self, path: Path) -> Receipt | None:
        """Read one receipt without using it."""
        with contextlib.suppress(OSError):
            return parse_receipt(path.read_text())
        return None

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(self._bytes(path.stem) for _, path in self._by_use())

    # ---- changing ---------------------------------------------------

    def entry(self, wav: WavFormat) -> Entry:
        """Begin an entry.

        Raises
        ------
        AudioError
            `unwritable`: a full disk, a folder that has gone.
        """
        return Entry(self.folder, wav, self.admit)

    def remember_file(self, status: os.stat_result, recipe: Recipe, key: str) -> None:
        """Note that this file has the content of an entry."""
        target = self._seen / _identity(status, recipe)
        with contextlib.suppress(OSError), self._locked():
            self._write(target, key)
            _drop_oldest(self._seen, MAX_SEEN)

    def forget_file(self, status: os.stat_result, recipe: Recipe) -> None:
        """Note that this file has another content than it had."""
        with contextlib.suppress(OSError):
            (self._seen / _identity(status, recipe)).unlink(missing_ok=True)

    def note(self, name: str, text: str) -> None:
        """Keep a line about this machine."""
        with contextlib.suppress(OSError), self._locked():
            self._write(self._seen / name, text)

    def noted(self, name: str) -> str:
        """Read a line that was kept; empty: there is none."""
        with contextlib.suppress(OSError):
            return (self._seen / name).read_text()
        return ""

    def head(self, key: str) -> bytes:
        """Read what `keep_head` kept; empty: nothing."""
        with contextlib.suppress(OSError):
            return (self.folder / f"{key}.head").read_bytes()
        return b""

    def keep_head(self, key: str, make: Callable[[], bytes]) -> None:
        """Keep how the song of an entry begins, unless that is there."""
        target = self.folder / f"{key}.head"
        with contextlib.suppress(OSError), self._locked():
            if target.exists() or not (self.folder / f"{key}.json").exists():
                return
            data = make()
            if len(data) + self._bytes(key) <= self._limit:
                self._write(target, data)
                self._make_room(0)

    def remove(self, key: str) -> None:
        """Remove an entry: it is damaged, or nobody wants it."""
        with contextlib.suppress(OSError), self._locked():
            self._unlink(key)

    def replace_receipt(self, receipt: Receipt) -> None:
        """Write down more about an entry that is there."""
        with contextlib.suppress(OSError), self._locked():
            if self.path(receipt).exists():
                self._write(self.folder / f"{receipt.key}.json", receipt.to_json())

    def admit(self, part: Path, receipt: Receipt) -> bool:
        """Give a finished part its name; False: it is larger than the store."""
        text = receipt.to_json()
        n_bytes = part.stat().st_size + len(text)
        if n_bytes > self._limit:
            return False
        with self._locked():
            self._make_room(n_bytes)
            part.replace(self.path(receipt))
            self._write(self.folder / f"{receipt.key}.json", text)
        return True

    # ---- under the lock ---------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(
            self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _write(self, target: Path, data: str | bytes) -> None:
        """Write a small file whole; its hidden name is under the lock too."""
        part = target.with_name(f".{target.name}.new")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(fd)
        part.replace(target)
        _sync(target.parent)

    def _tidy(self) -> None:
        """Remove what killed processes left: litter, and stems without receipt."""
        remove_dead_parts(self.folder)
        for path in [*self.folder.iterdir(), *self._seen.iterdir()]:
            is_litter = path.name.startswith(".") and path.name.endswith(".new")
            is_stem = path.suffix in PARTS[1:]
            if is_litter or (is_stem and not path.with_suffix(".json").exists()):
                path.unlink(missing_ok=True)
        self._make_room(0)

    def _make_room(self, n_bytes: int) -> None:
        entries = [(self._bytes(path.stem), path.stem) for _, path in self._by_use()]
        total = sum(size for size, _ in entries)
        for size, key in entries:
            if total + n_bytes <= self._limit:
                break
            self._unlink(key)
            total -= size

    def _unlink(self, key: str) -> None:
        """Remove an entry, its receipt first: without one it is none."""
        for suffix in PARTS:
            (self.folder / f"{key}{suffix}").unlink(missing_ok=True)

    def _bytes(self, key: str) -> int:
        total = 0
        for suffix in PARTS:
            with contextlib.suppress(OSError):
                total += (self.folder / f"{key}{suffix}").stat().st_size
        return total

    def _by_use(self) -> list[tuple[int, Path]]:
        """List receipts, the least recently used first."""
        found = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime_ns, path))
        return sorted(found)


def _identity(status: os.stat_result, recipe: Recipe) -> str:
    """Name a file as it is now, for one recipe."""
    numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    parts = (*map(str, numbers), recipe.model, recipe.place, recipe.version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _drop_oldest(folder: Path, n_kept: int) -> None:
    names = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(names) > n_kept:
        names.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in names[: len(names) - n_kept * 9 // 10]:
            path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have the folder's names on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
