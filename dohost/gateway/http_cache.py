"""From cache or from the service: the middle stages of a routed request.

A fresh entry is the answer. A stale one is, while a copy is fetched in the background, or if the
service fails. Otherwise the request goes on, identical ones waiting for the one under way, and what may
be stored is. Where an entry with validators is kept, the service is only asked whether it still holds. The partition in the key keeps tenants and principals apart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from dohost.clock import Clock, Entropy
from dohost.gateway.cache import Cache, CacheEntry, CacheLookup, Fresh, Miss, Stale
from dohost.gateway.cache_groups import invalidation_tags, named_paths
from dohost.gateway.cache_keys import vary_key
from dohost.gateway.cache_policy import NO_ROUTE, ExchangeFacts, NotStored, entry_for, refreshed
from dohost.gateway.cache_serve import (
    Header,
    forward_status,
    hit_status,
    is_about,
    is_only_if_cached,
    not_modified,
    part_of,
    response_headers,
    usable,
    validators,
)
from dohost.gateway.config_tables import CacheConfig, RouteConfig
from dohost.gateway.exchange import Exchange
from dohost.gateway.flights import Flights, Lead, Wait
from dohost.gateway.forward import Answer
from dohost.gateway.problems import Problem, problem

Fetch = Callable[[tuple[Header, ...]], Awaitable[Answer | Problem]]
Background = Callable[[Awaitable[object]], None]
FAILURES = frozenset({500, 502, 503, 504})
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
NOT_MODIFIED = 304


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One cacheable request: its key, and how to get the answer; `fetch` takes validators to ask with."""

    exchange: Exchange
    route: RouteConfig
    key: str
    fetch: Fetch


class _Failed(Exception):
    """Carries the leader's problem to those who waited for it."""

    def __init__(self, told: Problem) -> None:
        super().__init__(told.type.slug)
        self.problem = told


