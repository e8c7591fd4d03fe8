"""When alarms fire, and what happens when they fail.

The object's own file holds the truth: whether an alarm is set and for when. This scheduler holds an
index of it in memory and in the catalog, which is never later than the truth: an alarm that moves
earlier is indexed before the write that moved it is acknowledged, one that moves later or is deleted
after that write is durable. So an alarm may be looked at too early (and is then put right), never
missed, and a restart needs no scan of files.

A handler that fails is run again after 2 s, 4 s, 8 s … (each up to a quarter longer, by chance), six
times; then the alarm is given up. Failures of the host itself do not count. At most one handler of an
object runs at a time; an alarm set meanwhile waits for its end and replaces a retry.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable
from enum import StrEnum
from typing import Protocol

import msgspec

from dohost.clock import Clock, Entropy
from dohost.errors import HostError
from dohost.gates import Batch
from dohost.runtime.catalog import Catalog, ObjectKey
from dohost.runtime.tasks import spawn
from dohost.telemetry import Log

RETRIES_MAX = 6
RETRY_FIRST_S = 2.0
RETRY_EXPONENT_MAX = 9
RETRY_JITTER = 0.25
# Timers follow the monotonic clock; looking again this often bounds what a stepped wall clock costs.
SLEEP_MAX_S = 30.0


class AlarmInfo(msgspec.Struct, frozen=True):
    """What an alarm handler is told: how often it was tried, and the time that was set (ms)."""

    retryCount: int
    isRetry: bool
    scheduledTime: int


class AlarmEnd(StrEnum):
    """How one run of a handler ended."""

    done = "done"
    not_due = "not-due"
    failed = "failed"
    host_failed = "host-failed"
    given_up = "given-up"
    abandoned = "abandoned"


_FAILED = (AlarmEnd.failed, AlarmEnd.abandoned)


class AlarmOutcome(msgspec.Struct, frozen=True):
    """The end of one run, and the time that the object's own file has: not due before, or run for.

    `is_still_set`: a run that failed has left its alarm as it was, not set anew and not deleted.
    """

    end: AlarmEnd
    due_ms: int | None = None
    is_still_set: bool = False


class AlarmRunner(Protocol):
    """Runs one alarm on its object."""

    def run_alarm(self, key: ObjectKey, *, attempt: int, due_ms: int) -> Awaitable[AlarmOutcome]:
        """Run the handler if the object's file says that it is due.

        It is run number `attempt` for the alarm of `due_ms`; the first one for any other.
        """
        ...

    def give_up_alarm(self, key: ObjectKey, due_ms: int) -> Awaitable[None]:
        """Delete the alarm from the object's file, if it is still the one that was due at `due_ms`."""
        ...


class _Entry:
    __slots__ = ("attempt", "due_ms", "fire_at_ms", "indexing", "key", "version", "version_run")

    def __init__(self, key: ObjectKey, due_ms: int) -> None:
        self.key = key
        self.due_ms = due_ms
        self.fire_at_ms = due_ms
        self.attempt = 0
        self.version = 0
        self.version_run = 0
        # Until the catalog has it: the write that is under way, or that has failed.
        self.indexing: asyncio.Future[None] | None = None


Address = tuple[str, str]


def retry_delay_s(attempt: int, chance: float) -> float:
    """Return how long to wait after failed run number `attempt` (0 first); `chance` in [0, 1)."""
    base = RETRY_FIRST_S * 2.0 ** min(attempt, RETRY_EXPONENT_MAX)
    return base * (1.0 + RETRY_JITTER * chance)


