"""What the simulators of one host keep, by kind and id: two bindings of one id share it.

Nothing is opened before its first use, and no kind of binding imported before a worker has one: together
they would take a twelfth of a server's start. Workers come and go with each reload; this stays until the
host ends.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from workers.values import JsDict

from dohost.clock import Clock, Entropy, uuid7
from dohost.simulators.files import file_name_of
from dohost.simulators.outlet import Outlet
from dohost.simulators.queue_delivery import QueueDelivery
from dohost.simulators.queue_store import QueueStore
from dohost.telemetry import Log

if TYPE_CHECKING:
    from dohost.simulators.assets import Assets, Site
    from dohost.simulators.d1 import D1Database
    from dohost.simulators.kv import KvNamespace
    from dohost.simulators.queue import WorkerQueue
    from dohost.simulators.queue_messages import ContentType
    from dohost.simulators.r2 import R2Bucket
    from dohost.simulators.secrets_store import SecretsStoreSecret


class Store(Protocol):
    """Something that is kept and must be closed; `is_busy` while a thread works for it."""

    @property
    def is_busy(self) -> bool: ...

    async def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Store)


class Resources:
    """Makes the faces of bindings on shared stores; `queues` delivers what was sent."""

    def __init__(
        self, persist: Path, *, outlet: Outlet, clock: Clock, entropy: Entropy, log: Log
    ) -> None:
        self._persist = persist
        self._outlet = outlet
        self._clock = clock
        self._entropy = entropy
        self._stores: dict[Path, Store] = {}
        self._messages = self._keep(self._path("queues", "queues"), QueueStore)
        self.queues = QueueDelivery(self._messages, clock=clock, log=log)

    def kv_namespace(self, namespace_id: str) -> KvNamespace:
        """Return a KV namespace."""
        from dohost.simulators.kv import KvNamespace  # lazy
        from dohost.simulators.kv_store import KvStore  # lazy

        store = self._keep(self._path("kv", namespace_id), KvStore)
        return KvNamespace(store, outlet=self._outlet, clock=self._clock)

    def d1_database(self, database_id: str) -> D1Database:
        """Return a D1 database."""
        from dohost.simulators.d1 import D1Database  # lazy
        from dohost.simulators.d1_store import D1Store, d1_path  # lazy

        store = self._keep(d1_path(self._persist, database_id, self._entropy), D1Store)
        return D1Database(store, outlet=self._outlet, clock=self._clock)

    def r2_bucket(self, bucket: str) -> R2Bucket:
        """Return an R2 bucket."""
        from dohost.simulators.r2 import R2Bucket  # lazy
        from dohost.simulators.r2_store import R2Store  # lazy

        directory = self._persist / "v3" / "r2" / file_name_of(bucket)
        store = self._keep(
            directory, lambda path: R2Store(path, clock=self._clock, entropy=self._entropy)
        )
        return R2Bucket(store, outlet=self._outlet)

    def assets(self, site: Site) -> Assets:
        """Return static assets as a worker's code holds them."""
        from dohost.simulators.assets import Assets  # lazy

        return Assets(site, outlet=self._outlet)

    def secret(self, secret_name: str, value: str | None) -> SecretsStoreSecret:
        """Return a secret of a store."""
        from dohost.simulators.secrets_store import SecretsStoreSecret  # lazy

        return SecretsStoreSecret(secret_name, value, outlet=self._outlet)

    def version_metadata(self) -> JsDict:
        """Return what is known of a version of a worker: each load of its code is one, without a tag."""
        made = datetime.fromtimestamp(self._clock.realtime_ns() / 1e9, UTC)
        timestamp = made.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return JsDict(id=uuid7(self._clock, self._entropy), tag="", timestamp=timestamp)

    def queue(self, name: str, *, delay_s: float, content_type: ContentType) -> WorkerQueue:
        """Return a queue as its producers hold it, with their defaults."""
        from dohost.simulators.queue import WorkerQueue  # lazy

        return WorkerQueue(
            self._messages,
            name,
            outlet=self._outlet,
            clock=self._clock,
            entropy=self._entropy,
            added=self.queues.look,
            delay_s=delay_s,
            content_type=content_type,
        )

    @property
    def is_busy(self) -> bool:
        """Whether threads work for simulators now."""
        return any(store.is_busy for store in self._stores.values())

    async def close(self) -> None:
        """Wait for the work that was begun and close every file."""
        await self._outlet.drain()
        for store in self._stores.values():
            await store.close()

    def _path(self, kind: str, identity: str) -> Path:
        return self._persist / "v3" / kind / f"{file_name_of(identity)}.sqlite"

    def _keep(self, path: Path, make: Callable[[Path], Kept]) -> Kept:
        store = self._stores.get(path)
        if store is None:
            store = self._stores[path] = make(path)
        return store  # type: ignore[return-value]  # one path has one kind of store
