"""The seam for faults: what a test makes go wrong, at the two places where a network and a disk do.

A host that is given no `Faults` has none, and pays for the seam with one comparison per commit.
"""

from __future__ import annotations

from typing import Protocol

from dohost.objects.stub import Dispatcher
from dohost.runtime.catalog import ObjectKey


class Faults(Protocol):
    """Stands between stubs and objects, and before commits."""

    def between(self, unique_key: str, objects: Dispatcher) -> Dispatcher:
        """Return what the stubs of a namespace call instead of its objects."""
        ...

    def before_commit(self, key: ObjectKey) -> None:
        """Raise what the commit of an object is to fail with, if it is to fail."""
        ...
