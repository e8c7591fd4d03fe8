"""Pages that tell how things stand. Reading them changes nothing and has a small limit of its own."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dohost.gateway.answers import json_answer, text_answer
from dohost.gateway.dispatch import NS_PER_MS
from dohost.gateway.exchange import Exchange
from dohost.gateway.forward import Answer
from dohost.gateway.parts import Parts
from dohost.gateway.problems import Problem
from dohost.gateway.versions import describe_versions

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
Parameters = Mapping[str, str]


async def rate_limit(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Say what is left of the caller's limit."""
    now_ns = parts.clock.realtime_ns()
    refused = parts.limits.charge_status(exchange.identity, now_ns)
    if isinstance(refused, Problem):
        return refused
    return json_answer(parts.limits.status(exchange.identity, now_ns))


async def circuit_breakers(
    parts: Parts, exchange: Exchange, parameters: Parameters
) -> Answer | Problem:
    """Say how each service's breaker stands, for this tenant."""
    refused = parts.limits.charge_status(exchange.identity, parts.clock.realtime_ns())
    return refused if isinstance(refused, Problem) else json_answer(circuits(parts))


async def cache_stats(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Say what the cache holds and how often it helped."""
    now_ns = parts.clock.realtime_ns()
    refused = parts.limits.charge_status(exchange.identity, now_ns)
    if isinstance(refused, Problem):
        return refused
    return json_answer(msgspec.to_builtins(parts.cache.stats(now_ns)))


async def versions(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """List the API versions with their dates and how often each was asked for."""
    asked = parts.stats.by_version()
    listed = [
        {**described, "requests": asked.get(str(described["version"]), 0)}
        for described in describe_versions(parts.config.versions, parts.clock.realtime_ns())
    ]
    return json_answer({"versions": listed, "default": parts.config.versions.default})


async def health(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Say that this object answers, and how circuits are: the worst that any object has reported."""
    states = parts.circuits.worst(parts.circuit_states(), parts.clock.monotonic())
    return json_answer({"status": "ok", "service": "gateway", "circuits": states})


async def ready(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Say whether requests can be served: configuration is decoded and storage answers."""
    parts.keys.find("")
    return json_answer(
        {"status": "ready", "service": "gateway", "services": len(parts.config.services)}
    )


async def metrics(parts: Parts, exchange: Exchange, parameters: Parameters) -> Answer | Problem:
    """Return all objects' counters for Prometheus, as they last reported them."""
    return text_answer(parts.stats.prometheus(), PROMETHEUS)


def circuits(parts: Parts) -> dict[str, dict[str, object]]:
    """Return each service's breaker."""
    now_ms = parts.clock.realtime_ns() // NS_PER_MS
    return {
        name: parts.breakers.status(name, service.circuit_breaker, now_ms=now_ms)
        for name, service in parts.config.services.items()
    }
