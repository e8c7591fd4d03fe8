"""Running one alarm: the object's own file decides whether it is due, then the handler runs as an event."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from dohost.errors import HostError, JsException
from dohost.objects.id import DurableObjectId
from dohost.objects.rpc import Reply
from dohost.runtime.actor import Actor
from dohost.runtime.alarms import AlarmEnd, AlarmInfo, AlarmOutcome
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.parts import Parts
from dohost.runtime.registry import ObjectClass

NO_HANDLER = "Attempted to run a scheduled alarm without a handler, did you remember to export an alarm() function?"
RUN_MAX_S = 15 * 60


class AlarmRuns:
    """Runs alarms on the live objects of a host."""

    def __init__(self, classes: Mapping[str, ObjectClass], parts: Parts) -> None:
        self._classes = classes
        self._parts = parts

    async def run_alarm(self, key: ObjectKey, *, attempt: int, due_ms: int) -> AlarmOutcome:
        """Run the handler if the object's file says that it is due."""
        object_class = self._classes.get(key.unique_key)
        if object_class is None:
            # Its class is not in the configuration now; the alarm stays for when it is again.
            return AlarmOutcome(AlarmEnd.host_failed)
        reply = Reply(loop=self._parts.loop)
        try:
            actor = object_class.actor(DurableObjectId(key.object_id, name=key.name))
            now_ms = self._parts.clock.realtime_ns() // 1_000_000
            run = AlarmRun(actor, attempt, attempt_of_ms=due_ms, now_ms=now_ms)
            actor.deliver(run.entry, _AlarmSink(actor, reply))
        except HostError as error:
            # The file can't be trusted or opened now; the alarm stays for when it can.
            self._log_failure(key, error)
            return AlarmOutcome(AlarmEnd.host_failed)
        limit = self._parts.loop.call_later(RUN_MAX_S, _end_overlong, actor)
        try:
            await reply
        except HostError as error:
            self._log_failure(key, error)
            return AlarmOutcome(AlarmEnd.host_failed)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is retried
            self._log_failure(key, error)
            return run.failed()
        finally:
            limit.cancel()
        return run.outcome

    async def give_up_alarm(self, key: ObjectKey, due_ms: int) -> None:
        """Delete the alarm from the object's file, if it is still the one that was due at `due_ms`."""
        object_class = self._classes[key.unique_key]
        actor = object_class.actor(DurableObjectId(key.object_id, name=key.name))
        reply = Reply(loop=self._parts.loop)

        async def delete() -> None:
            if actor.storage.alarm_due_ms() == due_ms:
                await actor.storage.deleteAlarm()

        actor.deliver(delete, _AlarmSink(actor, reply))
        await reply

    def _log_failure(self, key: ObjectKey, error: BaseException) -> None:
        label = f"{key.unique_key}/{key.name or key.object_id}"
        self._parts.log.event("alarm.failed", level="error", object=label, error=str(error))


def _end_overlong(actor: Actor) -> None:
    error = JsException("Alarm exceeded its allowed execution time")
    error.overloaded = True
    actor.reset(error)


class AlarmRun:
    """One run of one object's handler, as the entry of a turn; without `now_ms` it is always due.

    The number of the run counts for the alarm of `attempt_of_ms`, and for any without that.
    """

    def __init__(
        self,
        actor: Actor,
        attempt: int,
        *,
        now_ms: int | None,
        attempt_of_ms: int | None = None,
    ) -> None:
        self._actor = actor
        self._attempt = attempt
        self._attempt_of_ms = attempt_of_ms
        self._now_ms = now_ms
        self._due_ms: int | None = None
        self._is_still_set = False
        self.outcome = AlarmOutcome(AlarmEnd.done)

    def failed(self) -> AlarmOutcome:
        """Return the outcome of a run whose event has failed."""
        end = AlarmEnd.abandoned if self._actor.abandons_alarm else AlarmEnd.failed
        return AlarmOutcome(end, self._due_ms, self._is_still_set)

    async def entry(self) -> None:
        actor = self._actor
        storage = actor.storage
        due_ms = storage.alarm_due_ms()
        if due_ms is None or (self._now_ms is not None and due_ms > self._now_ms):
            self.outcome = AlarmOutcome(AlarmEnd.not_due, due_ms)
            return
        if actor.object_class.alarm is None:
            actor.object_class.parts.log.event(
                "alarm.no_handler", level="warn", object=repr(actor), message=NO_HANDLER
            )
            await storage.deleteAlarm()
            self.outcome = AlarmOutcome(AlarmEnd.given_up)
            return
        self._due_ms = due_ms
        attempt = self._attempt if self._attempt_of_ms in (None, due_ms) else 0
        info = AlarmInfo(attempt, attempt > 0, due_ms)
        storage.begin_alarm_run()
        try:
            result = actor.object_class.alarm(actor.instance, info)
            if isinstance(result, Awaitable):
                await result
        except BaseException:
            if actor.broken is None:
                self._is_still_set = storage.finish_alarm_run(success=False)
            raise
        storage.finish_alarm_run(success=True)


class _AlarmSink:
    """Tells the scheduler the outcome when what the handler wrote is durable."""

    __slots__ = ("_actor", "_reply")

    def __init__(self, actor: Actor, reply: Reply) -> None:
        self._actor = actor
        self._reply = reply

    def returned(self, value: object) -> None:
        self._when_durable(None)

    def raised(self, error: BaseException) -> None:
        self._when_durable(error if isinstance(error, Exception) else JsException(repr(error)))

    def _when_durable(self, error: BaseException | None) -> None:
        latest = self._actor.line.latest()
        if latest is None:
            self._finish(error)
        else:
            latest.add_callback(lambda failure: self._finish(failure or error))

    def _finish(self, error: BaseException | None) -> None:
        if error is None:
            self._reply.resolve(None)
        else:
            self._reply.reject(error)
