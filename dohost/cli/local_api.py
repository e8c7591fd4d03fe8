"""What a running server answers to the command line (`POST /cdn-cgi/local/api/<name>`).

The server checks who asks; this file only looks things up, in a thread, because files may be slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from dohost.errors import CallerError
from dohost.runtime.host import Host
from dohost.runtime.inspection import Inspector
from dohost.runtime.schedules import ScheduledController
from dohost.server.local_api import ScheduledEnd, UnknownCall


class _ObjectsArguments(msgspec.Struct, frozen=True, kw_only=True):
    class_name: str | None = None


class _ObjectArguments(msgspec.Struct, frozen=True, kw_only=True):
    class_name: str
    name: str


class _SqlArguments(msgspec.Struct, frozen=True, kw_only=True):
    class_name: str
    name: str
    sql: str


class InspectionApi:
    """Answers `objects`, `path` and `sql`, and runs schedules; `inspector` makes a view of what is loaded now."""

    def __init__(self, token: str, host: Host, inspector: Callable[[], Inspector]) -> None:
        self._token = token
        self._host = host
        self._inspector = inspector

    @property
    def token(self) -> str:
        """The secret of this run."""
        return self._token

    async def call(self, name: str, arguments: Mapping[str, object]) -> object:
        """Return the answer. Raises: UnknownCall, CallerError."""
        try:
            answer = self._prepare(name, arguments)
        except msgspec.ValidationError as error:
            raise CallerError(str(error)) from error
        return await asyncio.to_thread(answer)

    async def scheduled(self, cron: str, time_ms: int | None) -> ScheduledEnd:
        """Run the primary worker's `scheduled` handler."""
        if time_ms is None:
            time_ms = self._host.options.clock.realtime_ns() // 1_000_000
        controller = ScheduledController(cron=cron, scheduled_ms=time_ms)
        outcome = await self._host.schedules.run(controller)
        return ScheduledEnd(outcome=outcome, noRetry=controller.is_retry_refused)

    def _prepare(self, name: str, arguments: Mapping[str, object]) -> Callable[[], object]:
        inspector = self._inspector()
        match name:
            case "objects":
                listing = msgspec.convert(arguments, _ObjectsArguments)
                return lambda: inspector.objects(listing.class_name)
            case "path":
                named = msgspec.convert(arguments, _ObjectArguments)
                return lambda: str(inspector.path(named.class_name, named.name))
            case "sql":
                question = msgspec.convert(arguments, _SqlArguments)
                return lambda: inspector.sql(question.class_name, question.name, question.sql)
            case _:
                raise UnknownCall(f"The local API has no call {name!r}.")