class HttpCache:
    """The cache stage of one gateway object."""

    def __init__(
        self,
        cache: Cache,
        config: CacheConfig,
        *,
        clock: Clock,
        entropy: Entropy,
        later: Background,
    ) -> None:
        self._cache = cache
        self._config = config
        self._clock = clock
        self._entropy = entropy
        self._later = later
        self._flights: Flights[CacheEntry] = Flights(hit_for_miss_s=config.hit_for_miss_s)

    def look_up(self, exchange: Exchange, key: str) -> Answer | CacheLookup:
        """Return the answer if a fresh one is kept, else what `answer` has to know of what is kept."""
        now_ns = self._clock.realtime_ns()
        held = self._cache.lookup_http(key, exchange.headers, now_ns)
        found = usable(held, exchange.headers, config=self._config, now_ns=now_ns)
        return self._from_entry(exchange, found.entry) if isinstance(found, Fresh) else found

    async def answer(self, visit: Visit, found: CacheLookup) -> Answer | Problem:
        """Return the answer to a request for which `look_up` found no fresh one."""
        if isinstance(found, Stale) and found.revalidate:
            self._later(self._refresh(visit, found))
            return self._from_entry(visit.exchange, found.entry)
        if is_only_if_cached(visit.exchange.headers, config=self._config):
            return problem("not-cached")
        return await self._fetched(visit, found)

    def written(self, exchange: Exchange, answer: Answer | Problem) -> Answer | Problem:
        """After a write that worked, drop what it changed: the paths and groups that it names."""
        is_write = exchange.method not in SAFE
        if is_write and isinstance(answer, Answer) and answer.status < 400:
            self._cache.invalidate(invalidation_tags(answer.headers))
            named = named_paths(answer.headers, exchange.request.url)
            self._cache.invalidate_paths({exchange.path.raw, *named})
        return answer

    async def _fetched(self, visit: Visit, found: CacheLookup) -> Answer | Problem:
        """Fetch, or wait for the identical request that is being fetched. Cancel-safe."""
        turn: object = self._flights.join(visit.key, self._clock.monotonic())
        if isinstance(turn, Wait):
            try:
                turn = await turn.answer()
            except _Failed as failed:
                return self._fallback(visit, found, failed.problem)
        if isinstance(turn, CacheEntry) and self._fits(turn, visit):
            self._cache.count_coalesced()
            collapsed = forward_status("uri-miss", collapsed=True)
            return self._from_entry(visit.exchange, turn, label=collapsed)
        if isinstance(turn, Lead):
            return await self._lead(visit, found)
        answer, _ = await self._through(visit, found)
        return answer

    async def _lead(self, visit: Visit, found: CacheLookup) -> Answer | Problem:
        """Fetch for all who wait; they get the stored entry, or fetch for themselves."""
        is_ended = False
        try:
            answer, entry = await self._through(visit, found)
            is_ended = True
        finally:
            if not is_ended:
                self._flights.abandon(visit.key)
        if isinstance(answer, Problem):
            self._flights.crash(visit.key, _Failed(answer))
        elif entry is None:
            self._flights.land_alone(visit.key, self._clock.monotonic())
        else:
            self._flights.land(visit.key, entry)
        return answer

    async def _through(
        self, visit: Visit, found: CacheLookup
    ) -> tuple[Answer | Problem, CacheEntry | None]:
        kept = found.entry if not isinstance(found, Fresh) else None
        asked = _validators_for(kept, visit.exchange)
        answer = await visit.fetch(asked)
        if isinstance(answer, Problem):
            return self._fallback(visit, found, answer), None
        if asked and kept is not None and answer.status == NOT_MODIFIED:
            if is_about(kept, answer.headers):
                return self._revalidated(visit, found, kept, answer)
            answer = await visit.fetch(())
            if isinstance(answer, Problem):
                return self._fallback(visit, found, answer), None
        if answer.status in FAILURES and isinstance(found, Stale) and found.if_error:
            return self._from_entry(visit.exchange, found.entry), None
        if answer.upgrade is not None:
            return answer, None
        entry = self._store(visit, answer)
        label = ("cache-status", forward_status(_reason_of(found), stored=entry is not None))
        return msgspec.structs.replace(answer, headers=(*answer.headers, label)), entry

    def _revalidated(
        self, visit: Visit, found: CacheLookup, kept: CacheEntry, answer: Answer
    ) -> tuple[Answer, CacheEntry | None]:
        """The service says that what is kept still holds."""
        entry, is_kept = refreshed(
            kept,
            answer.headers,
            route=visit.route.cache or NO_ROUTE,
            config=self._config,
            now_ns=self._clock.realtime_ns(),
        )
        variant = vary_key(entry.vary, visit.exchange.headers)
        self._cache.remove(visit.key, variant=vary_key(kept.vary, visit.exchange.headers) or "")
        is_kept = is_kept and variant is not None
        is_kept = is_kept and self._cache.put(visit.key, entry, variant=variant or "")
        label = forward_status(_reason_of(found), status=NOT_MODIFIED, stored=is_kept)
        return self._from_entry(visit.exchange, entry, label=label), entry if is_kept else None

    def _fallback(self, visit: Visit, found: CacheLookup, told: Problem) -> Answer | Problem:
        """Serve stale if the upstream failed and the entry allows it."""
        if isinstance(found, Stale) and found.if_error:
            return self._from_entry(visit.exchange, found.entry)
        return told

    async def _refresh(self, visit: Visit, found: Stale) -> None:
        """Fetch a stale entry anew, unless somebody does already."""
        if isinstance(self._flights.join(visit.key, self._clock.monotonic()), Lead):
            await self._lead(visit, Miss("stale", found.entry))

    def _store(self, visit: Visit, answer: Answer) -> CacheEntry | None:
        body = answer.content()
        if body is None or visit.exchange.method == "HEAD":
            return None
        route_cache = visit.route.cache or NO_ROUTE
        facts = ExchangeFacts(
            method=visit.exchange.method,
            request_headers=visit.exchange.headers,
            status=answer.status,
            headers=answer.headers,
            body=body,
            path=visit.exchange.path.raw,
            scoped=route_cache.scope in ("tenant", "principal"),
            route=route_cache,
        )
        jitter = self._entropy.uniform() if self._config.jitter else 0.0
        entry = entry_for(facts, self._config, now_ns=self._clock.realtime_ns(), jitter=jitter)
        if isinstance(entry, NotStored):
            return None
        variant = vary_key(entry.vary, visit.exchange.headers)
        if variant is None or not self._cache.put(visit.key, entry, variant=variant):
            return None
        return entry

    def _fits(self, entry: CacheEntry, visit: Visit) -> bool:
        """Whether the leader's answer is this request's too; one that varies is fetched again."""
        return not entry.vary

    def _from_entry(
        self, exchange: Exchange, entry: CacheEntry, *, label: str | None = None
    ) -> Answer:
        now_ns = self._clock.realtime_ns()
        told = hit_status(entry, now_ns) if label is None else label
        headers: tuple[Header, ...] = (*response_headers(entry, now_ns), ("cache-status", told))
        if not_modified(entry, exchange.headers):
            return Answer(status=304, headers=headers, body=b"")
        if exchange.method == "HEAD":
            return Answer(status=entry.status, headers=headers, body=b"")
        wanted = exchange.headers.get("range")
        part = None if wanted is None else part_of(entry, wanted, exchange.headers)
        if part is None:
            return Answer(status=entry.status, headers=headers, body=entry.body)
        headers = (*headers, ("content-range", part.content_range))
        return Answer(status=part.status, headers=headers, body=part.body)


def _reason_of(found: CacheLookup) -> str:
    """Return why the request went on, as a Cache-Status token."""
    return found.reason if isinstance(found, Miss) else "stale"


def _validators_for(kept: CacheEntry | None, exchange: Exchange) -> tuple[Header, ...]:
    """Return what to ask the service with; nothing where the answer could not be used as a whole."""
    if kept is None or exchange.method != "GET" or "range" in exchange.headers:
        return ()
    return validators(kept)
