"""What the configured services offer, asked once of each service and kept.

Only exposed methods are in a description, so a name that a client sends is looked up here before any
object is reached: unknown and hidden methods are one answer, and never count for a breaker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from dohost.clock import Clock
from dohost.gateway.config_tables import ServiceConfig
from dohost.gateway.describe import MethodDescription, ServiceDescription
from dohost.gateway.problems import Problem
from dohost.gateway.upstream import DESCRIBE_OBJECT, Answered, Sent, Stub, Target
from dohost.telemetry import Log

StubOf = Callable[[Target], Stub]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A service's description with its methods by name."""

    description: ServiceDescription
    methods: Mapping[str, MethodDescription]


class Descriptions:
    """Descriptions of services, by name."""

    def __init__(self, stub_of: StubOf, *, clock: Clock, log: Log) -> None:
        self._stub_of = stub_of
        self._clock = clock
        self._log = log
        self._offers: dict[str, Offer] = {}

    def known(self, service: str) -> Offer | None:
        """Return what is known about a service without asking."""
        return self._offers.get(service)

    async def ask(self, service: ServiceConfig) -> Offer | Problem:
        """Return a service's offer, asking its class on first use; a failure is not remembered."""
        held = self._offers.get(service.name)
        if held is not None:
            return held
        target = Target(service=service, object_name=DESCRIBE_OBJECT)
        sent = Sent(
            lambda: self._stub_of(target).gateway_describe(),
            timeout_s=service.timeout_ms / 1_000,
            clock=self._clock,
        )
        ended = await sent.outcome(service.name)
        if not isinstance(ended, Answered):
            self._log.event(
                "service.undescribed", level="error", service=service.name, cause=str(ended.cause)
            )
            return ended.problem
        description = msgspec.convert(ended.value, ServiceDescription)
        offer = Offer(
            description=description, methods={each.name: each for each in description.methods}
        )
        self._offers[service.name] = offer
        return offer
