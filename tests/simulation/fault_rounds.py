"""Disk faults at every call number, in a real server under load: what was promised holds, and it heals.

    python -m tests.simulation.fault_rounds [--rounds 72] [--up-to 300] [--seed 1] [--bug NAME] [--kind KIND]

One round: clients append to ledgers, old ones, new and cold; the n-th call of a kind fails, once or until
the disk is repaired; every answer is clear and in time; objects whose files are not hit go on; within 5 s after the
repair every object takes writes again, in the same process, which has not flooded its log; then the content
of each is compared with what its clients were told. Every second round ends in `kill -9`, some of them while
the disk still fails, and the next process must show the same.

`--up-to` N runs every kind at every number from 1 to N instead of drawing numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from dohost.clock import SeededEntropy
from dohost.objects.id import IdFactory
from tests.simulation.faulty_disk import Fault, FaultyDisk, Kind
from tests.simulation.ledger import UNIQUE_KEY, Ledgers, Outcome, Violation, write_project
from tests.simulation.server_process import Connection, Server
from tests.simulation.system_calls import Supervisor

PROJECT = Path(__file__).parents[2]
CLIENTS = 6
OLD = tuple(f"old-{index}" for index in range(4))
# Each is touched so seldom that its instance has ended meanwhile: its file is opened again.
COLD = tuple(f"cold-{index}" for index in range(48))
RECOVERS_WITHIN_S = 5.0
FAULT_S = 0.25
REACHED_WITHIN_S = 6.0
ROUNDS_PER_DIRECTORY = 24
LOG_LINES_MAX = 60
LOG_TAIL_LINES = 4
_IDS = IdFactory(UNIQUE_KEY, SeededEntropy(1))


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """`kills_early`: `kill -9` while the fault is on; `one`: only files of the first old object are hit."""

    kind: Kind
    number: int
    lasts: bool
    one: bool
    kills_early: bool
    kills: bool

    def __str__(self) -> str:
        words = [f"{self.kind} #{self.number}", "lasting" if self.lasts else "once"]
        words += ["one object"] * self.one + ["killed early"] * self.kills_early
        return ", ".join(words + ["killed"] * self.kills)


class Found(msgspec.Struct, kw_only=True):
    """What the rounds have seen."""

    rounds: int = 0
    reached: Counter[str] = msgspec.field(default_factory=Counter)
    hits: int = 0
    acknowledged: int = 0
    kills: int = 0
    codes: Counter[str] = msgspec.field(default_factory=Counter)
    slowest_recovery_s: float = 0.0
    most_log_lines: int = 0
    violations: list[str] = msgspec.field(default_factory=list)


def drawn(count: int, *, seed: int, up_to: int) -> Iterator[Round]:
    """Yield rounds whose kinds take turns and whose numbers are drawn, low ones more often."""
    chance = random.Random(seed)
    kinds = list(Kind)
    for index in range(count):
        number = min(up_to, 1 + int(chance.expovariate(4 / up_to)))
        yield _round(kinds[index % len(kinds)], number, index, chance)


def every(up_to: int, *, seed: int, kinds: tuple[Kind, ...]) -> Iterator[Round]:
    """Yield a round for every kind and number."""
    chance = random.Random(seed)
    for index, number in enumerate(range(1, up_to + 1)):
        for kind in kinds:
            yield _round(kind, number, index, chance)


def _round(kind: Kind, number: int, index: int, chance: random.Random) -> Round:
    is_rare = kind in (Kind.create_full, Kind.change_full, Kind.open_many, Kind.open_fails)
    if is_rare:
        # At a high number they would not come within a round, nor would they for one old object.
        number = 1 + number % 20
    kills = index % 2 == 1
    return Round(
        kind=kind,
        number=number,
        lasts=chance.random() < 0.5,
        one=chance.random() < 0.25 and not is_rare,
        kills_early=kills and chance.random() < 0.4,
        kills=kills,
    )


class Run:
    """One data directory, its server and its clients."""

    def __init__(self, root: Path, found: Found, *, bug: str | None = None) -> None:
        self._data = root / "data"
        self._found = found
        self._disk = FaultyDisk()
        self._supervisor = Supervisor(root, self._disk.decide)
        write_project(root)
        self._server = Server(
            root,
            command=("serve", "--json-logs", "--log-level", "warn", "--evict-after", "0.2"),
            wrapper=(
                *("env", f"PYTHONPATH={PROJECT}"),
                *(sys.executable, "-m", "tests.simulation.faulted_server"),
                *(self._supervisor.address, bug or "-"),
            ),
        )
        self._output = root / "output"
        self._ledgers = Ledgers()
        self._touched: set[str] = set()
        self._cold = itertools.cycle(COLD)
        self._is_stopping = False
        self._is_killed = False

    async def begin(self) -> None:
        """Start the server and give the old objects something to lose."""
        self._server.start()
        async with Connection(self._server.port) as connection:
            for name in (*OLD * 3, *COLD):
                await self._ledgers.append(connection, name)

    def end(self) -> None:
        """Stop everything."""
        self._disk.repair()
        self._server.end(signal.SIGKILL)
        self._supervisor.close()

    async def round(self, plan: Round) -> None:
        """Run one round. Raises: Violation."""
        found = self._found
        found.rounds += 1
        lines = self._log_lines()
        self._is_stopping = self._is_killed = False
        self._touched = set(OLD)
        suffix = f"/v3/do/{UNIQUE_KEY}/{_IDS.from_name(OLD[0]).toString()}" if plan.one else "/"
        fault = Fault(
            kind=plan.kind,
            number=plan.number,
            lasts=plan.lasts,
            prefix=f"{self._data}{suffix}",
        )
        self._disk.arm(fault)
        clients = [
            asyncio.create_task(self._client(index, plan, found.rounds)) for index in range(CLIENTS)
        ]
        try:
            await self._until_hit(clients)
            await asyncio.sleep(FAULT_S)
            if self._disk.hits:
                found.reached[plan.kind] += 1
                found.hits += self._disk.hits
            if plan.kills_early:
                self._kill()
            repaired_s = self._disk.repair()
            if not plan.kills_early:
                await self._recovered(repaired_s)
        finally:
            self._disk.repair()
            self._is_stopping = True
            outcomes = await asyncio.gather(*clients, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        await self._check(plan, lines)

    async def _check(self, plan: Round, lines: int) -> None:
        if not plan.kills_early:
            if not self._server.is_running:
                raise Violation("the server has ended")
            await self._ledgers.read_all(self._server.port)
            written = self._log_lines() - lines
            self._found.most_log_lines = max(self._found.most_log_lines, written)
            if written > LOG_LINES_MAX:
                raise Violation(f"{written} lines in the log: {self._output.read_text()[-2000:]}")
        if plan.kills:
            self._kill()
            self._server.start()
            self._found.kills += 1
            await self._ledgers.read_all(self._server.port)
            self._ledgers.forget_all_but(OLD + COLD)

    def _kill(self) -> None:
        self._is_killed = True
        self._server.end(signal.SIGKILL)

    async def _until_hit(self, clients: list[asyncio.Task[None]]) -> None:
        deadline_s = time.monotonic() + REACHED_WITHIN_S
        while not self._disk.hits and time.monotonic() < deadline_s:
            if any(client.done() for client in clients):
                return
            await asyncio.sleep(0.005)

    async def _client(self, index: int, plan: Round, number: int) -> None:
        """Append, mostly to an old object, sometimes to a new or a cold one, until the round ends."""
        old, count = OLD[index % len(OLD)], 0
        try:
            async with Connection(self._server.port) as connection:
                while not self._is_stopping:
                    count += 1
                    fresh = f"new-{number}-{index}-{count // 40}"
                    name = fresh if count % 4 == 0 else old
                    if count % 20 == 7:
                        name = next(self._cold)
                    self._touched.add(name)
                    action = "alarm_and_append" if count % 5 == 0 else "append"
                    outcome = await self._ledgers.append(connection, name, action=action)
                    if outcome is Outcome.acknowledged:
                        self._found.acknowledged += 1
                    elif plan.one and name != OLD[0]:
                        raise Violation(f"{name} failed with the disk of {OLD[0]}")
        except (OSError, EOFError) as error:
            if not self._is_killed:
                raise Violation(f"the server hung up: {error!r}") from error

    async def _recovered(self, repaired_s: float) -> None:
        """Wait until every object takes a write. Raises: Violation if that takes too long."""
        try:
            async with Connection(self._server.port) as connection:
                for name in sorted(self._touched):
                    while await self._ledgers.append(connection, name) is not Outcome.acknowledged:
                        if time.monotonic() - repaired_s > RECOVERS_WITHIN_S:
                            raise Violation(f"{name} does not work again: {self._ledgers.codes}")
                        await asyncio.sleep(0.05)
        except (OSError, EOFError) as error:
            raise Violation(f"the server hung up: {error!r}") from error
        took_s = time.monotonic() - repaired_s
        self._found.slowest_recovery_s = max(self._found.slowest_recovery_s, took_s)

    def _log_lines(self) -> int:
        return self._output.read_text().count("\n") if self._output.exists() else 0

    def log_tail(self) -> str:
        """Return what the server said last."""
        return "\n".join(self._output.read_text().splitlines()[-LOG_TAIL_LINES:])

    def report(self) -> None:
        """Add the answers of this run to what was found."""
        self._found.codes.update(self._ledgers.codes)


async def explore(
    rounds: Iterable[Round], *, bug: str | None = None, progress: bool = False
) -> Found:
    """Run all rounds; a data directory in which a promise was broken is given up.

    A planted bug has been found with the first broken promise.
    """
    found = Found()
    rounds = iter(rounds)
    is_over = False
    while not is_over and not (bug and found.violations):
        with tempfile.TemporaryDirectory(prefix="faults") as directory:
            run = Run(Path(directory).resolve(), found, bug=bug)
            try:
                await run.begin()
                for _ in range(ROUNDS_PER_DIRECTORY):
                    plan = next(rounds, None)
                    if plan is None:
                        is_over = True
                        break
                    if progress and found.rounds % 25 == 0:
                        print(
                            f"{found.rounds} rounds, {found.hits} faults, {found.acknowledged} "
                            f"acknowledged, {len(found.violations)} violations",
                            flush=True,
                        )
                    try:
                        await run.round(plan)
                    except Violation as violation:
                        found.violations.append(f"{plan}: {violation}\n{run.log_tail()}")
                        break
            finally:
                run.end()
                run.report()
    return found


def main() -> int:
    """Run rounds and print what was seen; exit 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description="Fail the disk of a server under load.")
    parser.add_argument("--rounds", type=int, default=72)
    parser.add_argument("--up-to", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", help="a bug of planted_bugs to plant")
    parser.add_argument("--kind", type=Kind, action="append", help="repeatable; default: all")
    options = parser.parse_args()
    started = time.monotonic()
    kinds = tuple(options.kind or Kind)
    plans = (
        drawn(options.rounds, seed=options.seed, up_to=120)
        if options.up_to is None
        else every(options.up_to, seed=options.seed, kinds=kinds)
    )
    found = asyncio.run(explore(plans, bug=options.bug, progress=True))
    took_s = time.monotonic() - started
    print(
        f"{found.rounds} rounds with {found.hits} faults ({dict(found.reached)} rounds reached theirs), "
        f"{found.kills} kills, {found.acknowledged} acknowledged, answers {dict(found.codes)}, slowest "
        f"recovery {found.slowest_recovery_s:.2f} s, at most {found.most_log_lines} lines of log, "
        f"in {took_s:.0f} s"
    )
    print(*found.violations or ["no violation"], sep="\n")
    return 1 if found.violations else 0


if __name__ == "__main__":
    sys.exit(main())
