"""The pieces of work, the answers that prove they were done, and the budgets they are held to.

A budget is a ratio of two figures of one interleaved run, never an absolute number: *must* is what
the project promises, *aim* where it is going. Its table is the one that the README shows.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Figure = Literal["throughput", "tail"]

DISTINCT_OBJECTS = 1_000
CALLS_IN_A_ROW = 1_000


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something to ask of a server, and what the first and the second answer must be.

    `before`: what is asked once before, so that what is read was written.
    """

    name: str
    paths: tuple[str, ...]
    before: tuple[str, ...] = ()
    first: bytes
    second: bytes


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A ratio between dohost and a peer on one piece of work.

    `throughput` divides answers per second (more is better: the ratio is to be at least `must`);
    `tail` divides p99/p50 by the same of the peer's hello (at most).
    """

    label: str
    work: Work
    connections: int
    peer: str
    figure: Figure = "throughput"
    must: float | None = None
    aim: float | None = None


def counted(count: int) -> bytes:
    """Return the answer `{"count": count}` without spaces."""
    return b'{"count":%d}' % count


HELLO = Work(name="hello", paths=("/hello",), first=b"hello", second=b"hello")
MEMORY = Work(name="memory", paths=("/memory/hot",), first=counted(1), second=counted(2))
READ = Work(
    name="read",
    paths=("/read/written",),
    before=("/increment/written",),
    first=counted(1),
    second=counted(1),
)
INCREMENT = Work(name="increment", paths=("/increment/hot",), first=counted(1), second=counted(2))
INCREMENT_MANY = Work(
    name="increment over 1,000 objects",
    paths=tuple(f"/increment/one{number}" for number in range(DISTINCT_OBJECTS)),
    first=counted(1),
    second=counted(2),
)
CHAIN_1 = Work(
    name="chain of 1",
    paths=("/chain/near/1",),
    before=("/increment/near-0",),
    first=counted(1),
    second=counted(1),
)
CHAIN_10 = Work(
    name="chain of 10",
    paths=("/chain/far/10",),
    before=("/increment/far-0",),
    first=counted(1),
    second=counted(1),
)
AGGREGATE_READS = Work(
    name="aggregate of 4 reads",
    paths=("/aggregate-reads/reader",),
    before=tuple(f"/increment/reader-part{part}" for part in range(4)),
    first=counted(4),
    second=counted(4),
)
AGGREGATE_INCREMENTS = Work(
    name="aggregate of 4 writes",
    paths=("/aggregate-increments/writer",),
    first=counted(4),
    second=counted(4),
)
CALLS = Work(
    name="1,000 calls in a row",
    paths=(f"/calls/caller/{CALLS_IN_A_ROW}",),
    first=counted(CALLS_IN_A_ROW),
    second=counted(CALLS_IN_A_ROW),
)
WORKS = (
    HELLO,
    MEMORY,
    READ,
    INCREMENT,
    INCREMENT_MANY,
    CHAIN_1,
    CHAIN_10,
    AGGREGATE_READS,
    AGGREGATE_INCREMENTS,
    CALLS,
)


def against(
    peer: str, label: str, work: Work, *rows: tuple[int, float | None, float | None]
) -> tuple[Budget, ...]:
    """Return one budget of `work` per (connections, must, aim)."""
    return tuple(
        Budget(label=label, work=work, connections=connections, peer=peer, must=must, aim=aim)
        for connections, must, aim in rows
    )


BUDGETS: tuple[Budget, ...] = (
    *against("workerd", "hello through a worker", HELLO, (16, 1.2, 2.0), (64, 1.2, 2.0)),
    *against("workerd", "object: memory read", MEMORY, (16, 2.5, 4.0)),
    *against("workerd", "object: storage read", READ, (16, 2.5, 4.0)),
    *against(
        "workerd",
        "durable increment of one object",
        INCREMENT,
        (1, 0.8, 1.0),
        (16, 3.0, 5.0),
        (64, 5.0, 8.0),
    ),
    *against("workerd", "durable increment over 1,000 objects", INCREMENT_MANY, (64, 2.5, 4.0)),
    *against("workerd", "chain of 1 object call", CHAIN_1, (16, 3.5, 6.0)),
    *against("workerd", "chain of 10 object calls", CHAIN_10, (16, 3.5, 6.0)),
    *against("workerd", "aggregate of 4 reads", AGGREGATE_READS, (16, 3.5, 6.0)),
    *against(
        "workerd",
        "aggregate of 4 durable writes",
        AGGREGATE_INCREMENTS,
        (16, 3.0, 8.0),
        (64, 3.0, 8.0),
    ),
    *against("wrangler dev", "single-connection writes", INCREMENT, (1, 4.0, None)),
    *against("wrangler dev", "concurrent reads", READ, (16, 15.0, 20.0)),
    *against("aiohttp", "hello through a worker", HELLO, (64, None, None)),
    *against("aiohttp", "memory read", MEMORY, (64, 0.45, 0.7)),
    *against("aiohttp", "storage read", READ, (64, 0.45, 0.6)),
    *against("aiohttp", "durable increment", INCREMENT, (64, 0.3, 0.5)),
    *(
        Budget(
            label=f"p99/p50 of {work.name}",
            work=work,
            connections=64,
            peer="aiohttp",
            figure="tail",
            must=2.0,
        )
        for work in (MEMORY, READ, INCREMENT)
    ),
)
