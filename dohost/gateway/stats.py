"""Counters of one gateway object: what was asked, how it ended, and how long it took.

Names are few and fixed (route patterns, services, statuses), so that a scrape stays small whatever
clients send. The text form is Prometheus's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
HELP = {
    "gateway_requests_total": "Requests by route and status.",
    "gateway_calls_total": "Calls of service methods by service and outcome.",
    "gateway_version_requests_total": "Requests by API version.",
    "gateway_request_duration_ms": "Time from the route to the answer.",
}
Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request, as it is counted."""

    route: str
    status: int
    version: str | None
    took_ms: float


class Stats:
    """Counters, by name and labels."""

    def __init__(self) -> None:
        self._counters: Counter[tuple[str, Labels]] = Counter()
        self._buckets = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def count(self, sample: Sample) -> None:
        """Count one request."""
        labels = (("route", sample.route), ("status", str(sample.status)))
        self._counters["gateway_requests_total", labels] += 1
        if sample.version is not None:
            self._counters["gateway_version_requests_total", (("version", sample.version),)] += 1
        self._sum_ms += sample.took_ms
        for index, bound in enumerate(BOUNDS_MS):
            if sample.took_ms <= bound:
                self._buckets[index] += 1
                return
        self._buckets[-1] += 1

    def count_call(self, service: str, outcome: str) -> None:
        """Count one call of a service method."""
        labels = (("service", service), ("outcome", outcome))
        self._counters["gateway_calls_total", labels] += 1

    def by_version(self) -> dict[str, int]:
        """Return how many requests each API version had."""
        return {
            labels[0][1]: count
            for (name, labels), count in self._counters.items()
            if name == "gateway_version_requests_total"
        }

    def prometheus(self) -> str:
        """Return everything in Prometheus's text format 0.0.4."""
        lines: list[str] = []
        for name, text in HELP.items():
            kind = "histogram" if name.endswith("_ms") else "counter"
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            if kind == "histogram":
                lines += self._histogram(name)
                continue
            own = ((labels, n) for (each, labels), n in self._counters.items() if each == name)
            lines += [f"{name}{{{_labels(dict(labels))}}} {n}" for labels, n in sorted(own)]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        lines, seen = [], 0
        for bound, count in zip((*BOUNDS_MS, "+Inf"), self._buckets, strict=True):
            seen += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {seen}')
        return [*lines, f"{name}_sum {self._sum_ms:.3f}", f"{name}_count {seen}"]


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
