"""Key sets: which public keys an issuer has now.

A set is data in the configuration, or a document fetched from the configured https URL through an
injected function. Fetches are single-flight, at least 30 s apart per issuer; an unknown `kid` asks
for one, and is remembered for a minute if a set that came afterwards lacks it. It is not remembered for
longer, or whoever guesses the name of the next key could shut it out before the issuer uses it. A failed
fetch leaves the last good set in force until it is too old. Removed keys stop working with the refresh
that no longer has them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

import msgspec
from msgspec import Struct

from dohost.clock import Clock
from dohost.gateway.config_tables import IssuerConfig
from dohost.gateway.jwk import Jwk, choose, parse_jwks
from dohost.telemetry import Log

COOL_DOWN_S = 30.0
FETCH_TIMEOUT_S = 3.0
AGE_MIN_S, AGE_DEFAULT_S, AGE_MAX_S = 60, 3_600, 86_400
STALE_MAX_S = 86_400
UNKNOWN_MAX, UNKNOWN_S = 1_000, 60.0
SECOND_NS = 1_000_000_000


class JwksDocument(Struct, frozen=True, kw_only=True):
    """What a fetch brought: the body and for how long its Cache-Control lets it live."""

    body: bytes
    max_age_s: int | None


class FetchJwks(Protocol):
    """Fetches a key set: no redirects, at most 256 KiB; raises `OSError` (`TimeoutError` is one)."""

    async def __call__(self, url: str) -> JwksDocument: ...


class JwksStore(Protocol):
    """Keeps the last good set, so that a restart works offline."""

    def load(self, url: str) -> tuple[bytes, int] | None: ...
    def save(self, url: str, body: bytes, fetched_ns: int) -> None: ...


class KeySet:
    """What is known about one URL."""

    __slots__ = ("expires_ns", "fetched_ns", "keys", "refreshing", "taken", "tried_at", "unknown")

    def __init__(self) -> None:
        self.keys: tuple[Jwk, ...] = ()
        self.fetched_ns = 0
        self.expires_ns = 0
        self.tried_at: float | None = None
        self.refreshing: asyncio.Future[None] | None = None
        # How many good sets there were: whether one came since is a question of this number.
        self.taken = 0
        self.unknown: OrderedDict[str, float] = OrderedDict()

    def take(self, keys: tuple[Jwk, ...], *, fetched_ns: int, max_age_s: int) -> None:
        """Put a good set into force."""
        self.keys = keys
        self.fetched_ns = fetched_ns
        self.expires_ns = fetched_ns + max_age_s * SECOND_NS
        self.taken += 1
        self.unknown.clear()

    def is_unknown(self, kid: str, *, now: float) -> bool:
        """True for an id that a set of the last minute didn't have."""
        return now < self.unknown.get(kid, now)

    def remember_unknown(self, kid: str, *, now: float) -> None:
        """Note an id that the newest set doesn't have."""
        self.unknown[kid] = now + UNKNOWN_S
        if len(self.unknown) > UNKNOWN_MAX:
            self.unknown.popitem(last=False)


class KeySets:
    """Key sets of all issuers."""

    def __init__(self, fetch: FetchJwks, store: JwksStore, *, clock: Clock, log: Log) -> None:
        self._fetch = fetch
        self._store = store
        self._clock = clock
        self._log = log
        self._fixed: dict[str, tuple[Jwk, ...]] = {}
        self._sets: dict[str, KeySet] = {}

    async def find(self, issuer: IssuerConfig, *, kid: str | None, alg: str) -> Jwk | None:
        """Return the one key of the issuer that fits, refreshing its set if that may help.

        Cancel-safe: a cancelled refresh frees those who wait for it.
        """
        if issuer.jwks_url is None:
            return choose(self._fixed_keys(issuer), kid=kid, alg=alg)
        held = self._set(issuer.jwks_url)
        taken = held.taken
        if self._clock.realtime_ns() >= held.expires_ns:
            await self._refresh(issuer.jwks_url, held)
        key = choose(self._living(held), kid=kid, alg=alg)
        now = self._clock.monotonic()
        if key is None and kid is not None and not held.is_unknown(kid, now=now):
            await self._refresh(issuer.jwks_url, held)
            key = choose(self._living(held), kid=kid, alg=alg)
            # Without a newer set (the site is down, or was asked lately) nothing is known.
            if key is None and held.taken > taken:
                held.remember_unknown(kid, now=now)
        return key

    def _fixed_keys(self, issuer: IssuerConfig) -> tuple[Jwk, ...]:
        if issuer.issuer not in self._fixed:
            parsed = parse_jwks(msgspec.json.encode(issuer.jwks or {}))
            if isinstance(parsed, str):
                self._log.event("auth.jwks", level="error", issuer=issuer.issuer, reason=parsed)
                parsed = ()
            self._fixed[issuer.issuer] = parsed
        return self._fixed[issuer.issuer]

    def _set(self, url: str) -> KeySet:
        if url not in self._sets:
            held = self._sets[url] = KeySet()
            stored = self._store.load(url)
            keys = None if stored is None else parse_jwks(stored[0])
            if stored is not None and isinstance(keys, tuple):
                fetched_ns = min(stored[1], self._clock.realtime_ns())
                held.take(keys, fetched_ns=fetched_ns, max_age_s=AGE_MIN_S)
        return self._sets[url]

    def _living(self, held: KeySet) -> tuple[Jwk, ...]:
        """Return the keys in force; a set too long out of date has none."""
        too_old = self._clock.realtime_ns() >= held.expires_ns + STALE_MAX_S * SECOND_NS
        return () if too_old else held.keys

    async def _refresh(self, url: str, held: KeySet) -> None:
        """Fetch the set, unless that was tried lately; wait if someone else is at it."""
        if held.refreshing is not None:
            await asyncio.shield(held.refreshing)
            return
        now = self._clock.monotonic()
        if held.tried_at is not None and now - held.tried_at < COOL_DOWN_S:
            return
        held.tried_at = now
        held.refreshing = asyncio.get_running_loop().create_future()
        try:
            await self._fetch_into(url, held)
        finally:
            held.refreshing.set_result(None)
            held.refreshing = None

    async def _fetch_into(self, url: str, held: KeySet) -> None:
        try:
            # Everybody who sends a token of the issuer waits for this.
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                document = await self._fetch(url)
        except OSError as error:  # TimeoutError is one of them
            reason = str(error) or f"no answer within {FETCH_TIMEOUT_S:.0f} s"
            self._log.event("auth.jwks", level="warn", url=url, reason=reason)
            return
        keys = parse_jwks(document.body)
        if isinstance(keys, str):
            self._log.event("auth.jwks", level="warn", url=url, reason=keys)
            return
        stated = AGE_DEFAULT_S if document.max_age_s is None else document.max_age_s
        max_age_s = max(AGE_MIN_S, min(stated, AGE_MAX_S))
        now_ns = self._clock.realtime_ns()
        held.take(keys, fetched_ns=now_ns, max_age_s=max_age_s)
        self._store.save(url, document.body, now_ns)
