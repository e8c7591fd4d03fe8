"""Single flight: one fetch per key; failure, cancellation and what can't be shared."""

from __future__ import annotations

import asyncio

import pytest

from dohost.gateway.flights import Alone, Flights, Lead, Unshared, Wait


def follow(flights: Flights[int], key: str = "k") -> asyncio.Task[object]:
    turn = flights.join(key, 0.0)
    assert isinstance(turn, Wait)
    return asyncio.ensure_future(turn.answer())


async def test_followers_get_the_leaders_answer() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    assert isinstance(flights.join("k", 0.0), Lead)
    followers = [follow(flights) for _ in range(99)]
    assert isinstance(flights.join("other", 0.0), Lead)
    flights.land("k", 7)
    assert await asyncio.gather(*followers) == [7] * 99
    assert isinstance(flights.join("k", 0.0), Lead)
    assert len(flights) == 2


async def test_after_a_failure_one_follower_leads_and_the_others_hear_the_error() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    first, *others = [follow(flights) for _ in range(3)]
    flights.crash("k", OSError("down"))
    assert isinstance(await first, Lead)
    for other in others:
        with pytest.raises(OSError, match="down"):
            await other


async def test_a_second_failure_has_no_successor() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    first = follow(flights)
    flights.crash("k", OSError("one"))
    await first
    late = follow(flights)
    flights.crash("k", OSError("two"))
    with pytest.raises(OSError, match="two"):
        await late
    assert len(flights) == 0


async def test_an_answer_nobody_may_share_frees_followers_and_is_remembered() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    follower = follow(flights)
    flights.land_alone("k", 10.0)
    assert isinstance(await follower, Unshared)
    assert isinstance(flights.join("k", 11.9), Alone)
    assert isinstance(flights.join("k", 12.0), Lead)


async def test_a_follower_that_goes_away_leaves_the_others_alone() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    gone, stays = follow(flights), follow(flights)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    flights.land("k", 1)
    assert await stays == 1
    assert gone.cancelled()


async def test_a_leader_that_goes_away_hands_over() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    first, second = follow(flights), follow(flights)
    flights.abandon("k")
    assert isinstance(await first, Lead)
    flights.land("k", 3)
    assert await second == 3


async def test_a_follower_cancelled_while_becoming_the_leader_passes_it_on() -> None:
    flights: Flights[int] = Flights(hit_for_miss_s=2)
    flights.join("k", 0.0)
    first, second = follow(flights), follow(flights)
    await asyncio.sleep(0)
    flights.abandon("k")
    first.cancel()
    assert isinstance(await second, Lead)
    flights.abandon("k")
    assert len(flights) == 0