class AlarmScheduler:
    """The index of due times, and the runs."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        catalog: Catalog,
        *,
        clock: Clock,
        entropy: Entropy,
        log: Log,
    ) -> None:
        self._loop = loop
        self._catalog = catalog
        self._clock = clock
        self._entropy = entropy
        self._log = log
        self._entries: dict[Address, _Entry] = {}
        self._heap: list[tuple[int, Address]] = []
        self._running: dict[Address, asyncio.Task[object]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._runner: AlarmRunner | None = None
        self._versions = 0
        # How runs have ended, how often one was to be tried again, and not again after the last try.
        self.ends: Counter[AlarmEnd] = Counter()
        self.retries = 0
        self.given_up = 0

    def start(self, runner: AlarmRunner, alarms: list[tuple[ObjectKey, int]]) -> None:
        """Take the index as the catalog has it and fire what is overdue."""
        self._runner = runner
        for key, due_ms in alarms:
            self._put(key, due_ms)
        self.poll()

    def start_no_more(self) -> None:
        """Start no more runs; a run that fails from now on is left for the next start."""
        self._runner = None
        if self._timer is not None:
            self._timer.cancel()

    async def stop(self) -> None:
        """Start no more runs and wait for those that run."""
        self.start_no_more()
        while self._running:
            await asyncio.wait(tuple(self._running.values()))

    def is_running(self, address: Address) -> bool:
        """Return whether the handler of an object's alarm runs now."""
        return address in self._running

    @property
    def running(self) -> int:
        """How many handlers run now."""
        return len(self._running)

    @property
    def known(self) -> int:
        """How many alarms are indexed, those that run now included."""
        return len(self._entries)

    def next_fire_ms(self) -> int | None:
        """Return when the next alarm fires, retries counted; None if none is waiting."""
        heap = self._heap
        while heap and self._is_stale(*heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due_ms(self, address: Address) -> int | None:
        """Return when an object's alarm is indexed for."""
        entry = self._entries.get(address)
        return None if entry is None else entry.due_ms

    def is_behind(self, address: Address, due_ms: int | None) -> bool:
        """Return whether the index would miss an alarm that the object's own file has."""
        if due_ms is None:
            return False
        entry = self._entries.get(address)
        return entry is None or due_ms < entry.due_ms or entry.indexing is not None

    def changed(
        self, key: ObjectKey, due_ms: int | None, batch: Batch
    ) -> asyncio.Future[None] | None:
        """Take a committed change; return what must be durable before it is acknowledged, if anything."""
        if due_ms is not None and self.is_behind(key.address, due_ms):
            return self._index(key, due_ms)
        entry = self._entries.get(key.address)
        if entry is None:
            return None
        self._versions += 1
        entry.version = version = self._versions
        batch.add_callback(
            lambda error: self._settle(key, due_ms, version) if error is None else None
        )
        return None

    def found(self, key: ObjectKey, due_ms: int | None) -> None:
        """Take what a file says that was put back or brought in.

        An index that is too early, or of no alarm at all, is corrected when it fires.
        """
        if due_ms is not None and self.is_behind(key.address, due_ms):
            self._index(key, due_ms)

    def forget_object(self, key: ObjectKey) -> None:
        """Drop the alarm of an object that is gone."""
        self._entries.pop(key.address, None)

    def forget_namespace(self, unique_key: str) -> None:
        """Drop every alarm of a namespace whose objects are gone."""
        for address in [each for each in self._entries if each[0] == unique_key]:
            del self._entries[address]

    def poll(self) -> None:
        """Start what is due now; called by the timer, and by tests that moved the clock."""
        now_ms = self._now_ms()
        heap = self._heap
        while heap and heap[0][0] <= now_ms and self._runner is not None:
            fire_at_ms, address = heapq.heappop(heap)
            if self._is_stale(fire_at_ms, address):
                continue
            entry = self._entries[address]
            self._running[address] = spawn(
                self._loop, self._run(self._runner, entry), name=f"alarm {address[1][:8]}"
            )
        self._arm()

    def _is_stale(self, fire_at_ms: int, address: Address) -> bool:
        entry = self._entries.get(address)
        return entry is None or entry.fire_at_ms != fire_at_ms or address in self._running

    def _index(self, key: ObjectKey, due_ms: int) -> asyncio.Future[None]:
        entry = self._entries.get(key.address)
        if entry is not None and entry.due_ms <= due_ms:
            running = entry.indexing
            if running is not None and not running.done():
                # A deletion that is on its way is older than this, and must not be followed any more.
                self._versions += 1
                entry.version = self._versions
                return running
        self._put(key, due_ms)
        self._arm()
        entry = self._entries[key.address]
        entry.indexing = durable = self._catalog.set_alarm(key, due_ms)

        def done(future: asyncio.Future[None]) -> None:
            if future.exception() is None:
                entry.indexing = None

        durable.add_done_callback(done)
        return durable

    def _settle(self, key: ObjectKey, due_ms: int | None, version: int) -> None:
        """Follow a durable change to a later time or to none, unless a newer one is on its way."""
        entry = self._entries.get(key.address)
        if entry is None or entry.version != version:
            return
        if due_ms is None:
            del self._entries[key.address]
            self._catalog.clear_alarm(key)
        else:
            self._put(key, due_ms)
            self._catalog.set_alarm(key, due_ms)
            self._arm()

    def _put(self, key: ObjectKey, due_ms: int) -> None:
        entry = self._entries[key.address] = _Entry(key, due_ms)
        self._versions += 1
        entry.version = self._versions
        heapq.heappush(self._heap, (due_ms, key.address))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._heap and self._runner is not None:
            wait_s = (self._heap[0][0] - self._now_ms()) / 1000
            self._timer = self._loop.call_later(min(max(wait_s, 0.0), SLEEP_MAX_S), self.poll)

    async def _give_up(self, runner: AlarmRunner, entry: _Entry) -> None:
        """Delete the alarm, from the file first."""
        try:
            await runner.give_up_alarm(entry.key, entry.due_ms)
        except HostError:
            # The file still has it, so it has to be tried again: gone from here is not gone.
            self._retry(entry, entry.attempt)
        else:
            self._forget(entry)

    async def _run(self, runner: AlarmRunner, entry: _Entry) -> None:
        address = entry.key.address
        entry.version_run = entry.version
        try:
            outcome = await runner.run_alarm(entry.key, attempt=entry.attempt, due_ms=entry.due_ms)
        finally:
            self._running.pop(address, None)
        self.ends[outcome.end] += 1
        current = self._entries.get(address)
        if current is None:
            return
        if current is entry:
            is_of_run = entry.version == entry.version_run
        else:
            # The index may have been behind: what it has now can be what has run just now.
            is_of_run = outcome.is_still_set and outcome.due_ms == current.due_ms
            if not is_of_run:
                # Set anew or deleted while the handler ran: what is indexed now has yet to fire.
                heapq.heappush(self._heap, (current.fire_at_ms, address))
                self._arm()
                return
        if is_of_run and outcome.due_ms is not None and outcome.end in _FAILED:
            current.attempt = entry.attempt if outcome.due_ms == entry.due_ms else 0
            current.due_ms = outcome.due_ms
        await self._follow_up(runner, current, outcome)

    async def _follow_up(self, runner: AlarmRunner, entry: _Entry, outcome: AlarmOutcome) -> None:
        match outcome.end:
            case AlarmEnd.done | AlarmEnd.given_up:
                self._forget(entry)
            case AlarmEnd.not_due:
                if outcome.due_ms is None:
                    self._forget(entry)
                else:
                    self._put(entry.key, outcome.due_ms)
                    self._arm()
            case AlarmEnd.failed | AlarmEnd.host_failed if self._runner is None:
                return
            case AlarmEnd.failed if entry.attempt >= RETRIES_MAX:
                self.given_up += 1
                self._log.event(
                    "alarm.given_up",
                    level="error",
                    object=entry.key.object_id,
                    runs=RETRIES_MAX + 1,
                )
                await self._give_up(runner, entry)
            case AlarmEnd.abandoned:
                await self._give_up(runner, entry)
            case AlarmEnd.failed:
                self._retry(entry, entry.attempt)
                entry.attempt += 1
            case AlarmEnd.host_failed:
                self._retry(entry, entry.attempt)

    def _retry(self, entry: _Entry, attempt: int) -> None:
        self.retries += 1
        delay_s = retry_delay_s(attempt, self._entropy.uniform())
        entry.fire_at_ms = self._now_ms() + round(delay_s * 1000)
        self._log.event(
            "alarm.retry",
            level="warn",
            object=entry.key.object_id,
            attempt=attempt + 1,
            delay_s=round(delay_s, 2),
        )
        heapq.heappush(self._heap, (entry.fire_at_ms, entry.key.address))
        self._arm()

    def _forget(self, entry: _Entry) -> None:
        if entry.version != entry.version_run:
            # It was set anew behind the run's back and that is not durable yet: the file will tell.
            entry.fire_at_ms = self._now_ms()
            heapq.heappush(self._heap, (entry.fire_at_ms, entry.key.address))
            self._arm()
            return
        if self._entries.get(entry.key.address) is entry:
            del self._entries[entry.key.address]
            self._catalog.clear_alarm(entry.key)

    def _now_ms(self) -> int:
        return self._clock.realtime_ns() // 1_000_000
