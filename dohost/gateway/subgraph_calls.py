"""Carries GraphQL operations to service objects: limited, guarded by breakers, grouped by object.

An entity lives in the object that its key names, by the same template as a route's. Representations are
grouped by that name, one call per object, all started before the first is awaited, and put back in order.
A refused, failed or late call is a reply with errors: it nulls its own fields and no others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from dohost.clock import Clock
from dohost.federation.contract import GraphQLError, SubgraphOperation, SubgraphReply
from dohost.gateway.config import GatewayConfig
from dohost.gateway.dispatch import NS_PER_MS, Dispatcher, Pending
from dohost.gateway.identity import Identity
from dohost.gateway.problems import Problem, problem
from dohost.gateway.upstream import PLACE, Target, target_of

Charge = Callable[[], Problem | None]


class SubgraphCalls:
    """The subgraph calls of one GraphQL request; `charge` is asked before each."""

    def __init__(
        self,
        config: GatewayConfig,
        dispatcher: Dispatcher,
        *,
        identity: Identity,
        clock: Clock,
        charge: Charge,
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._identity = identity
        self._clock = clock
        self._charge = charge
        self._is_first = True

    def call(
        self, service: str, operation: SubgraphOperation, *, context: object
    ) -> Awaitable[SubgraphReply]:
        """Start an operation; entities of several objects are one call per object, in parallel."""
        # The request itself paid for its first call.
        refused = None if self._is_first else self._charge()
        self._is_first = False
        groups = self._groups(service, operation) if refused is None else refused
        if isinstance(groups, Problem):
            return _ready(refusal(groups, service))
        started = [(indexes, self._begin(target, operation, indexes)) for target, indexes in groups]
        if len(started) == 1:
            return _finish(started[0][1], service)
        return _gather(started, service, len(operation.representations or ()))

    def _groups(
        self, service: str, operation: SubgraphOperation
    ) -> list[tuple[Target, list[int] | None]] | Problem:
        config = self._config.services[service]
        if operation.representations is None:
            arguments = operation.root_fields[0].arguments if operation.root_fields else {}
            target = target_of(config, self._identity.tenant, values=arguments)
            return target if isinstance(target, Problem) else [(target, None)]
        if PLACE.search(config.object) is None:
            target = target_of(config, self._identity.tenant, values={})
            return target if isinstance(target, Problem) else [(target, None)]
        grouped: dict[str, tuple[Target, list[int]]] = {}
        for index, representation in enumerate(operation.representations):
            target = target_of(config, self._identity.tenant, values=representation)
            if isinstance(target, Problem):
                return target
            grouped.setdefault(target.object_name, (target, []))[1].append(index)
        return [(target, indexes) for target, indexes in grouped.values()]

    def _begin(
        self, target: Target, operation: SubgraphOperation, indexes: list[int] | None
    ) -> Pending | Problem:
        representations = operation.representations
        if representations is not None and indexes is not None:
            representations = [representations[index] for index in indexes]
        context = self._identity.caller().to_plain()
        left_ms = self._identity.deadline_ms - self._clock.realtime_ns() // NS_PER_MS
        timeout_s = max(0, min(target.service.timeout_ms, left_ms)) / 1_000
        return self._dispatcher.begin(
            target,
            lambda stub: stub.gateway_graphql(
                operation.text, operation.variables, representations, context
            ),
            timeout_s=timeout_s,
            request_id=self._identity.request_id,
        )


async def _finish(started: Pending | Problem, service: str) -> SubgraphReply:
    if isinstance(started, Problem):
        return refusal(started, service)
    reply = await started.finish()
    if isinstance(reply, Problem):
        return refusal(reply, service)
    if not isinstance(reply, Mapping):
        return refusal(problem("upstream-failed", f"{service} gave no GraphQL answer."), service)
    if isinstance(told := reply.get("problem"), Mapping):
        refused = problem("service-error", str(told["detail"]), status=int(told["status"]))
        return refusal(refused, service)
    return SubgraphReply(data=reply.get("data"), errors=reply.get("errors") or ())


async def _ready(reply: SubgraphReply) -> SubgraphReply:
    return reply


async def _gather(
    started: Sequence[tuple[list[int] | None, Pending | Problem]], service: str, count: int
) -> SubgraphReply:
    """Put the entities of several objects back in order; a failed object nulls only its own."""
    entities: list[object] = [None] * count
    errors: list[GraphQLError] = []
    for indexes, each in started:
        reply = await _finish(each, service)
        found = (reply.data or {}).get("_entities")
        own = indexes or []
        errors += [_relocated(error, own) for error in reply.errors]
        if isinstance(found, list) and len(found) == len(own):
            for index, entity in zip(own, found, strict=True):
                entities[index] = entity
    return SubgraphReply(data={"_entities": entities}, errors=errors)


def _relocated(error: GraphQLError, indexes: list[int]) -> GraphQLError:
    """Make an error's path, which counts one object's entities, count all of them."""
    path = error.get("path")
    if isinstance(path, list) and len(path) > 1 and path[0] == "_entities":
        position = path[1]
        if isinstance(position, int) and position < len(indexes):
            return {**error, "path": ["_entities", indexes[position], *path[2:]]}
    return error


def refusal(told: Problem, service: str) -> SubgraphReply:
    """Return a failed subgraph call as the engine reads it: no data, one error with a code."""
    extensions = {"code": told.type.slug, "status": told.status, "service": service}
    return SubgraphReply(data=None, errors=[{"message": told.detail, "extensions": extensions}])
