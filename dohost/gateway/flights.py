"""Single flight: at most one fetch per key is under way; others wait for its answer.

The fetch belongs to no client: one that goes away does not cancel it. If it fails, one waiter becomes
the next leader and the rest hear the error. An answer nobody may share is remembered as hit-for-miss
for a while, so that followers stop queueing behind what they can't use.

    turn = flights.join(key, now)
    if isinstance(turn, Lead):    fetch, then flights.land(...) or flights.crash(...)
    elif isinstance(turn, Wait):  answer = await turn.answer()   # may be Lead: the leader failed
    else:                         fetch alone; nobody waits for it
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar

from msgspec import Struct

Answer = TypeVar("Answer")
HIT_FOR_MISS_KEYS_MAX = 10_000


class Lead(Struct, frozen=True):
    """You fetch; others wait for you."""


class Alone(Struct, frozen=True):
    """You fetch for yourself: answers to this key could not be shared lately."""


class Unshared(Struct, frozen=True):
    """The leader's answer is the leader's own: fetch for yourself."""


class Wait(Generic[Answer]):
    """Someone else fetches; `answer()` waits for it."""

    __slots__ = ("_flights", "_future", "_key")

    def __init__(
        self, flights: Flights[Answer], key: str, future: asyncio.Future[Answer | Lead | Unshared]
    ) -> None:
        self._flights = flights
        self._key = key
        self._future = future

    async def answer(self) -> Answer | Lead | Unshared:
        """Wait for the leader's answer; `Lead`: it failed and it's your turn.

        Cancel-safe: a follower that goes away leaves the queue, and one that had just become the
        leader passes that on. Raises: the leader's error.
        """
        try:
            return await self._future
        except asyncio.CancelledError:
            future = self._future
            has_answer = future.done() and not future.cancelled() and future.exception() is None
            if has_answer and isinstance(future.result(), Lead):
                self._flights.abandon(self._key)
            raise


class Flight(Generic[Answer]):
    """One fetch under way and its followers, oldest first."""

    __slots__ = ("followers", "is_retry")

    def __init__(self, *, is_retry: bool) -> None:
        self.followers: list[asyncio.Future[Answer | Lead | Unshared]] = []
        self.is_retry = is_retry


class Flights(Generic[Answer]):
    """The table of fetches under way."""

    def __init__(self, *, hit_for_miss_s: float) -> None:
        self._flights: dict[str, Flight[Answer]] = {}
        self._alone_until: OrderedDict[str, float] = OrderedDict()
        self._hit_for_miss_s = hit_for_miss_s

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: str, now: float) -> Lead | Alone | Wait[Answer]:
        """Return your part in fetching `key`; `now` is monotonic seconds."""
        if self._alone_until.get(key, now) > now:
            return Alone()
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = Flight(is_retry=False)
            return Lead()
        future: asyncio.Future[Answer | Lead | Unshared]
        future = asyncio.get_running_loop().create_future()
        flight.followers.append(future)
        return Wait(self, key, future)

    def land(self, key: str, answer: Answer) -> None:
        """Give the leader's answer to every follower."""
        for follower in self._end(key):
            follower.set_result(answer)

    def land_alone(self, key: str, now: float) -> None:
        """Say that the leader's answer may not be shared: followers fetch for themselves."""
        self._alone_until[key] = now + self._hit_for_miss_s
        self._alone_until.move_to_end(key)
        if len(self._alone_until) > HIT_FOR_MISS_KEYS_MAX:
            self._alone_until.popitem(last=False)
        for follower in self._end(key):
            follower.set_result(Unshared())

    def crash(self, key: str, error: Exception) -> None:
        """End the flight with an error: the first follower leads next, once; the others hear it."""
        is_retry = self._flights[key].is_retry
        followers = self._end(key)
        if followers and not is_retry:
            self._flights[key] = Flight(is_retry=True)
            followers.pop(0).set_result(Lead())
        for follower in followers:
            follower.set_exception(error)

    def abandon(self, key: str) -> None:
        """Give up the lead without an answer (cancelled): the next follower leads, with the rest
        behind it."""
        is_retry = self._flights[key].is_retry
        followers = self._end(key)
        if followers:
            flight = self._flights[key] = Flight(is_retry=is_retry)
            followers.pop(0).set_result(Lead())
            flight.followers = followers

    def _end(self, key: str) -> list[asyncio.Future[Answer | Lead | Unshared]]:
        """Take the flight off the table; return the followers that are still there."""
        return [follower for follower in self._flights.pop(key).followers if not follower.done()]
