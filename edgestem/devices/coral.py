"""Why a Coral cannot be used, read from the system's own files.

libedgetpu gives no reason when it refuses.  What the kernel shows below /sys and
/dev does: each way a Coral can be missing is one row of `FAULTS`, tried in order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# (vendor, product): first as plugged in, then with its firmware loaded.
USB_IDS = (("1a6e", "089a"), ("18d1", "9302"))
PCI_ID = ("0x1ac1", "0x089a")


@dataclass(frozen=True, slots=True)
class Coral:
    """What the kernel shows of Corals."""

    usb: tuple[Path, ...]
    """Device nodes of USB Corals."""
    n_pci: int
    """PCIe Corals on the bus."""
    apex: tuple[Path, ...]
    """Device nodes that the PCIe driver made."""
    page_size: int
    """Of the kernel, bytes."""

    def __bool__(self) -> bool:
        return bool(self.usb or self.n_pci)


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def look(root: Path = Path("/"), page_size: int | None = None) -> Coral:
    """Look for Corals below `root`."""
    usb = []
    for device in sorted(root.glob("sys/bus/usb/devices/*")):
        if (_word(device / "idVendor"), _word(device / "idProduct")) in USB_IDS:
            bus, number = _word(device / "busnum"), _word(device / "devnum")
            usb.append(root / f"dev/bus/usb/{bus:>03}/{number:>03}")
    pci = root.glob("sys/bus/pci/devices/*")
    n_pci = sum((_word(d / "vendor"), _word(d / "device")) == PCI_ID for d in pci)
    apex = tuple(sorted(root.glob("dev/apex_*")))
    return Coral(tuple(usb), n_pci, apex, page_size or os.sysconf("SC_PAGE_SIZE"))


def _is_shut(nodes: tuple[Path, ...]) -> bool:
    """No node may be opened."""
    return bool(nodes) and not any(os.access(n, os.R_OK | os.W_OK) for n in nodes)


# (what is seen, what to say); the last row is left when all looks well.
FAULTS: tuple[tuple[Callable[[Coral], bool], str], ...] = (
    (
        lambda c: not c,
        "no Coral is plugged in; plug it in, or check `lsusb` and `lspci` for it",
    ),
    (
        lambda c: bool(c.n_pci) and not c.usb and c.page_size != 4096,
        "PCIe Corals need a kernel with 4 KiB pages; on a Raspberry Pi 5 put "
        "kernel=kernel8.img into /boot/firmware/config.txt and reboot",
    ),
    (
        lambda c: bool(c.n_pci) and not c.usb and not c.apex,
        "a PCIe Coral is there but its driver is not loaded; install gasket-dkms "
        "and run `modprobe apex`",
    ),
    (
        lambda c: not c.usb and _is_shut(c.apex),
        "this user may not open the PCIe Coral; add the user to the group of "
        "/dev/apex_0 and log in again",
    ),
    (
        lambda c: not c.apex and _is_shut(c.usb),
        "this user may not open the USB Coral; install the udev rule from "
        "docs/hardware.md, join its group and plug the Coral in again",
    ),
    (
        lambda _: True,
        "the Coral is busy; stop the other program that has it open, or share it "
        "through `edgestem serve`; if there is none, plug it in again",
    ),
)


def why_refused(coral: Coral) -> str:
    """One sentence: why libedgetpu refused without a word, and the way out."""
    return next(text for is_so, text in FAULTS if is_so(coral))
