"""Where a call goes, and what became of it.

The object's name is derived by one rule from the service's template: every substituted value is
percent-encoded, so different inputs never give one name, and a tenant's objects carry its prefix. A
stub call starts when it is made; `Sent` waits for it until its deadline. A deliberate answer is
delivered whatever its status; only what escapes, and silence, are failures.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

import msgspec
from workers import Request, Response

from dohost.clock import Clock
from dohost.gateway.config_tables import ServiceConfig
from dohost.gateway.problems import Problem, problem

PLACE = re.compile(r"\{([A-Za-z0-9_]+)\}")
DIRECTORY = "$main"
DESCRIBE_OBJECT = "$describe"
NAME_BYTES_MAX = 1_024


class Stub(Protocol):
    """A service object as the gateway reaches it; each call starts when it is made."""

    def gateway_call(
        self, method: str, args: object, context: object
    ) -> Awaitable[Mapping[str, object]]: ...

    def gateway_describe(self) -> Awaitable[Mapping[str, object]]: ...

    def gateway_graphql(
        self, text: str, variables: object, representations: object, context: object
    ) -> Awaitable[Mapping[str, object]]: ...

    def fetch(self, request: Request) -> Awaitable[Response]: ...


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One object of one service."""

    service: ServiceConfig
    object_name: str


def target_of(
    service: ServiceConfig,
    tenant: str,
    *,
    values: Mapping[str, object],
    template: str | None = None,
) -> Target | Problem:
    """Return the object that a call goes to; `values` fill the template of service or route.

    A template of which a value is missing means the directory object `$main`.
    """
    pattern = template or service.object
    if "{" not in pattern:
        return _named(service, tenant, pattern)
    names = PLACE.findall(pattern)
    given = [values.get(name) for name in names]
    if names and None in given:
        name = DIRECTORY
    elif any(not isinstance(each, (str, int)) or str(each) == "" for each in given):
        return problem("invalid-arguments", "The object's name needs non-empty text or integers.")
    else:
        name = PLACE.sub(lambda match: quote(str(values[match[1]]), safe=".~-_"), pattern)
    return _named(service, tenant, name)


def target_chosen(service: ServiceConfig, tenant: str, value: str) -> Target | Problem:
    """Return the object that a client chose by value, under the same rule."""
    if not value:
        return problem("invalid-arguments", "The object's name is empty.")
    encoded = quote(value, safe=".~-_")
    pattern = service.object
    places = PLACE.findall(pattern)
    name = PLACE.sub(lambda _: encoded, pattern) if len(places) == 1 else encoded
    return _named(service, tenant, name)


def _named(service: ServiceConfig, tenant: str, name: str) -> Target | Problem:
    full = name if service.scope == "shared" else f"{tenant}/{name}"
    if len(full.encode()) > NAME_BYTES_MAX:
        return problem("invalid-arguments", f"The object's name is over {NAME_BYTES_MAX} bytes.")
    return Target(service=service, object_name=full)


class Answered(msgspec.Struct, frozen=True):
    """The upstream answered; `value` is a reply or a Response."""

    value: object


class Failed(msgspec.Struct, frozen=True):
    """The upstream failed or kept silent; `cause` is for the log, `problem` for the client."""

    problem: Problem
    cause: BaseException | None


class Sent:
    """A call under way, and the deadline by which it must answer."""

    __slots__ = ("_awaitable", "_clock", "_deadline", "_error")

    def __init__(
        self, start: Callable[[], Awaitable[object]], *, timeout_s: float, clock: Clock
    ) -> None:
        self._clock = clock
        self._deadline = clock.monotonic() + timeout_s
        self._error: BaseException | None = None
        self._awaitable: Awaitable[object] | None = None
        try:
            self._awaitable = start()
        except Exception as error:  # noqa: BLE001  an upstream's failure, of whatever class, is an answer here
            self._error = error

    async def outcome(self, service: str) -> Answered | Failed:
        """Wait for the answer, at most until the deadline; cancel-safe."""
        if self._awaitable is None:
            return Failed(_failure(service, self._error), self._error)
        try:
            if _is_done(self._awaitable):
                return Answered(await self._awaitable)
            async with asyncio.timeout(max(0.0, self._deadline - self._clock.monotonic())):
                return Answered(await self._awaitable)
        except TimeoutError as error:
            late = problem("gateway-timeout", f"The service {service} did not answer in time.")
            return Failed(late, error)
        except Exception as error:  # noqa: BLE001  an upstream's failure, of whatever class, is an answer here
            return Failed(_failure(service, error), error)


def _is_done(awaitable: Awaitable[object]) -> bool:
    """Whether awaiting would not suspend; spares a timer. Coroutines and promises can't tell."""
    done = getattr(awaitable, "done", None)
    return done is not None and bool(done())


def _failure(service: str, error: BaseException | None) -> Problem:
    if getattr(error, "overloaded", False):
        return problem("overloaded", f"The service {service} is overloaded.")
    if isinstance(error, OSError):
        return problem("upstream-failed", f"The service {service} can't be reached.")
    return problem("internal-error", f"The service {service} failed; the logs have the request id.")


def route_values(
    params: Mapping[str, str], args: Sequence[object] | Mapping[str, object]
) -> dict[str, object]:
    """Return what a template may name: route parameters, arguments by position or by name."""
    values: dict[str, object] = dict(params)
    named = (
        args.items()
        if isinstance(args, Mapping)
        else ((str(i), each) for i, each in enumerate(args))
    )
    values.update(named)
    return values
