"""The table: each budget with its ratio, what it must be, where it is going and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a figure and the bounds it is held to.

    `sense` says which way is good: `least` bounds from below, `most` from above, `only` has no
    bound and just informs. `cpu_ratio`: the same work by processor time, which other processes on
    the machine disturb far less.
    """

    against: str
    label: str
    connections: int | None = None
    value: float
    unit: str = "×"
    sense: str = "least"
    must: float | None = None
    aim: float | None = None
    cpu_ratio: float | None = None

    @property
    def is_met(self) -> bool:
        """Return whether the figure keeps its `must`."""
        if self.must is None:
            return True
        return self.value >= self.must if self.sense == "least" else self.value <= self.must


HEADINGS = ("against", "work", "connections", "measured", "must", "aim", "", "by CPU")


def cells(line: Line) -> tuple[str, ...]:
    """Return a line's columns as text."""
    sign = {"least": "≥ ", "most": "≤ "}.get(line.sense, "")
    verdict = "" if line.must is None else ("met" if line.is_met else "**NOT MET**")
    return (
        line.against,
        line.label,
        "" if line.connections is None else str(line.connections),
        amount(line.value, line.unit),
        "" if line.must is None else f"{sign}{amount(line.must, line.unit)}",
        "" if line.aim is None else f"{sign}{amount(line.aim, line.unit)}",
        verdict,
        "" if line.cpu_ratio is None else amount(line.cpu_ratio, "×"),
    )


def amount(value: float, unit: str) -> str:
    """Return a figure with as many places as mean something."""
    text = f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}{unit}"


def markdown(lines: Sequence[Line], *, notes: Sequence[str]) -> str:
    """Return the table as the README shows it, with its notes below."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(line) for line in lines)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([table, "", *notes]) + "\n"


def summary(lines: Sequence[Line]) -> str:
    """Return one sentence that counts what holds."""
    bounded = [line for line in lines if line.must is not None]
    missed = [line.label for line in bounded if not line.is_met]
    text = f"{len(bounded) - len(missed)} of {len(bounded)} musts are met"
    return f"{text}; not met: {'; '.join(missed)}" if missed else text
