"""Reaching into one object from outside of any program: its methods, its keys, its alarm.

Everything arrives as an event of the object, behind its gates and after its constructor, so a person at
the command line can neither see a half-written state nor disturb one. Values go in and out as the JSON
text in which they are stored, because that is what people can type and read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from dohost.errors import CallerError
from dohost.objects.id import DurableObjectId
from dohost.objects.rpc import Reply
from dohost.runtime.alarm_runs import AlarmRun
from dohost.runtime.alarms import AlarmEnd
from dohost.runtime.calls import RpcSink
from dohost.runtime.catalog import ObjectKey
from dohost.runtime.host import Host
from dohost.runtime.registry import ObjectClass
from dohost.storage.storage import DurableObjectStorage
from dohost.storage.values import decode, encode


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A value as JSON text; None if there is none."""

    text: str | None


class Reach:
    """The objects of one host, as the command line reaches them."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def call(self, key: ObjectKey, method: str, arguments: list[str]) -> Value:
        """Call a method as another object would; arguments and result are JSON text.

        Raises: CallerError, or whatever the method raises.
        """
        found = self._class_of(key)
        stub = found.namespace.get(DurableObjectId(key.object_id, name=key.name))
        answer = found.call(stub, method, tuple(_parsed(each) for each in arguments))
        return _shown(await answer)

    async def get(self, key: ObjectKey, name: str) -> Value:
        """Return the value of a key."""
        value = await self._in_object(key, lambda storage: storage.get(name))
        return Value(text=None) if value is None else _shown(value)

    async def put(self, key: ObjectKey, name: str, text: str) -> None:
        """Set a key to a JSON value; durable when it returns."""
        value = _parsed(text)
        await self._in_object(key, lambda storage: storage.put(name, value))

    async def delete(self, key: ObjectKey, name: str) -> bool:
        """Delete a key; return whether it was there."""
        return bool(await self._in_object(key, lambda storage: storage.delete(name)))

    async def list(self, key: ObjectKey, *, prefix: str, limit: int) -> Mapping[str, Value]:
        """Return keys and values in order."""
        found = await self._in_object(key, lambda s: s.list({"prefix": prefix, "limit": limit}))
        assert isinstance(found, Mapping), "list() gives a mapping"
        return {str(name): _shown(value) for name, value in found.items()}

    async def alarm(self, key: ObjectKey) -> int | None:
        """Return when the alarm is due, in ms since the epoch."""
        due_ms = await self._in_object(key, lambda storage: storage.getAlarm())
        assert due_ms is None or isinstance(due_ms, int), "getAlarm() gives a time or nothing"
        return due_ms

    async def set_alarm(self, key: ObjectKey, due_ms: int | None) -> None:
        """Set the alarm, or delete it."""
        if due_ms is None:
            await self._in_object(key, lambda storage: storage.deleteAlarm())
        else:
            await self._in_object(key, lambda storage: storage.setAlarm(due_ms))

    async def run_alarm(self, key: ObjectKey) -> bool:
        """Run the alarm's handler now; return whether an alarm was set. Raises what the handler raises."""
        actor = self._class_of(key).actor(DurableObjectId(key.object_id, name=key.name))
        run = AlarmRun(actor, 0, now_ms=None)
        reply = Reply(loop=self._host.parts.loop)
        actor.deliver(run.entry, RpcSink(actor, reply))
        await reply
        return run.outcome.end is AlarmEnd.done

    async def _in_object(
        self, key: ObjectKey, operate: Callable[[DurableObjectStorage], Awaitable[object]]
    ) -> object:
        actor = self._class_of(key).actor(DurableObjectId(key.object_id, name=key.name))
        reply = Reply(loop=self._host.parts.loop)
        actor.deliver(lambda: operate(actor.storage), RpcSink(actor, reply))
        return await reply

    def _class_of(self, key: ObjectKey) -> ObjectClass:
        found = self._host.classes.get(key.unique_key)
        if found is None:
            raise CallerError(f"No code is loaded for the objects in {key.unique_key}.")
        return found


def _parsed(text: str) -> object:
    """Return what JSON text says; other text is meant as it is, because nobody likes to quote quotes."""
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return decode(text)


def _shown(value: object) -> Value:
    return Value(text=encode(value))
