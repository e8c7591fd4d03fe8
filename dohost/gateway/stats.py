"""Counters of gateway objects: what was asked, how it ended, and how long it took.

Names are few and fixed (route patterns, services, statuses), so that a scrape stays small whatever
clients send. The text form is Prometheus's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

import msgspec

BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
HELP = {
    "gateway_requests_total": "Requests by route and status.",
    "gateway_calls_total": "Calls of services by service and outcome.",
    "gateway_version_requests_total": "Requests by API version.",
    "gateway_request_duration_ms": "Time from the route to the answer.",
}
Labels = tuple[tuple[str, str], ...]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts as they travel: rows of labels with a number each."""

    requests: list[tuple[str, int, int]]
    versions: dict[str, int]
    calls: list[tuple[str, str, int]]
    buckets: list[int]
    sum_ms: float


class Stats:
    """Counters, by name and labels."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._versions: Counter[str] = Counter()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._buckets = [0] * (len(BOUNDS_MS) + 1)
        self._sum_ms = 0.0

    def count(self, route: str, status: int, *, version: str | None, took_ms: float) -> None:
        """Count one request."""
        self._requests[route, status] += 1
        if version is not None:
            self._versions[version] += 1
        self._sum_ms += took_ms
        self._buckets[bisect_left(BOUNDS_MS, took_ms)] += 1

    def count_call(self, service: str, outcome: str) -> None:
        """Count one call of a service."""
        self._calls[service, outcome] += 1

    def counts(self) -> Counts:
        """Return everything that was counted."""
        return Counts(
            requests=[(*labels, count) for labels, count in self._requests.items()],
            versions=dict(self._versions),
            calls=[(*labels, count) for labels, count in self._calls.items()],
            buckets=list(self._buckets),
            sum_ms=self._sum_ms,
        )

    def take(self) -> Counts:
        """Return everything that was counted and begin again at nothing."""
        taken = self.counts()
        for counter in (self._requests, self._versions, self._calls):
            counter.clear()
        self._buckets, self._sum_ms = [0] * len(self._buckets), 0.0
        return taken

    def add(self, counts: Counts) -> None:
        """Count what somebody else has counted."""
        for route, status, count in counts.requests:
            self._requests[route, status] += count
        for service, outcome, count in counts.calls:
            self._calls[service, outcome] += count
        self._versions.update(counts.versions)
        self._buckets = [a + b for a, b in zip(self._buckets, counts.buckets, strict=True)]
        self._sum_ms += counts.sum_ms

    def by_version(self) -> dict[str, int]:
        """Return how many requests each API version had."""
        return dict(self._versions)

    def prometheus(self) -> str:
        """Return everything in Prometheus's text format 0.0.4."""
        lines: list[str] = []
        counters = self._labelled()
        for name, text in HELP.items():
            kind = "histogram" if name.endswith("_ms") else "counter"
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            if kind == "histogram":
                lines += self._histogram(name)
                continue
            own = counters[name]
            lines += [f"{name}{{{_labels(dict(labels))}}} {n}" for labels, n in sorted(own)]
        return "\n".join(lines) + "\n"

    def _labelled(self) -> dict[str, list[tuple[Labels, int]]]:
        """Return each counter's values with their labels."""
        return {
            "gateway_requests_total": [
                ((("route", route), ("status", str(status))), count)
                for (route, status), count in self._requests.items()
            ],
            "gateway_calls_total": [
                ((("service", service), ("outcome", outcome)), count)
                for (service, outcome), count in self._calls.items()
            ],
            "gateway_version_requests_total": [
                ((("version", version),), count) for version, count in self._versions.items()
            ],
        }

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
