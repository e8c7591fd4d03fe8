"""What gateway objects tell `$control` of themselves, so that one page shows all of them.

A second after the first request that it has not told of yet, an object sends what it counted since, and how
its circuits stand, in the background; a report that fails is part of the next one. `$control` adds counts up
and stores them, and keeps the states of each object for a minute. An object that ends within that second
takes its counts of it along.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from dohost.gateway.control_calls import CONTROL
from dohost.gateway.stats import Counts, Stats
from dohost.telemetry import Log

DELAY_S = 1.0
STATES_LIVE_S = 60.0
OBJECTS_MAX = 10_000
_SEVERITY = {"closed": 0, "half-open": 1, "open": 2}
States = Mapping[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One object's report."""

    object: str
    counts: Counts
    circuits: dict[str, str]


class ReportStub(Protocol):
    """The object `$control`."""

    def gateway_report(self, report: object) -> Awaitable[object]: ...


class ReportNamespace(Protocol):
    """The gateway's Durable Object binding."""

    def getByName(self, name: str) -> ReportStub: ...


class Reports:
    """Reports of one object to `$control`; without a `namespace` there are none."""

    def __init__(
        self,
        name: str,
        stats: Stats,
        *,
        circuits: Callable[[], dict[str, str]],
        namespace: ReportNamespace | None,
        later: Callable[[Awaitable[object]], None],
        log: Log,
    ) -> None:
        self._name = name
        self._stats = stats
        self._circuits = circuits
        self._namespace = namespace
        self._later = later
        self._log = log
        # Whether a request that was counted now is the first that no report under way will tell of.
        self.is_due = namespace is not None

    def begin(self) -> None:
        """Send a report in a while, behind the answer that is being given."""
        assert self._namespace is not None, "it is never due"
        self.is_due = False
        self._later(self._send(self._namespace))

    async def _send(self, namespace: ReportNamespace) -> None:
        await asyncio.sleep(DELAY_S)
        self.is_due = True
        counts = self._stats.take()
        report = Report(object=self._name, counts=counts, circuits=self._circuits())
        plain = msgspec.json.decode(msgspec.json.encode(report))  # no tuples: RPC has none
        try:
            await namespace.getByName(CONTROL).gateway_report(plain)
        except Exception as error:  # noqa: BLE001 - nothing that a request waits for
            self._stats.add(counts)
            self._log.event("gateway.report_failed", level="warn", error=repr(error))


class ReportedCircuits:
    """What the last minute's reports say about circuits, in `$control`."""

    def __init__(self) -> None:
        self._by_object: OrderedDict[str, tuple[float, States]] = OrderedDict()

    def note(self, name: str, states: States, now_s: float) -> None:
        """Keep an object's states."""
        self._by_object[name] = (now_s, states)
        self._by_object.move_to_end(name)
        if len(self._by_object) > OBJECTS_MAX:
            self._by_object.popitem(last=False)

    def worst(self, own: States, now_s: float) -> dict[str, str]:
        """Return for each service the worst state that any object has seen."""
        worst = dict(own)
        for noted_s, states in self._by_object.values():
            if now_s - noted_s >= STATES_LIVE_S:
                continue
            for service, state in states.items():
                held = worst.get(service, "closed")
                worst[service] = max(held, state, key=lambda each: _SEVERITY.get(each, 0))
        return worst
