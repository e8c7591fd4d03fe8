"""`python -m tests.conformance.live.run --sequences N --seed S`: compare our host with the real workerd.

Prints every difference with the smallest scenario that shows it, then how much was compared and which
known differences were met. Exits with 1 if there was a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance.live.comparison import Comparison
from tests.conformance.live.sides import dohost, workerd


async def compare(options: argparse.Namespace) -> Comparison:
    """Run both sides and compare them."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with workerd(root / "workerd") as theirs:
            async with dohost(root / "dohost") as ours:
                comparison = Comparison(theirs, ours)
                first = options.first
                await comparison.run(
                    options.seed,
                    range(first, first + options.sequences),
                    findings_max=options.findings,
                    tell=print,
                )
                return comparison


def report(comparison: Comparison) -> str:
    """Return what was compared, in a few lines."""
    tally = comparison.tally
    lines = [
        f"{tally.scenarios} scenarios, {tally.operations} operations ({tally.errors} errors), "
        f"{comparison.elapsed_s:.1f} s, {tally.operations / max(comparison.elapsed_s, 1e-9):.0f} operations/s",
        f"{len(comparison.findings)} differences; "
        f"{tally.ended_early} scenarios were not compared beyond a known difference",
    ]
    if tally.crashed:
        lines.append(f"a side itself ended over {' '.join(tally.crashed)}")
    lines += [f"  known: {count:6} × {name}" for name, count in tally.known.most_common()]
    return "\n".join(lines)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.live.run")
    parser.add_argument("--sequences", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first sequence")
    parser.add_argument("--findings", type=int, default=10, help="stop after this many differences")
    comparison = asyncio.run(compare(parser.parse_args()))
    print(report(comparison))
    return 1 if comparison.findings else 0


if __name__ == "__main__":
    sys.exit(main())
