"""How many files this process may open, and how many live objects that allows.

A live object holds its file, the file's log twice and the log's index: up to five descriptors for one that
was created since. Half of all descriptors are left to sockets and to the host itself.
"""

from __future__ import annotations

import contextlib
import resource

OBJECT_DESCRIPTORS = 5
# Where the system sets no limit at all, a table of descriptors still costs memory.
DESCRIPTORS_MAX = 1 << 20


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system lets it; what it may not change stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def objects_allowed() -> int:
    """Return how many objects may be live at once without taking the descriptors of others."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = DESCRIPTORS_MAX
    return max(1, soft // 2 // OBJECT_DESCRIPTORS)
