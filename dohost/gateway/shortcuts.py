"""Fresh answers that an entry point gives for a gateway object that lives in its own isolate.

A gateway object and its entry point are classes of one Worker. Where one isolate runs both, they are given
the very same `env`, and memory is what they can share; elsewhere nothing is ever found here, and each
request visits its object. An object that has answered from its cache leaves an `Offer` on its `Shelf`:
what a request that is the same in every field would get. The entry point takes it up (`Shortcuts`), and such
requests then cost no visit.

Invariants: (1) an offer is taken only by a request that shows the object the same caller, URL and fields;
(2) it is good only as long as the cache of the newest instance holds the very entry, fresh, so what a write
has invalidated is served no more; (3) only tokens are charged that a durable lease covers already, so a
crash grants nothing twice, and a request that would be refused visits; (4) it ends after a second, so
what follows from verdicts, versions and dates is looked at again; (5) an object with hooks offers nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from workers import Headers, Request, Response

from dohost.clock import Clock
from dohost.gateway.cache import CacheEntry
from dohost.gateway.cache_serve import hit_status
from dohost.gateway.cors import cors_headers
from dohost.gateway.headers import request_id
from dohost.gateway.rate_limit import LimitPolicy, LimitState
from dohost.memo import Memo

if TYPE_CHECKING:
    from dohost.gateway.exchange import Exchange
    from dohost.gateway.forward import Answer
    from dohost.gateway.limits import Limits
    from dohost.gateway.parts import Parts
    from dohost.gateway.plan import Plan

Header = tuple[str, str]
OFFER_S = 1.0
KNOWN_MAX = 2_048
KEY_CHARS_MAX = 2_048
# What may differ between two requests that get the same answer.
OWN_FIELDS = frozenset({"traceparent", "tracestate", "x-request-id"})
# What makes the verdict on an entry, or the part of it that is wanted, depend on more than the entry.
ASKING = ("cache-control", "pragma", "range")


class Offer(Struct, kw_only=True):
    """An answer from the cache, but for what differs from one time to the next.

    `shown`: what the object saw of the request (`shown_of`). `entry` is the cache's to keep or to drop, as it
    may be large. `head` and `tail` are the fields before and after those that tell of age and limits. `said`:
    the entry's seconds of age and of life when `headers` were made, which are copied for each answer in the
    same second.
    """

    shelf: weakref.ref[Shelf]
    shown: tuple[object, ...]
    ends_s: float
    key: str
    entry: weakref.ref[CacheEntry]
    status: int
    has_body: bool
    head: tuple[Header, ...]
    tail: tuple[Header, ...]
    policies: tuple[LimitPolicy, ...]
    cost: int
    route: str
    version: str | None
    said: tuple[int, int] = (-1, 0)
    headers: Headers | None = None

    def headers_now(
        self,
        entry: CacheEntry,
        limits: Limits,
        state: LimitState,
        *,
        request_id: str,
        now_ns: int,
    ) -> Headers:
        """Return the fields of the answer as it is now; most are made once a second."""
        said = (entry.age_s(now_ns), entry.ttl_s(now_ns))
        own = ("X-Request-Id", request_id)
        if self.headers is None or said != self.said:
            told = (("Age", str(said[0])), ("cache-status", hit_status(entry, now_ns)))
            charged = limits.told(state, now_ns, moving=False)
            self.headers = Headers([*self.head, *told, *charged, *self.tail, own])
            self.said = said
            return self.headers
        headers = Headers(self.headers)
        for name, value in limits.told(state, now_ns, moving=True):
            headers.set(name, value)
        headers.set(*own)
        return headers


class Shelf:
    """What one live gateway object leaves for the entry point beside it."""

    __slots__ = ("__weakref__", "_parts", "is_newest", "latest")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.is_newest = True
        # The last offer that no entry point has looked at.
        self.latest: Offer | None = None

    def offer(self, exchange: Exchange, plan: Plan, answer: Answer) -> None:
        """Offer what was answered from the cache just now, if others may have it as it is."""
        fields = exchange.headers
        key = plan.cache_key
        if exchange.method != "GET" or key is None or any(map(fields.__contains__, ASKING)):
            return
        parts = self._parts
        held = parts.cache.find(key, fields)
        body = answer.content()
        if held is None or body is None:
            return
        full, entry = held
        route, version = plan.match.route, plan.version
        self.latest = Offer(
            shelf=weakref.ref(self),
            shown=shown_of(exchange.standing, exchange.request.url, fields),
            ends_s=parts.clock.monotonic() + OFFER_S,
            key=full,
            entry=weakref.ref(entry),
            status=answer.status,
            has_body=bool(body),
            head=entry.headers,
            tail=(*version.headers, *cors_headers(parts.config.cors, fields.get("origin"))),
            policies=plan.policies,
            cost=route.cost,
            route=route.pattern,
            version=version.version,
        )

    def answer(self, offer: Offer, *, asked: str | None, began_s: float) -> Response | None:
        """Answer as the object would from its cache, or return None: the request has to visit it.

        `asked` is the request id that the client sent.
        """
        parts = self._parts
        if not self.is_newest or parts.reports.is_due:
            return None
        clock, entry = parts.clock, offer.entry()
        now_ns = clock.realtime_ns()
        if entry is None or not parts.cache.has_fresh(offer.key, entry, now_ns):
            return None
        state = parts.limits.charge_leased(offer.policies, now_ns, cost=offer.cost)
        if state is None:
            return None
        parts.cache.count_hit()
        told = request_id(asked, clock=clock, entropy=parts.entropy)
        headers = offer.headers_now(entry, parts.limits, state, request_id=told, now_ns=now_ns)
        body = entry.body if offer.has_body else None
        response = Response(body, status=offer.status, headers=headers)
        took_ms = (clock.monotonic() - began_s) * 1_000
        parts.stats.count(offer.route, offer.status, version=offer.version, took_ms=took_ms)
        return response


class Known(Struct, frozen=True, kw_only=True):
    """An offer that was taken up, and until when its caller is who it was."""

    offer: Offer
    generation: int
    until_ns: int | None


class Shortcuts:
    """The offers that an entry point has taken up, by what requests look like when they arrive."""

    def __init__(self, env: object, *, clock: Clock) -> None:
        self._shelves = shelves_of(env)
        self._clock = clock
        self._known: Memo[Known] = Memo(entries_max=KNOWN_MAX)

    def answer(self, request: Request, generation: int) -> Response | None:
        """Return the answer to a request that is known and needs no visit; `generation` is that of
        the verdicts on callers that hold now."""
        if request.method != "GET":
            return None
        headers = request.headers
        known = self._known.get(_arriving(request, headers.items()))
        if known is None or known.generation != generation:
            return None
        began_s, offer = self._clock.monotonic(), known.offer
        if began_s >= offer.ends_s:
            return None
        if known.until_ns is not None and self._clock.realtime_ns() >= known.until_ns:
            return None
        shelf = offer.shelf()
        if shelf is None:
            return None
        return shelf.answer(offer, asked=headers.get("x-request-id"), began_s=began_s)

    def latest(self, object_id: str) -> Offer | None:
        """Return, once, the last offer of an object that lives here."""
        shelf = self._shelves.get(object_id)
        if shelf is None or shelf.latest is None:
            return None
        offer, shelf.latest = shelf.latest, None
        return offer

    def learn(self, request: Request, known: Known) -> None:
        """Take up an offer for requests like this one."""
        key = _arriving(request, request.headers.items())
        if len(key[0]) + sum(len(name) + len(value) for name, value in key[1:]) <= KEY_CHARS_MAX:
            self._known.put(key, known)


_SHELVES: weakref.WeakKeyDictionary[object, weakref.WeakValueDictionary[str, Shelf]] = (
    weakref.WeakKeyDictionary()
)


def shelves_of(env: object) -> weakref.WeakValueDictionary[str, Shelf]:
    """Return the shelves of the live gateway objects that were given this very `env`, by object id."""
    none: weakref.WeakValueDictionary[str, Shelf] = weakref.WeakValueDictionary()
    try:
        return _SHELVES.setdefault(env, none)
    except TypeError:
        # An `env` that nothing can be tied to; then nothing is shared.
        return none


def put_up(shelf: Shelf, env: object, object_id: str) -> None:
    """Make `shelf` the one of its object; the one of an earlier instance answers no more."""
    shelves = shelves_of(env)
    before = shelves.get(object_id)
    if before is not None:
        before.is_newest = False
    shelves[object_id] = shelf


def shown_of(standing: str, url: str, fields: Mapping[str, str]) -> tuple[object, ...]:
    """Return what a gateway object sees of a request."""
    return (standing, url, *fields.items())


def _arriving(request: Request, items: list[Header]) -> tuple[str, *tuple[Header, ...]]:
    """Return what tells whether a request is like an earlier one."""
    return (request.url, *[pair for pair in items if pair[0] not in OWN_FIELDS])
