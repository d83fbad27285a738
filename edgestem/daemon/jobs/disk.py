"""What kind of file system a descriptor is on, as the kernel says."""

from __future__ import annotations

import ctypes

# linux/magic.h: tmpfs and memfd, ramfs, hugetlbfs.  Their bytes are memory.
_IN_MEMORY = {0x01021994, 0x858458F6, 0x958458F6}


def is_in_memory(fd: int) -> bool:
    """Say whether what is written there takes memory and no disk."""
    status = (ctypes.c_ulong * 32)()  # struct statfs: f_type is the first word
    try:
        if ctypes.CDLL(None).fstatfs(fd, ctypes.byref(status)) != 0:
            return False
    except AttributeError:
        return False
    return status[0] & 0xFFFFFFFF in _IN_MEMORY
