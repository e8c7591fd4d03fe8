"""Prometheus's text format 0.0.4: families of samples in, one page out. Pure.

Written here because the format is small: the usual client library brings a registry of its own that is global
and takes a lock for every count, and what is shown here is counted elsewhere and only read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from dohost.histogram import BOUNDS_S, Histogram

Kind = Literal["counter", "gauge", "histogram"]


class Sample(msgspec.Struct, frozen=True):
    """One value with its labels; `suffix` is what a histogram's samples have behind the family's name."""

    value: float
    labels: Mapping[str, str] = {}
    suffix: str = ""


class Family(msgspec.Struct, frozen=True):
    """All samples of one name."""

    name: str
    kind: Kind
    help: str
    samples: tuple[Sample, ...]


def counter(name: str, text: str, samples: Iterable[Sample] | float) -> Family:
    """Return a family that only grows; its name is to end in `_total`."""
    return Family(name, "counter", text, _samples(samples))


def gauge(name: str, text: str, samples: Iterable[Sample] | float) -> Family:
    """Return a family of what is now."""
    return Family(name, "gauge", text, _samples(samples))


def histogram(name: str, text: str, durations: Histogram) -> Family:
    """Return a family of durations; its name is to end in `_seconds`."""
    samples, seen = [], 0
    for bound, count in zip((*BOUNDS_S, float("inf")), durations.counts, strict=True):
        seen += count
        samples.append(Sample(seen, {"le": _number(bound)}, "_bucket"))
    samples += (Sample(durations.sum_s, suffix="_sum"), Sample(seen, suffix="_count"))
    return Family(name, "histogram", text, tuple(samples))


def render(families: Iterable[Family]) -> str:
    """Return the page."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += (_line(family.name, sample) for sample in family.samples)
    return "\n".join(lines) + "\n"


def _samples(given: Iterable[Sample] | float) -> tuple[Sample, ...]:
    return (Sample(given),) if isinstance(given, (int, float)) else tuple(given)


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_quoted(value)}"' for key, value in sample.labels.items())
    shown = f"{{{labels}}}" if labels else ""
    return f"{name}{sample.suffix}{shown} {_number(sample.value)}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")
