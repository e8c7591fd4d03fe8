"""Sequences of requests, once with an entry point that answers by itself and once with one that may not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from deployment import Deployment, Reply
from sample_notes import Visited, deployment, told, visits

from dohost.clock import ManualClock


@pytest.mark.parametrize("seed", range(12))
async def test_any_sequence_is_answered_as_by_an_object_that_is_always_visited(seed: int) -> None:
    await compare(*two(), seed=seed, restarts=False)


@pytest.mark.parametrize("seed", range(12))
async def test_a_crash_makes_no_difference_but_to_limits(seed: int) -> None:
    """A lease that is renewed early is lost from an earlier instant; so here nothing is limited."""
    unlimited: dict[str, object] = {"rate_limits": {"free": {"rpm": None, "burst": 1}}}
    await compare(*two(unlimited), seed=seed, restarts=True)


def two(config: dict[str, object] | None = None) -> tuple[Deployment, Deployment]:
    quick, slow = deployment(config), deployment(config)
    slow.gateways._class = type(
        "G", (Visited,), {"clock": slow.clock, "entropy": slow._default.entropy}
    )
    return quick, slow


async def compare(quick: Deployment, slow: Deployment, *, seed: int, restarts: bool) -> None:
    rng = random.Random(seed)
    for _ in range(120):
        act = step(rng, restarts=restarts)
        replies = [await act(each) for each in (quick, slow)]
        if all(isinstance(each, Reply) for each in replies):
            assert told(replies[0]) == told(replies[1])
        await asyncio.sleep(0)
    assert visits(quick) < visits(slow)


Step = Callable[[Deployment], Any]


def step(rng: random.Random, *, restarts: bool) -> Step:
    """Return something that is done to two gateways alike."""
    name, text = rng.choice("ab"), f"text {rng.random()}"
    own = {"X-Request-ID": "the-same-of-both"}
    fields = own | rng.choice(
        [
            {},
            {},
            {},
            {"Origin": "https://a.example"},
            {"Accept": "text/plain"},
            {"Cache-Control": "max-stale=2"},
            {"If-None-Match": '"x"'},
        ]
    )
    match rng.choice(["get"] * 8 + ["put", "advance", "far"] + ["restart"] * restarts):
        case "put":
            return lambda gateway: gateway.send(
                "PUT", f"/notes/{name}", {"text": text}, headers=own
            )
        case "advance":
            seconds = rng.random()
            return lambda gateway: advance(gateway.clock, seconds)
        case "far":
            seconds = rng.random() * 40
            return lambda gateway: advance(gateway.clock, seconds)
        case "restart":
            return lambda gateway: restart(gateway)
        case _:
            return lambda gateway: gateway.send("GET", f"/notes/{name}", headers=fields)


async def advance(clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)


async def restart(gateway: Deployment) -> None:
    gateway.gateways.restart()
