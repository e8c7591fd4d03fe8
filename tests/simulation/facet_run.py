"""One run of objects with facets, made to be traced or killed: it writes an `acks` line after each answer.

    python -m tests.simulation.facet_run DIRECTORY SEED [BUG]

Each object performs a plan of its own, one operation after the other, so what it must hold after a crash is
what it held after the last operation that was answered, or after the one that was under way. A line of
`acks` says `OBJECT COUNT`: so many operations of its plan were answered.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.gates import OutputGate
from dohost.runtime.host import Host, HostOptions
from dohost.runtime.lock import LockInfo
from dohost.storage.facet_index import FacetIndex

OBJECTS = 3
OPERATIONS = 40
PATHS = ("a", "b", "a/x", "b/x")
UNIQUE_KEY = "facets-Tree"
ENTRY = """
from workers import DurableObject, Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("unused")


class Tree(DurableObject):
    def child(self, name):
        return self.ctx.facets.get(name, lambda: {"class": self.ctx.exports.Tree})

    async def increment(self, path):
        if path:
            return await self.child(path[0]).increment(path[1:])
        await self.ctx.storage.put("value", (await self.ctx.storage.get("value") or 0) + 1)

    async def value(self, path):
        if path:
            return await self.child(path[0]).value(path[1:])
        return await self.ctx.storage.get("value") or 0

    def delete(self, name):
        self.ctx.facets.delete(name)

    def clone(self, source, target):
        self.ctx.facets.clone(source, target)
"""

State = dict[str, int]
Operation = tuple[str, ...]


def plan(seed: int, number: int) -> list[Operation]:
    """Return what one object does in a run."""
    chance = random.Random(seed * 1000 + number)
    return [_operation(chance) for _ in range(OPERATIONS)]


def _operation(chance: random.Random) -> Operation:
    kind = chance.choice(("increment",) * 6 + ("delete", "clone"))
    if kind == "increment":
        return (kind, chance.choice(PATHS))
    source = chance.choice("ab")
    return (kind, source) if kind == "delete" else (kind, source, "b" if source == "a" else "a")


def after(state: State, operation: Operation) -> State:
    """Return the values of all facets after an operation."""
    kind, name, *rest = operation
    if kind == "increment":
        return state | {name: state[name] + 1}
    target = rest[0] if rest else name
    inner = f"{target}/x"
    if kind == "delete":
        return state | {target: 0, inner: 0}
    return state | {target: state[name], inner: state[f"{name}/x"]}


async def started(root: Path) -> Host:
    """Start the host of a run on `root`'s data."""
    (root / "entry.py").write_text(ENTRY)
    host = Host(HostOptions(persist=root / "data", evict_after_s=None))
    await host.start(LockInfo(pid=os.getpid()))
    await host.load(
        (
            WorkerConfig(
                name="facets",
                main=root / "entry.py",
                config_path=root / "wrangler.toml",
                durable_objects=(DurableObjectBinding(name="TREE", class_name="Tree"),),
                classes={"Tree": "sqlite"},
            ),
        )
    )
    return host


async def run(root: Path, seed: int) -> None:
    """Perform all plans; every other operation meets objects that were evicted."""
    acks = os.open(root / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    host = await started(root)

    async def perform(number: int) -> None:
        for count, (kind, *names) in enumerate(plan(seed, number), start=1):
            stub = host.classes[UNIQUE_KEY].namespace.getByName(f"tree-{number}")
            if kind == "increment":
                await stub.increment(names[0].split("/"))
            else:
                await getattr(stub, kind)(*names)
            os.write(acks, f"{number} {count}\n".encode())
            if count % 2:
                host._evictor.sweep(idle_since_s=float("inf"))

    await asyncio.gather(*map(perform, range(OBJECTS)))
    await host.drain(grace_s=5)


def no_index() -> None:
    """The index of facets is never saved."""
    FacetIndex.save = lambda self: None  # type: ignore[method-assign]


def early_deletion() -> None:
    """Answers leave before files are deleted or copied."""
    OutputGate.lock_beside = lambda self, batch: None  # type: ignore[method-assign]


BUGS = {"no-index": no_index, "early-deletion": early_deletion}


def main(arguments: list[str]) -> None:
    """Run in DIRECTORY with SEED, with a bug planted if one is named."""
    if len(arguments) > 2:
        BUGS[arguments[2]]()
    asyncio.run(run(Path(arguments[0]), int(arguments[1])))


if __name__ == "__main__":
    main(sys.argv[1:])
