"""The C library's allocator, told to keep what training frees.

A step allocates and frees tensors of tens of megabytes; glibc maps and unmaps anything above 32 MiB each
time, and the kernel zeroes every page of it again. Kept instead, 16 rows of 448 tokens took 1.2 s a step
where they took 2.1 s (docs/starter.md).
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Asks glibc to serve large blocks from its heap and to give nothing back; elsewhere does nothing."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
