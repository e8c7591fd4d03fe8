"""What this process takes of its machine: memory, descriptors, processor time.

What a system does not tell, or not now (listing the open descriptors takes one), is None.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import msgspec


class ProcessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A process at one moment. `descriptors_max`: None if there is no limit, too."""

    cpu_s: float
    resident_bytes: int | None
    descriptors: int | None
    descriptors_max: int | None


def read_process() -> ProcessFigures:
    """Return the figures; blocks for as long as it takes to list the descriptors."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ProcessFigures(
        cpu_s=used.ru_utime + used.ru_stime,
        resident_bytes=_resident_bytes(),
        descriptors=_descriptors(),
        descriptors_max=None if soft == resource.RLIM_INFINITY else soft,
    )


def _resident_bytes() -> int | None:
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except OSError:
        return None
    return int(pages) * resource.getpagesize()


def _descriptors() -> int | None:
    try:
        # Without the one that lists them.
        return len(os.listdir("/dev/fd")) - 1
    except OSError:
        return None
