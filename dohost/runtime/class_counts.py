"""What became of the objects of one class, in plain numbers, for the page of metrics.

Facets are counted with the class of the object that they are in, because their names are a program's own and
may be any number. For the same reason the causes of resets are a closed set, whatever a program raises.
"""

from __future__ import annotations

from collections import Counter

from dohost.errors import STATUS, DohostError, HostError, JsException
from dohost.runtime.actor import CODE_UPDATED
from dohost.storage.commit import TOO_LONG
from dohost.storage.failures import CPU_EXCEEDED

PROGRAM = "program"
_CAUSES = {CODE_UPDATED: "code-updated", CPU_EXCEEDED: "cpu-limit", TOO_LONG: "disk-timeout"}


class ClassCounts:
    """Counts since the host began: calls sent to objects, instances evicted, instances reset by cause."""

    __slots__ = ("calls", "evictions", "resets")

    def __init__(self) -> None:
        self.calls = 0
        self.evictions = 0
        self.resets: Counter[str] = Counter()

    def count_reset(self, error: BaseException) -> None:
        """Count an instance that `error` has ended."""
        self.resets[cause_of(error)] += 1


def cause_of(error: BaseException) -> str:
    """Return why an instance was reset: a code of ours, or "program" for all that its code can do."""
    if isinstance(error, JsException) and error.message in _CAUSES:
        return _CAUSES[error.message]
    code = error.code if isinstance(error, DohostError) else DohostError.code
    # A program's own errors carry the code that stands for a bug of the host when it is the host's.
    is_ours = isinstance(error, HostError) or code != DohostError.code
    return code if is_ours and code in STATUS else PROGRAM
