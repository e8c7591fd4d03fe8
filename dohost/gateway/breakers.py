"""The circuit breakers of one gateway object: one per service, and one per object of a service.

An object's breaker counts that object's failures. The service's breaker counts a failure only when it
comes from enough distinct objects (three, or all that were called within the window), so that one
poisoned object can't take its service down. Transitions are stored before the answer that they caused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from dohost.gateway.circuit_breaker import (
    CLOSED,
    BreakerState,
    Outcome,
    Permit,
    Rejected,
    acquire,
    decode_state,
    encode_state,
    force,
    is_transition,
    report,
    reset,
    status,
)
from dohost.gateway.config_tables import BreakerConfig
from dohost.gateway.upstream import Target
from dohost.memo import Memo

DISTINCT_OBJECTS = 3
KEYS_MEMOISED_MAX = 2_048
ForceMode = Literal["open", "closed", "auto"]


class BreakerStore(Protocol):
    """Where states are kept; every call is synchronous."""

    def load(self) -> Iterator[tuple[str, str]]: ...
    def save(self, key: str, state: str) -> None: ...


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to make one call; give it back with `Breakers.report`."""

    target: Target
    service: Permit | None
    object: Permit | None


class _Recent:
    """Objects of one service that were called or failed lately, newest last."""

    def __init__(self) -> None:
        self.called: OrderedDict[str, int] = OrderedDict()
        self.failed: OrderedDict[str, int] = OrderedDict()

    def forget(self, before_ms: int, objects_max: int) -> None:
        for table in (self.called, self.failed):
            while table and (len(table) > objects_max or next(iter(table.values())) < before_ms):
                table.popitem(last=False)


class Breakers:
    """Breakers by service and by object."""

    def __init__(self, default: BreakerConfig, store: BreakerStore, *, now_ms: int) -> None:
        self._default = default
        self._store = store
        self._states: OrderedDict[str, BreakerState] = OrderedDict(
            (key, decode_state(text, now_ms)) for key, text in store.load()
        )
        self._recent: dict[str, _Recent] = {}
        self._key_memo: Memo[list[tuple[str, str]]] = Memo(entries_max=KEYS_MEMOISED_MAX)

    def acquire(self, target: Target, *, now_ms: int, lease_ms: int) -> Grant | Rejected:
        """Ask to call an object: its own breaker and its service's must both agree."""
        config = self._config(target)
        for_object: Permit | None = None
        for_service: Permit | None = None
        for scope, key in self._keys(target):
            state, verdict = acquire(
                self._states.get(key, CLOSED), config, now_ms=now_ms, lease_ms=lease_ms
            )
            self._keep(key, state)
            if isinstance(verdict, Rejected):
                self._give_back(target, for_object, now_ms)
                return verdict
            if scope == "object":
                for_object = verdict
            else:
                for_service = verdict
        recent = self._recent.get(target.service.name)
        if recent is None:
            recent = self._recent[target.service.name] = _Recent()
        recent.called[target.object_name] = now_ms
        recent.called.move_to_end(target.object_name)
        return Grant(target=target, service=for_service, object=for_object)

    def report(self, grant: Grant, outcome: Outcome, *, now_ms: int) -> None:
        """Say how a granted call ended."""
        config = self._config(grant.target)
        for scope, key in self._keys(grant.target):
            permit = grant.object if scope == "object" else grant.service
            if permit is None:
                continue
            counted: Outcome = outcome
            if scope == "service" and not self._counts(grant, outcome, now_ms):
                counted = "ignored"
            before = self._states.get(key, CLOSED)
            after = report(before, config, permit=permit, outcome=counted, now_ms=now_ms)
            self._keep(key, after)

    def status(
        self, service: str, config: BreakerConfig | None, *, now_ms: int
    ) -> dict[str, object]:
        """Return the service's breaker for people; changes nothing."""
        state = self._states.get(_service_key(service), CLOSED)
        return status(state, config or self._default, now_ms)

    def reset(self, service: str) -> None:
        """Close every breaker of a service and ignore its calls in flight."""
        for key in self._of(service):
            self._keep(key, reset(self._states.get(key, CLOSED)))

    def force(self, service: str, mode: ForceMode) -> None:
        """Hold a service's breaker open or closed, or let it decide again."""
        key = _service_key(service)
        self._keep(key, force(self._states.get(key, CLOSED), mode))

    def _counts(self, grant: Grant, outcome: Outcome, now_ms: int) -> bool:
        """Whether a failure tells about the service, not about one of its objects."""
        config, recent = self._config(grant.target), self._recent[grant.target.service.name]
        name = grant.target.object_name
        if outcome == "ok":
            recent.failed.pop(name, None)
            return True
        if outcome == "failure":
            recent.failed[name] = now_ms
            recent.failed.move_to_end(name)
        recent.forget(now_ms - config.window_ms, config.objects_max)
        return len(recent.failed) >= min(DISTINCT_OBJECTS, max(1, len(recent.called)))

    def _give_back(self, target: Target, permit: Permit | None, now_ms: int) -> None:
        if permit is None:
            return
        key = _object_key(target)
        state = self._states.get(key, CLOSED)
        config = self._config(target)
        self._keep(key, report(state, config, permit=permit, outcome="ignored", now_ms=now_ms))

    def _config(self, target: Target) -> BreakerConfig:
        return target.service.circuit_breaker or self._default

    def _keys(self, target: Target) -> list[tuple[str, str]]:
        service, scope = target.service.name, self._config(target).scope
        return self._key_memo.get_or_make(
            (service, target.object_name, scope), lambda: self._made_keys(target, scope)
        )

    def _made_keys(self, target: Target, scope: str) -> list[tuple[str, str]]:
        keys = [("object", _object_key(target)), ("service", _service_key(target.service.name))]
        return [each for each in keys if scope in ("both", each[0])]

    def _of(self, service: str) -> list[str]:
        prefix = f"object:{service}/"
        objects = [key for key in self._states if key.startswith(prefix)]
        return [_service_key(service), *objects]

    def _keep(self, key: str, state: BreakerState) -> None:
        before = self._states.get(key, CLOSED)
        if state is before:
            return
        self._states[key] = state
        self._states.move_to_end(key)
        if is_transition(before, state):
            self._store.save(key, encode_state(state))
        if len(self._states) > self._default.objects_max:
            self._evict()

    def _evict(self) -> None:
        """Forget the closed object breaker that was used longest ago; an open one is never forgotten."""
        for key, state in self._states.items():
            if key.startswith("object:") and state.state == "closed":
                del self._states[key]
                return


def _service_key(service: str) -> str:
    return f"service:{service}"


def _object_key(target: Target) -> str:
    return f"object:{target.service.name}/{target.object_name}"
