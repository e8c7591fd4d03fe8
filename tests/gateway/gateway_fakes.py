"""A host in a hundred lines: enough of namespaces, stubs and storage to run the gateway in a test.

Arguments and results are copied as RPC copies them, so that what could not cross on a real host can't
cross here. Calls start when they are made.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, TypeVar

from workers import Request, Response
from workers.values import JsDict, clone

Result = TypeVar("Result")


class FakeCursor:
    def __init__(self, rows: list[JsDict]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[JsDict]:
        return self._rows

    def toArray(self) -> list[JsDict]:
        return list(self._rows)

    def one(self) -> JsDict:
        (row,) = self._rows
        return row


class FakeSql:
    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self.database.close)
        self.writes = 0

    def exec(self, query: str, *bindings: object) -> FakeCursor:
        if not query.lstrip().upper().startswith("SELECT"):
            self.writes += 1
        found = self.database.execute(query, bindings)
        names = [column[0] for column in found.description or ()]
        return FakeCursor(
            [JsDict(zip(names, map(_js, row), strict=True)) for row in found.fetchall()]
        )


class FakeStorage:
    def __init__(self) -> None:
        self.sql = FakeSql()
        self.syncs = 0

    def transactionSync(self, callback: Callable[[], Result]) -> Result:
        return callback()

    async def sync(self) -> None:
        self.syncs += 1


class FakeId:
    def __init__(self, name: str, cls: type = object) -> None:
        self.name = name
        self._class = cls

    def __str__(self) -> str:
        return f"{self._class.__name__}/{self.name}"


class FakeState:
    def __init__(self, name: str, storage: FakeStorage, cls: type = object) -> None:
        self.id = FakeId(name, cls)
        self.storage = storage
        self.background: list[asyncio.Task[object]] = []

    def waitUntil(self, awaitable: Awaitable[object]) -> None:
        async def run() -> object:
            return await awaitable

        self.background.append(asyncio.get_running_loop().create_task(run()))


class Started:
    """The outcome of a call that ran eagerly up to its first suspension."""

    def __init__(self, awaitable: Awaitable[object]) -> None:
        self._task = asyncio.ensure_future(awaitable)

    def __await__(self) -> Generator[Any, None, object]:
        return self._task.__await__()


class FakeStub:
    def __init__(self, namespace: FakeNamespace, name: str) -> None:
        self._namespace = namespace
        self._name = name

    def fetch(self, request: Request) -> Awaitable[Response]:
        self._namespace.record(self._name, "fetch")
        return self._namespace.object(self._name).fetch(request)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        def call(*args: object) -> Awaitable[object]:
            self._namespace.record(self._name, method)
            target = self._namespace.object(self._name)

            async def run() -> object:
                outcome = getattr(target, method)(*(clone(each) for each in args))
                if asyncio.iscoroutine(outcome):
                    outcome = await outcome
                return clone(outcome)

            return Started(run())

        return call


class FakeNamespace:
    """Objects of one class by name; storage outlives them, so that a restart can be played."""

    def __init__(self, cls: type, env: object) -> None:
        self._class = cls
        self._env = env
        self.objects: dict[str, Any] = {}
        self.storages: dict[str, FakeStorage] = {}
        self.calls: list[tuple[str, str]] = []

    def getByName(self, name: str) -> FakeStub:
        return FakeStub(self, name)

    def idFromName(self, name: str) -> FakeId:
        return FakeId(name, self._class)

    def record(self, name: str, method: str) -> None:
        self.calls.append((name, method))

    def object(self, name: str) -> Any:
        if name not in self.objects:
            storage = self.storages.setdefault(name, FakeStorage())
            state = FakeState(name, storage, self._class)
            self.objects[name] = self._class(state, self._env)
        return self.objects[name]

    def restart(self) -> None:
        """Forget every live object; what was stored stays."""
        self.objects.clear()


class FakeEnv:
    """Bindings and variables as attributes."""

    def __init__(self, **variables: object) -> None:
        vars(self).update(variables)

    def bind(self, name: str, cls: type) -> FakeNamespace:
        namespace = FakeNamespace(cls, self)
        setattr(self, name, namespace)
        return namespace


def _js(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return memoryview(value) if isinstance(value, bytes) else value
