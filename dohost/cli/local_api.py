"""What the process that holds a data directory answers to the command line.

A running server answers on `POST /cdn-cgi/local/api/<name>` and checks who asks; without a server the
command line is that process itself and asks in the same words (`local_client`). Looking things up happens in
a thread, because files may be slow; what changes an object happens on the loop. Each call is short, so that
long work shows its progress: a backup is begun, copied object by object, and ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from dohost.cli.metrics import metrics_page
from dohost.errors import CallerError, DohostError
from dohost.runtime.backups import BackupItem
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.host import Host
from dohost.runtime.inspection import Inspector
from dohost.runtime.reach import Reach
from dohost.runtime.schedules import ScheduledController
from dohost.runtime.upkeep import Upkeep
from dohost.server.figures import ServerFigures
from dohost.server.local_api import ScheduledEnd, UnknownCall
from dohost.storage.inspection import verify
from dohost.storage.schema import ObjectMeta


class _Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of all calls; each uses some."""

    class_name: str | None = None
    name: str = ""
    sql: str = ""
    file: str = ""
    replaces: bool = False
    number: int = 0
    unique_key: str = ""
    object_id: str = ""
    method: str = ""
    arguments: list[str] = []
    key: str = ""
    value: str = ""
    prefix: str = ""
    limit: int = 1000
    due_ms: int | None = None


Call = Callable[[Inspector, _Arguments], Awaitable[object]]


class ObjectsApi:
    """Answers questions about objects and works on them; `inspector` makes a view of what is loaded now."""

    def __init__(self, token: str, host: Host, inspector: Callable[[], Inspector]) -> None:
        self._token = token
        self._host = host
        self._inspector = inspector
        self._started_s = host.options.clock.realtime_ns() / 1e9
        self._upkeep = Upkeep(host)
        self._reach = Reach(host)
        upkeep, reach = self._upkeep, self._reach
        self._calls: dict[str, Call] = {
            "objects": lambda i, a: asyncio.to_thread(i.objects, a.class_name),
            "path": lambda i, a: asyncio.to_thread(lambda: str(i.path(_class(a), a.name))),
            "sql": lambda i, a: asyncio.to_thread(i.sql, _class(a), a.name, a.sql),
            "show": lambda i, a: asyncio.to_thread(i.show, _class(a), a.name),
            "verify": lambda i, a: asyncio.to_thread(verify, Path(a.file), _meta(a)),
            "missing": lambda i, a: upkeep.missing(),
            "export": lambda i, a: upkeep.export(_key(i, a), Path(a.file)),
            "import": lambda i, a: upkeep.import_file(
                _key(i, a), Path(a.file), replaces=a.replaces
            ),
            "put_back": lambda i, a: upkeep.import_file(
                ObjectKey(a.unique_key, a.object_id, a.name or None),
                Path(a.file),
                replaces=a.replaces,
            ),
            "remove": lambda i, a: upkeep.remove(_key(i, a)),
            "begin_backup": lambda i, a: upkeep.begin_backup(i.unique_keys(a.class_name)),
            "copy_backup": lambda i, a: upkeep.copy_backup(
                a.number,
                BackupItem(unique_key=a.unique_key, object_id=a.object_id),
                Path(a.file),
            ),
            "end_backup": self._end_backup,
            "rebuild": lambda i, a: upkeep.rebuild_catalog(),
            "call": lambda i, a: reach.call(_key(i, a), a.method, a.arguments),
            "kv_get": lambda i, a: reach.get(_key(i, a), a.key),
            "kv_put": lambda i, a: reach.put(_key(i, a), a.key, a.value),
            "kv_delete": lambda i, a: reach.delete(_key(i, a), a.key),
            "kv_list": lambda i, a: reach.list(_key(i, a), prefix=a.prefix, limit=a.limit),
            "alarm_get": lambda i, a: reach.alarm(_key(i, a)),
            "alarm_set": lambda i, a: reach.set_alarm(_key(i, a), a.due_ms),
            "alarm_run": lambda i, a: reach.run_alarm(_key(i, a)),
        }

    @property
    def token(self) -> str:
        """The secret of this run."""
        return self._token

    async def call(self, name: str, arguments: Mapping[str, object]) -> object:
        """Return the answer. Raises: UnknownCall, CallerError."""
        call = self._calls.get(name)
        if call is None:
            raise UnknownCall(f"The local API has no call {name!r}.")
        try:
            return await call(self._inspector(), msgspec.convert(arguments, _Arguments))
        except msgspec.ValidationError as error:
            raise CallerError(str(error)) from error
        except CallerError:
            raise
        except OSError as error:
            raise CallerError(f"{error.filename or name}: {error.strerror or error}") from error
        except DohostError as error:
            # The person at the command line is who asked; their own process has no bug.
            raise CallerError(str(error)) from error

    async def scheduled(self, cron: str, time_ms: int | None) -> ScheduledEnd:
        """Run the primary worker's `scheduled` handler."""
        if time_ms is None:
            time_ms = self._host.options.clock.realtime_ns() // 1_000_000
        controller = ScheduledController(cron=cron, scheduled_ms=time_ms)
        outcome = await self._host.schedules.run(controller)
        return ScheduledEnd(outcome=outcome, noRetry=controller.is_retry_refused)

    async def metrics(self, server: ServerFigures) -> str:
        """Return the page of metrics."""
        return await metrics_page(self._host, server, started_s=self._started_s)

    async def _end_backup(self, inspector: Inspector, arguments: _Arguments) -> None:
        self._upkeep.end_backup(arguments.number)


def _class(arguments: _Arguments) -> str:
    if arguments.class_name is None:
        raise CallerError("Name a class.")
    return arguments.class_name


def _key(inspector: Inspector, arguments: _Arguments) -> ObjectKey:
    return inspector.key(_class(arguments), arguments.name)


def _meta(arguments: _Arguments) -> ObjectMeta:
    path = Path(arguments.file)
    return ObjectMeta(unique_key=path.parent.name, object_id=path.stem, name=None)
