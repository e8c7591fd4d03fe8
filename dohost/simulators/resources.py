"""What the simulators of one host keep, by kind and id: two bindings of one id share it.

Nothing is opened before its first use. Workers come and go with each reload; this stays until the host
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from dohost.clock import Clock, Entropy
from dohost.simulators.d1 import D1Database
from dohost.simulators.d1_store import D1Store, d1_path
from dohost.simulators.files import file_name_of
from dohost.simulators.kv import KvNamespace
from dohost.simulators.kv_store import KvStore
from dohost.simulators.outlet import Outlet


class Store(Protocol):
    """Something that is kept and must be closed."""

    async def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Store)


class Resources:
    """Makes the faces of bindings on shared stores."""

    def __init__(self, persist: Path, *, outlet: Outlet, clock: Clock, entropy: Entropy) -> None:
        self._persist = persist
        self._outlet = outlet
        self._clock = clock
        self._entropy = entropy
        self._stores: dict[Path, Store] = {}

    def kv_namespace(self, namespace_id: str) -> KvNamespace:
        """Return a KV namespace."""
        store = self._keep(self._path("kv", namespace_id), KvStore)
        return KvNamespace(store, outlet=self._outlet, clock=self._clock)

    def d1_database(self, database_id: str) -> D1Database:
        """Return a D1 database."""
        store = self._keep(d1_path(self._persist, database_id, self._entropy), D1Store)
        return D1Database(store, outlet=self._outlet, clock=self._clock)

    async def close(self) -> None:
        """Close every file, after what runs on it."""
        for store in self._stores.values():
            await store.close()

    def _path(self, kind: str, identity: str) -> Path:
        return self._persist / "v3" / kind / f"{file_name_of(identity)}.sqlite"

    def _keep(self, path: Path, make: Callable[[Path], Kept]) -> Kept:
        store = self._stores.get(path)
        if store is None:
            store = self._stores[path] = make(path)
        return store  # type: ignore[return-value]  # one path has one kind of store
