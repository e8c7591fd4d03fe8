"""Which limits a request is charged against, and what it costs.

A tenant's plan is one bucket; anonymous callers have one each, by address. Status pages have a small
bucket of their own, so that looking at a limit doesn't use it up.
"""

from __future__ import annotations

from collections.abc import Sequence

from dohost.gateway.config import GatewayConfig
from dohost.gateway.identity import Identity
from dohost.gateway.problems import Problem
from dohost.gateway.rate_limit import Allowed, LimitDecision, Limiter, LimitPolicy, LimitState
from dohost.gateway.rate_limit_answers import (
    limit_headers,
    limit_problem,
    limit_status,
    moving_headers,
    state_headers,
)
from dohost.gateway.rate_limit_buckets import MarkStore, WhenDurable

Header = tuple[str, str]


class Limits:
    """The limiter of one gateway object, with the policies of its tenant."""

    def __init__(
        self, config: GatewayConfig, store: MarkStore, *, when_durable: WhenDurable | None = None
    ) -> None:
        self._config = config.limiter
        self._limiter = Limiter(store, keys_max=config.limiter.keys_max, when_durable=when_durable)

    def charge(self, identity: Identity, now_ns: int, *, cost: int) -> Problem | tuple[Header, ...]:
        """Charge the tenant, or refuse; either way with the fields that tell what is left."""
        return self.charge_policies(self.policies(identity), identity, now_ns, cost=cost)

    def charge_policies(
        self, policies: Sequence[LimitPolicy], identity: Identity, now_ns: int, *, cost: int
    ) -> Problem | tuple[Header, ...]:
        """Charge what `policies` said of this caller."""
        decision = self._limiter.check(policies, now_ns, cost=cost)
        if isinstance(decision, Allowed):
            return limit_headers(decision, now_ns, legacy=self._config.legacy_headers)
        return self._refusal(decision, identity, now_ns)

    def charge_leased(
        self, policies: Sequence[LimitPolicy], now_ns: int, *, cost: int
    ) -> LimitState | None:
        """Charge what a durable lease covers, or return None: `charge_policies` has to decide."""
        return self._limiter.charge_leased(policies, now_ns, cost=cost)

    def told(self, state: LimitState, now_ns: int, *, moving: bool) -> tuple[Header, ...]:
        """Return the fields that tell of a charge; `moving`: only those that are others each time."""
        tell = moving_headers if moving else state_headers
        return tell(state, now_ns, legacy=self._config.legacy_headers)

    def policies(self, identity: Identity) -> tuple[LimitPolicy, ...]:
        """Return the limits that a caller is charged against."""
        policy = LimitPolicy(
            name=identity.tier,
            key=identity.limit_key,
            tier=identity.plan,
            algorithm=self._config.algorithm,
        )
        return (policy,)

    def charge_status(self, identity: Identity, now_ns: int) -> Problem | tuple[Header, ...]:
        """Charge the bucket of status pages, whose fields nobody needs."""
        policy = LimitPolicy(
            name="status", key=f"status:{identity.limit_key}", tier=self._config.status
        )
        decision = self._limiter.check([policy], now_ns)
        return () if isinstance(decision, Allowed) else self._refusal(decision, identity, now_ns)

    def peek(self, identity: Identity, now_ns: int, *, cost: int = 1) -> LimitDecision:
        """Say what `charge` would, without charging."""
        return self._limiter.peek(self.policies(identity), now_ns, cost=cost)

    def status(self, identity: Identity, now_ns: int) -> dict[str, object]:
        """Return the body of the status page; consumes nothing."""
        decision = self.peek(identity, now_ns)
        return limit_status(decision, now_ns, tenant=identity.tenant, tier=identity.tier)

    def call_cost(self, calls: int) -> int:
        """Return what an aggregate or GraphQL request of so many calls costs."""
        return calls if self._config.aggregate_cost == "perCall" else 1

    def _refusal(self, decision: LimitDecision, identity: Identity, now_ns: int) -> Problem:
        assert not isinstance(decision, Allowed)
        return limit_problem(
            decision,
            now_ns,
            tenant=identity.tenant,
            tier=identity.tier,
            legacy=self._config.legacy_headers,
        )
