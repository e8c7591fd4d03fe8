"""What a server has answered and holds now: plain numbers for the page of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from dohost.histogram import Histogram

if TYPE_CHECKING:
    from dohost.server.exchange import Exchange

# By the first digit of the status. What a program passes on from elsewhere may be any number of three.
_DIGIT_MAX = 5
_CLASSES = ("none", *(f"{digit}xx" for digit in range(1, 10)))


class ServerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A server at one moment; all that is no state is counted since it began.

    `answers`: by class of status ("2xx"); "none" where the client left before, or the status is no such
    number. `durations`: of the same, from the head of a request to the end of its answer. `refusals`: by
    status, of what never became a request: malformed, too large, too slow, or a connection too many.
    """

    answers: Mapping[str, int]
    durations: Histogram
    in_flight: int
    refusals: Mapping[int, int]
    connections: int
    connections_upgraded: int
    connections_accepted: int


class ServerCounts:
    """What a listener and its connections count."""

    __slots__ = ("accepted", "answers", "durations", "refusals")

    def __init__(self) -> None:
        self.accepted = 0
        self.answers = [0] * len(_CLASSES)
        self.durations = Histogram()
        self.refusals: Counter[int] = Counter()

    def answered(self, exchange: Exchange, now_s: float) -> None:
        """Count a request that has ended."""
        try:
            self.answers[exchange.status // 100 if exchange.has_answered else 0] += 1
        except (IndexError, TypeError):
            # A program can set its response's status to anything, after it was made.
            self.answers[0] += 1
        self.durations.observe(now_s - exchange.started_s)

    def by_class(self) -> dict[str, int]:
        """Return the answers by class of status; those that no server sends only if there are any."""
        named = enumerate(zip(_CLASSES, self.answers, strict=True))
        return {name: count for digit, (name, count) in named if count or digit <= _DIGIT_MAX}
