"""The driver of the live comparison for our host; javascript/worker.js is its twin, line for line."""

from __future__ import annotations

import asyncio
import json
from typing import ClassVar

from workers import DurableObject

from tests.conformance.live.neutral import Ready, decode, encode, encode_error


class Planned(Exception):
    """What an operation raises to end a transaction."""

    name = "Planned"


class Other(DurableObject):
    """A second class, for ids that belong elsewhere."""


class Driver(DurableObject):
    """Performs operations and answers in the neutral encoding."""

    def __init__(self, ctx, env):
        super().__init__(ctx, env)
        storage = ctx.storage
        self.targets = {"storage": storage, "kv": storage.kv, "sql": storage.sql}
        self.cursors = {}
        self.iterators = {}

    async def run(self, text):
        answers = []
        await self.perform(json.loads(text), answers)
        return json.dumps(answers)

    async def alarm(self):
        pass

    async def perform(self, operations, answers):
        for operation in operations:
            try:
                answers.append(encode(await self.one(operation)))
            except Exception as error:
                answers.append(encode_error(error))

    def perform_sync(self, operations, answers):
        for operation in operations:
            try:
                answers.append(encode(self.one_sync(operation)))
            except Exception as error:
                answers.append(encode_error(error))

    async def one(self, operation):
        kind, *given = operation
        match kind:
            case "call":
                result = self.call(*given)
                return await result if hasattr(result, "__await__") else result
            case "transaction":
                return await self.transaction(*given)
            case "turn":
                return await asyncio.sleep(0)
            case _:
                return self.one_sync(operation)

    def one_sync(self, operation):
        kind, *given = operation
        if kind == "unawaited":
            self.call(*given)
            return None
        return self.KINDS[kind](self, *given)

    def call(self, target, method, positional, named=()):
        if target not in self.targets:
            return "no target"
        arguments = [decode(each) for each in positional]
        if named:
            # Python's own way to give options: the last argument as keywords.
            return getattr(self.targets[target], method)(*arguments[:-1], **arguments[-1])
        return getattr(self.targets[target], method)(*arguments)

    def exec(self, query, bindings, way):
        cursor = self.ctx.storage.sql.exec(query, *map(decode, bindings))
        match way:
            case "one":
                return [cursor.one(), cursor.columnNames]
            case "raw":
                return [cursor.raw().toArray(), cursor.columnNames]
            case "next":
                return [step_of(cursor.next()), cursor.toArray(), step_of(cursor.next())]
            case "counts":
                rows = len(cursor.toArray())
                return [rows, cursor.rowsRead, cursor.rowsWritten]
        return [cursor.toArray(), cursor.columnNames]

    def open(self, slot, query, bindings):
        self.cursors[slot] = self.ctx.storage.sql.exec(query, *map(decode, bindings))
        return self.cursors[slot].columnNames

    def read(self, slot, way):
        cursor = self.cursors.get(slot)
        if cursor is None:
            return "no cursor"
        match way:
            case "next":
                return step_of(cursor.next())
            case "raw_next":
                return step_of(cursor.raw().next())
            case "one":
                return cursor.one()
            case "raw":
                return cursor.raw().toArray()
            case "names":
                return cursor.columnNames
        return cursor.toArray()

    def list(self, slot, options):
        self.iterators[slot] = iter(self.ctx.storage.kv.list(decode(options)))

    def step(self, slot, count):
        iterator = self.iterators.get(slot)
        if iterator is None:
            return "no iterator"
        pairs = []
        while len(pairs) < count:
            try:
                pairs.append(next(iterator))
            except StopIteration:
                return [*pairs, "done"]
        return pairs

    def size(self):
        return self.ctx.storage.sql.databaseSize

    def sync_transaction(self, operations, ending):
        inner = []

        def callback():
            self.perform_sync(operations, inner)
            if ending == "throw":
                raise Planned("planned")
            return len(inner)

        try:
            outcome = encode(self.ctx.storage.transactionSync(callback))
        except Exception as error:
            outcome = encode_error(error)
        return Ready([inner, outcome])

    async def transaction(self, operations, ending):
        inner = []
        outer = self.targets.get("txn")

        async def callback(txn):
            self.targets["txn"] = txn
            await self.perform(operations, inner)
            self.targets["txn"] = txn
            if ending == "throw":
                raise Planned("planned")
            return len(inner)

        try:
            outcome = encode(await self.ctx.storage.transaction(callback))
        except Exception as error:
            outcome = encode_error(error)
        self.targets["txn"] = outer or self.targets.get("txn")
        return Ready([inner, outcome])

    def past_alarm(self, due):
        self.ctx.storage.setAlarm(decode(due))
        alarm = self.ctx.storage.getAlarm()
        self.ctx.storage.deleteAlarm()
        return alarm is not None

    def ids(self, method, positional):
        namespace = self.env.DRIVER
        match method:
            case "own":
                return [self.ctx.id.toString(), self.ctx.id.name]
            case "unique":
                first, second = namespace.newUniqueId(), namespace.newUniqueId()
                equal = [first.equals(second), first.equals(first)]
                return [len(first.toString()), *equal, first.name]
            case "round_trip":
                one = namespace.idFromName(positional[0])
                again = namespace.idFromString(one.toString().upper())
                texts = [one.toString(), one.name, again.toString(), again.name]
                return [*texts, one.equals(again), again.jurisdiction]
            case "foreign":
                foreign = self.env.OTHER.idFromName(positional[0])
                return namespace.idFromString(foreign.toString()).toString()
            case "equal":
                first, second = map(namespace.idFromName, positional)
                return first.equals(second)
            case "stub":
                stub = namespace.get(namespace.idFromName(positional[0]), decode(positional[1]))
                return [stub.id.toString(), stub.name]
            case "jurisdiction":
                unique = namespace.newUniqueId({"jurisdiction": positional[0]})
                return len(unique.toString())
        return getattr(namespace, method)(*map(decode, positional)).toString()

    def abort(self, reason):
        self.ctx.abort(reason)

    KINDS: ClassVar = {
        "call_sync": call,
        "exec": exec,
        "open": open,
        "read": read,
        "list": list,
        "step": step,
        "size": size,
        "sync_transaction": sync_transaction,
        "past_alarm": past_alarm,
        "ids": ids,
        "abort": abort,
    }


def step_of(step):
    """Return an iterator's step in the neutral form."""
    return "done" if step["done"] else [step["value"]]
