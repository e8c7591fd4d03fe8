"""What one client address may cost before anybody knows whose it is: buckets in memory, per entry point.

Two of them, both asked only when a request's credentials have to be looked at anew: `pre_auth` counts such
requests, so that guessing keys and paths costs little here, and `failed_auth` counts refused credentials,
so that an address that keeps guessing is not even listened to for a while. Whoever was let in lately with the
same credentials passes: a neighbour's guesses lock nobody out. A rate-limit binding named `GATEWAY_IP`, if
there is one, is asked as well, and what it can't answer is let through.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from typing import Protocol

from dohost.clock import Clock
from dohost.gateway import gcra
from dohost.gateway.config_tables import LimiterConfig, Tier
from dohost.gateway.problems import Problem, problem
from dohost.telemetry import Log

ADDRESSES_MAX = 10_000
SECOND_NS = 1_000_000_000


class RateLimitBinding(Protocol):
    """Cloudflare's rate-limit binding."""

    def limit(self, options: Mapping[str, str]) -> Awaitable[Mapping[str, bool]]: ...


class AddressBuckets:
    """One bucket per address; of too many addresses the one longest unseen is forgotten."""

    def __init__(self, tier: Tier, clock: Clock) -> None:
        self._interval = None if not tier.rpm else gcra.interval_of(tier.rpm)
        self._burst = tier.burst
        self._clock = clock
        self._tats: OrderedDict[str, int] = OrderedDict()

    def wait_ns(self, address: str) -> int:
        """Return how long an address has to wait for its next token; 0 if it has one."""
        if self._interval is None:
            return 0
        debt = self._debt(address, self._interval)
        return gcra.retry_after(debt, 1, interval=self._interval, burst=self._burst)

    def spend(self, address: str) -> None:
        """Take a token, if one is left."""
        if self._interval is None or self.wait_ns(address):
            return
        debt = self._debt(address, self._interval)
        self._tats[address] = self._clock.realtime_ns() + debt + self._interval
        self._tats.move_to_end(address)
        if len(self._tats) > ADDRESSES_MAX:
            self._tats.popitem(last=False)

    def _debt(self, address: str, interval: int) -> int:
        now = self._clock.realtime_ns()
        return gcra.debt_of(self._tats.get(address, 0), now, interval=interval, burst=self._burst)

    def __repr__(self) -> str:
        return f"<AddressBuckets {len(self._tats)} addresses>"


class AddressLimits:
    """The limits of a Worker's clients by address."""

    def __init__(
        self, config: LimiterConfig, *, binding: RateLimitBinding | None, clock: Clock, log: Log
    ) -> None:
        self._arrivals = AddressBuckets(config.pre_auth, clock)
        self._failures = AddressBuckets(config.failed_auth, clock)
        self._binding = binding
        self._log = log

    async def admit(self, address: str, *, has_credential: bool) -> Problem | None:
        """Count a request whose caller is not known yet; return the 429 for one too many."""
        wait_ns = self._arrivals.wait_ns(address)
        if wait_ns:
            return _refusal("quota-exceeded", "Too many requests from this address.", wait_ns)
        self._arrivals.spend(address)
        if has_credential and (wait_ns := self._failures.wait_ns(address)):
            told = "Too many credentials from this address were refused."
            return _refusal("abnormal-usage-detected", told, wait_ns)
        if self._binding is not None and not await self._is_within(self._binding, address):
            return _refusal("quota-exceeded", "Too many requests from this address.", SECOND_NS)
        return None

    def refused(self, address: str) -> None:
        """Note that a credential was refused."""
        self._failures.spend(address)

    async def _is_within(self, binding: RateLimitBinding, address: str) -> bool:
        try:
            return bool((await binding.limit({"key": address}))["success"])
        except Exception as error:  # noqa: BLE001 - another machine's failure refuses nobody
            self._log.event("gateway.address_limit_failed", level="warn", error=repr(error))
            return True


def _refusal(slug: str, detail: str, wait_ns: int) -> Problem:
    seconds = -(-wait_ns // SECOND_NS)
    return problem(slug, detail, headers=(("Retry-After", str(seconds)),), retryAfter=seconds)
