"""Random scenarios, each made from a seed and its number alone."""

from __future__ import annotations

from random import Random

from tests.conformance.live import generate_kv as kv
from tests.conformance.live import generate_sql as sql
from tests.conformance.live.scenario import Operation, Operations, Scenario, total

OPERATIONS_MIN = 20
EVENTS_MAX = 4
TOPICS = ("kv", "kv", "sql", "sql", "sql", "sync", "alarm", "ids")
ENDINGS = ("return", "return", "throw")


def scenario(seed: int, number: int) -> Scenario:
    """Return a scenario of at least `OPERATIONS_MIN` operations."""
    random = Random(f"{seed}-{number}")
    topics = random.choice((TOPICS, TOPICS, ("sql",), ("kv", "kv", "sync", "alarm")))
    events: list[Operations] = [[] for _ in range(random.randrange(1, EVENTS_MAX + 1))]
    result = Scenario(name=f"{seed}-{number}", events=events)
    if "sql" in topics:
        events[0].extend([["exec", sql.Statement(random).create(), [], "array"] for _ in range(2)])
    while total(result) < OPERATIONS_MIN:
        for operations in events:
            operations.extend(_some(random, topics, depth=2) for _ in range(random.randrange(2, 8)))
    if random.random() < 0.05:
        chosen = random.choice(events)
        if any(operation[0] == "transaction" or "deleteAll" in operation for operation in chosen):
            # What `transaction` and `deleteAll` do is committed at once there, at the turn's end here.
            chosen.append(["turn"])
        chosen.append(["abort", "planned"])
    return result


def _some(random: Random, topics: tuple[str, ...], depth: int) -> Operation:
    """Return an operation of an event or of an asynchronous transaction."""
    chance = random.random()
    if depth and chance < 0.04:
        inner = [_some(random, topics, depth - 1) for _ in range(random.randrange(1, 6))]
        inner = [_through_txn(random, each) for each in inner]
        if random.random() < 0.25:
            inner.insert(random.randrange(len(inner) + 1), ["call", "txn", "rollback", []])
        return ["transaction", inner, random.choice(ENDINGS)]
    if depth and chance < 0.08:
        return _sync_transaction(random, topics, depth - 1)
    if chance < 0.11:
        return ["turn"]
    if chance < 0.12:
        return ["call", "storage", "sync", []]
    if chance < 0.13:
        method = random.choice(("get", "put", "rollback"))
        return ["call", "txn", method, [] if method == "rollback" else ["a"]]
    match random.choice(topics):
        case "kv":
            return kv.asynchronous(random, "storage")
        case "sync":
            return kv.synchronous(random)
        case "alarm":
            return kv.alarm(random, "storage")
        case "ids":
            return kv.identity(random)
        case _:
            return sql.statement(random)


def _sync_transaction(random: Random, topics: tuple[str, ...], depth: int) -> Operation:
    inner: Operations = []
    for _ in range(random.randrange(1, 6)):
        chance = random.random()
        if depth and chance < 0.15:
            inner.append(_sync_transaction(random, topics, depth - 1))
        elif chance < 0.5:
            inner.append(kv.synchronous(random))
        elif "sql" in topics:
            inner.append(sql.statement(random))
        else:
            inner.append(["unawaited", "storage", "put", ["a", kv.value(random)]])
    return ["sync_transaction", inner, random.choice(ENDINGS)]


def _through_txn(random: Random, operation: Operation) -> Operation:
    """Let half of the operations on the storage go through the transaction's own object."""
    if operation[:2] == ["call", "storage"] and operation[2] != "sync" and random.random() < 0.5:
        return ["call", "txn", *operation[2:]]
    return operation
