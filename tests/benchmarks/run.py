"""Measure dohost beside its peers in one interleaved run and print the table of budgets.

    python tests/benchmarks/run.py [--quick] [--only WORK …] [--markdown FILE]

Exit code 1 when a must is not met. The first run fetches workerd and wrangler from npm.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import msgspec

from tests.benchmarks import peers, product
from tests.benchmarks.report import Line, markdown, summary
from tests.benchmarks.rounds import (
    OTHERS_MAX,
    Pace,
    Round,
    Trial,
    cpu_ratio_of,
    ratio_of,
    run_rounds,
    trials_of,
    verify,
)
from tests.benchmarks.servers import Command, Server, running
from tests.benchmarks.work import BUDGETS, CALLS, CALLS_IN_A_ROW, WORKS, Budget, Work

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FULL = Pace(rounds=3, seconds=1.0, warmup_s=0.3, attempts_max=4)
SYSTEMS = ("dohost", "aiohttp", "workerd", "wrangler dev", "product")
QUICK = Pace(rounds=1, seconds=0.3, warmup_s=0.1, attempts_max=1)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a run measures, with which systems and how long."""

    budgets: tuple[Budget, ...]
    works: tuple[Work, ...]
    systems: frozenset[str]
    has_calls: bool
    pace: Pace


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a run and what a reader must know about it."""

    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def dohost_command() -> Command:
    """Return dohost serving the benchmark's worker."""
    return Command(
        name="dohost",
        arguments=(
            sys.executable,
            "-m",
            "dohost",
            "dev",
            f"--config={HERE / 'worker' / 'wrangler.toml'}",
            "--port={port}",
            "--persist-to={data}",
            "--log-level=warn",
            "--no-watch",
        ),
        directory=ROOT,
    )


def commands(home: Path) -> tuple[tuple[Command, ...], tuple[str, ...]]:
    """Return the systems that can run here, and a loud note for each that cannot."""
    ours = (dohost_command(), peers.aiohttp_hello())
    directory = peers.install()
    if isinstance(directory, peers.Unavailable):
        return ours, (f"SKIPPED 2 peers ({directory.name}): {directory.reason}",)
    theirs = (peers.workerd_serve(directory), peers.wrangler_dev(directory, home=home))
    return (*ours, *theirs), ()


def run(chosen: Chosen) -> Outcome:
    """Start every system, check its answers, make the rounds, stop every system."""
    scratch = ROOT / "data"
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-", dir=scratch) as name,
        ExitStack() as stack,
    ):
        home = Path(name)
        systems, skipped = commands(home)
        servers = {
            system.name: stack.enter_context(running(system, data=home / f"data-{index}"))
            for index, system in enumerate(systems)
            if system.name in chosen.systems
        }
        answer_rightly(servers, chosen.works)
        trials = [*trials_of(chosen.budgets, list(servers)), *call_trials(servers, chosen)]
        rounds = run_rounds(servers, trials, pace=chosen.pace, progress=say)
        lines = [*lines_of(chosen.budgets, rounds), *call_lines(rounds)]
        if "product" in chosen.systems:
            yardstick = servers["aiohttp"]
            lines += product.lines(yardstick, data=home / "product", pace=chosen.pace, say=say)
        return Outcome(
            lines=tuple(lines), notes=(*skipped, facts(chosen.pace), *disturbances(rounds))
        )


def answer_rightly(servers: Mapping[str, Server], works: Sequence[Work]) -> None:
    """Check every answer of every worker before anything is measured."""
    for server in servers.values():
        for work in works:
            if server.name != "aiohttp":
                verify(server, work)
    say(f"every piece of work is answered rightly by: {', '.join(servers)}")


def call_trials(servers: Mapping[str, Server], chosen: Chosen) -> tuple[Trial, ...]:
    """Return the trial of calls in a row, which no budget compares."""
    systems = tuple(name for name in ("dohost", "workerd") if name in servers)
    if not systems or not chosen.has_calls:
        return ()
    return (Trial(work=CALLS, connections=1, systems=systems),)


def lines_of(budgets: Sequence[Budget], rounds: Sequence[Round]) -> list[Line]:
    """Return a row per budget whose peer was there."""
    lines = []
    for budget in budgets:
        ratio = ratio_of(budget, rounds)
        if ratio is not None:
            line = Line(
                against=budget.peer,
                label=budget.label,
                connections=budget.connections,
                value=ratio,
                sense="most" if budget.figure == "tail" else "least",
                must=budget.must,
                aim=budget.aim,
                cpu_ratio=cpu_ratio_of(budget, rounds),
            )
            lines.append(line)
    return lines


def call_lines(rounds: Sequence[Round]) -> list[Line]:
    """Return the cost of one call from object to object, from a thousand in a row."""
    lines = []
    for name, must, aim in (("dohost", 12.0, 6.0), ("workerd", None, None)):
        measured = [made.get((CALLS.name, 1, name)) for made in rounds]
        micros = [each.load.p50_ms * 1e3 / CALLS_IN_A_ROW for each in measured if each is not None]
        if micros:
            line = Line(
                against="",
                label=f"one call from object to object, argument copied: {name}",
                value=median(micros),
                unit=" µs",
                sense="most" if must else "only",
                must=must,
                aim=aim,
            )
            lines.append(line)
    return lines


def facts(pace: Pace) -> str:
    """Return the sentence that says on what and how the figures were measured."""
    return (
        f"Measured on {platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python "
        f"{platform.python_version()}: each server on the first core, the load on the second; "
        f"median of {pace.rounds} interleaved rounds of {pace.seconds:g} s."
    )


def disturbances(rounds: Sequence[Round]) -> tuple[str, ...]:
    """Return how many measurements stayed disturbed by other processes, if any did."""
    measured = [each for made in rounds for each in made.values()]
    disturbed = sum(each.is_disturbed for each in measured)
    if not disturbed:
        return ()
    return (
        f"{disturbed} of {len(measured)} measurements were disturbed: other processes took more "
        f"than {OTHERS_MAX:.0%} of a core. The column by CPU is the one to trust there.",
    )


def say(line: str) -> None:
    """Show progress at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def chosen_by(arguments: Sequence[str]) -> tuple[Chosen, Path | None]:
    """Parse the command line; return what to measure and where the markdown goes."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, help="how many rounds (3)")
    parser.add_argument("--only", nargs="+", metavar="WORK", help="how names of work begin")
    parser.add_argument("--systems", nargs="+", default=SYSTEMS, choices=SYSTEMS)
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    pace = QUICK if options.quick else FULL
    if options.rounds:
        pace = msgspec.structs.replace(pace, rounds=options.rounds)
    words = tuple(options.only or ("",))
    works = tuple(work for work in WORKS if work.name.startswith(words))
    chosen = Chosen(
        budgets=tuple(budget for budget in BUDGETS if budget.work in works),
        works=works,
        systems=frozenset(options.systems),
        has_calls=CALLS in works,
        pace=pace,
    )
    return chosen, options.markdown


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit code."""
    chosen, file = chosen_by(arguments)
    # Ended from outside, the run still stops its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    outcome = run(chosen)
    table = markdown(outcome.lines, notes=outcome.notes)
    print(f"{table}\n{summary(outcome.lines)}")
    if file is not None:
        file.write_text(table)
    return 0 if all(line.is_met for line in outcome.lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
