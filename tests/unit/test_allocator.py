"""Training keeps the memory that it frees."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import ctypes, sys
from training.allocator import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd",
        "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]

if sys.argv[1] == "kept":
    keep_freed_memory()
library = ctypes.CDLL(None)
library.mallinfo2.restype = Info
before = library.mallinfo2().hblkhd
held = bytearray(64 << 20)
print(library.mallinfo2().hblkhd - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_a_large_block_is_mapped_alone_only_where_nobody_asked_otherwise():
    mapped = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", PROBE, how], check=True, capture_output=True, text=True
            ).stdout
        )
        for how in ("kept", "free")
    }
    assert mapped["kept"] == 0
    assert mapped["free"] >= 64 << 20
