"""Interleaved rounds: in each round every system does the same work back to back.

The machine is shared and noisy, so a figure means nothing beside one of another minute. Ratios are
made within a round, and a run keeps the median of its rounds; the order of the systems turns
round by round. A measurement during which other processes took a tenth of a core is made again,
a few times; what stays disturbed is counted and said.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import msgspec

from tests.benchmarks.load import Load, Plan, measure, request_bytes
from tests.benchmarks.servers import Server, busy_seconds, pinned
from tests.benchmarks.work import HELLO, Budget, Work

LOAD_CORE = 1
OTHERS_MAX = 0.1


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work at one number of connections, and the systems that are to do it."""

    work: Work
    connections: int
    systems: tuple[str, ...]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one system did in one trial of one round.

    `cpu_us`: the server's processor time per answer; `others`: how much of a core other processes
    took meanwhile.
    """

    load: Load
    cpu_us: float
    others: float

    @property
    def is_disturbed(self) -> bool:
        """Return whether others took so much that answers per second mean little."""
        return self.others > OTHERS_MAX

    @property
    def tail(self) -> float:
        """Return how many times the median the 99th percentile is."""
        return self.load.p99_ms / self.load.p50_ms


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long each trial takes, how often it is made, and how often at most if disturbed."""

    rounds: int
    seconds: float
    warmup_s: float
    attempts_max: int


Round = Mapping[tuple[str, int, str], Measured]


class WrongAnswer(Exception):
    """A server did not do the work it was asked for."""


def trials_of(budgets: Sequence[Budget], running: Sequence[str]) -> tuple[Trial, ...]:
    """Return the trials that the budgets need, each with the systems that are there."""
    wanted: dict[tuple[str, int], tuple[Work, set[str]]] = {}
    for budget in budgets:
        if budget.peer not in running and "dohost" not in running:
            continue
        _, systems = wanted.setdefault((budget.work.name, budget.connections), (budget.work, set()))
        systems |= {"dohost", budget.peer}
    return tuple(
        Trial(
            work=work,
            connections=connections,
            systems=tuple(name for name in running if name in systems),
        )
        for (_, connections), (work, systems) in wanted.items()
    )


def verify(server: Server, work: Work) -> None:
    """Ask a fresh server for what comes before, then for each path twice.

    Raises:
        WrongAnswer: an answer is not the one that proves the work.
    """
    for path in work.before:
        server.get(path)
    for expected in (work.first, work.second):
        for path in work.paths:
            answer = server.get(path)
            if answer.status != 200 or answer.body.replace(b" ", b"") != expected:
                said = f"{answer.status} {answer.body[:200]!r}"
                raise WrongAnswer(f"{server.name} {path}: {said}, not {expected!r}")


def load_of(server: Server, requests: Sequence[bytes], *, connections: int, pace: Pace) -> Measured:
    """Put `requests` on a server for the seconds of `pace`; return the least disturbed attempt.

    Raises:
        WrongAnswer: any answer was not a 200.
    """
    plan = Plan(
        port=server.port,
        requests=tuple(requests),
        connections=connections,
        seconds=pace.seconds,
        warmup_s=pace.warmup_s,
    )
    best = attempt(server, plan)
    for _ in range(pace.attempts_max - 1):
        if not best.is_disturbed:
            break
        best = min(best, attempt(server, plan), key=lambda measured: measured.others)
    return best


def attempt(server: Server, plan: Plan) -> Measured:
    """Measure once."""
    began, busy, cpu = time.monotonic(), busy_seconds(), server.cpu_seconds()
    spent = children_seconds()
    load = measure(plan, pinned=pinned(LOAD_CORE))
    elapsed = time.monotonic() - began
    cpu_seconds = server.cpu_seconds() - cpu
    others = busy_seconds() - busy - cpu_seconds - (children_seconds() - spent)
    if load.failures or not load.answers:
        raise WrongAnswer(f"{server.name}: {load.failures} failures, {load.answers} answers")
    return Measured(
        load=load,
        cpu_us=cpu_seconds / load.answers_in_all * 1e6,
        others=max(0.0, others / elapsed),
    )


def children_seconds() -> float:
    """Return the processor time of the load generators that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_rounds(
    servers: Mapping[str, Server],
    trials: Sequence[Trial],
    *,
    pace: Pace,
    progress: Callable[[str], None],
) -> list[Round]:
    """Make all rounds; `progress` hears of each measurement."""
    rounds: list[Round] = []
    for number in range(pace.rounds):
        measured: dict[tuple[str, int, str], Measured] = {}
        for trial in trials:
            systems = trial.systems[number % len(trial.systems) :]
            systems += trial.systems[: number % len(trial.systems)]
            for name in systems:
                # The yardstick answers hello whatever the others are asked for.
                paths = HELLO.paths if name == "aiohttp" else trial.work.paths
                requests = [request_bytes("GET", path) for path in paths]
                result = load_of(servers[name], requests, connections=trial.connections, pace=pace)
                measured[trial.work.name, trial.connections, name] = result
                progress(describe(number, trial, name, result))
        rounds.append(measured)
    return rounds


def describe(number: int, trial: Trial, name: str, result: Measured) -> str:
    """Return one line of progress."""
    load = result.load
    return (
        f"round {number + 1}  {trial.work.name:<28} {trial.connections:>3}  {name:<13}"
        f"{load.per_second:>9,.0f}/s  p50 {load.p50_ms:7.2f}  p99 {load.p99_ms:7.2f} ms  "
        f"cpu {result.cpu_us:7.1f} µs  load {load.own_cpu:4.0%}  others {result.others:4.0%}"
    )


def ratio_of(budget: Budget, rounds: Sequence[Round]) -> float | None:
    """Return the median over the rounds of the budget's ratio; None without the peer."""
    pairs = list(pairs_of(budget, rounds))
    if not pairs:
        return None
    if budget.figure == "tail":
        return median(ours.tail / theirs.tail for ours, theirs in pairs)
    return median(ours.load.per_second / theirs.load.per_second for ours, theirs in pairs)


def cpu_ratio_of(budget: Budget, rounds: Sequence[Round]) -> float | None:
    """Return the median of the peer's processor time per answer to ours, if the work is the same."""
    pairs = list(pairs_of(budget, rounds))
    if not pairs or budget.figure == "tail" or budget.peer == "aiohttp":
        return None
    return median(theirs.cpu_us / ours.cpu_us for ours, theirs in pairs)


def pairs_of(budget: Budget, rounds: Sequence[Round]) -> Iterator[tuple[Measured, Measured]]:
    """Yield what dohost and the budget's peer did, round by round."""
    for measured in rounds:
        ours = measured.get((budget.work.name, budget.connections, "dohost"))
        theirs = measured.get((budget.work.name, budget.connections, budget.peer))
        if ours is not None and theirs is not None:
            yield ours, theirs
