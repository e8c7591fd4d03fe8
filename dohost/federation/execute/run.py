"""Running a plan: wave by wave, every call of a wave started before the first is awaited.

No task is made here. `SubgraphCaller.call` starts the work when it is called, so awaiting the replies one
after the other waits only as long as the slowest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

import msgspec

from dohost.federation.contract import (
    GraphQLError,
    JsonObject,
    RootField,
    SubgraphCaller,
    SubgraphOperation,
    SubgraphReply,
)
from dohost.federation.execute.gather import Gathered, ResponsePath, gather, locate, reached
from dohost.federation.execute.merge import merge_into, rename
from dohost.federation.plan.arguments import argument_values
from dohost.federation.plan.plan import Fetch, Plan


class Response(msgspec.Struct, kw_only=True):
    """What the subgraphs have answered so far."""

    data: JsonObject
    errors: list[GraphQLError]


async def run_plan(
    plan: Plan, variables: Mapping[str, object], *, caller: SubgraphCaller, context: object
) -> Response:
    """Run every fetch of the plan and return the merged data, with the subgraphs' errors placed."""
    response = Response(data={}, errors=[])
    for wave in plan.waves:
        started: list[tuple[Fetch, Gathered | None, Awaitable[SubgraphReply]]] = []
        for fetch in wave:
            gathered = _gathered(response.data, fetch)
            if gathered is not None and not gathered.objects:
                continue
            operation = _operation(fetch, gathered, variables)
            started.append(
                (fetch, gathered, caller.call(fetch.service, operation, context=context))
            )
        for fetch, gathered, reply in started:
            _take(response, fetch, gathered, await reply)
    return response


def _gathered(data: JsonObject, fetch: Fetch) -> Gathered | None:
    """Return who waits for a fetch; None stands for the root itself."""
    if fetch.targets:
        return gather(data, fetch.targets)
    return reached(data, fetch.at) if fetch.at else None


def _operation(
    fetch: Fetch, gathered: Gathered | None, variables: Mapping[str, object]
) -> SubgraphOperation:
    return SubgraphOperation(
        text=fetch.text,
        kind=fetch.kind,
        variables={name: variables[name] for name in fetch.variables if name in variables},
        representations=gathered.representations if gathered and fetch.targets else None,
        root_fields=tuple(
            RootField(
                response_key=root.response_key,
                name=root.name,
                arguments=argument_values(root.arguments, variables),
            )
            for root in fetch.root_fields
        ),
    )


def _take(
    response: Response, fetch: Fetch, gathered: Gathered | None, reply: SubgraphReply
) -> None:
    data = reply.data
    if gathered is None:
        if data is not None:
            rename(data, fetch.renames)
            merge_into(response.data, data)
        for error in reply.errors:
            response.errors.append(_placed(error, fetch, error.get("path")))
        return
    if not fetch.targets:
        _take_root(response, fetch, gathered, reply)
        return
    entities = data.get("_entities") if data is not None else None
    errors = list(reply.errors)
    if entities is not None and (
        not isinstance(entities, list) or len(entities) != len(gathered.representations)
    ):
        errors.append({"message": f"{fetch.service} answered with the wrong number of entities"})
        entities = None
    if entities is None and not errors:
        errors.append({"message": f"{fetch.service} answered without entities"})
    if errors:
        response.errors.extend(_entity_errors(response, fetch, gathered, errors))
    if isinstance(entities, list):
        rename(entities, fetch.renames)
        for target, slot in gathered.objects:
            entity = entities[slot]
            if isinstance(entity, dict):
                merge_into(target, entity)


def _take_root(response: Response, fetch: Fetch, gathered: Gathered, reply: SubgraphReply) -> None:
    """Give the answer of a subgraph's root fields to every object of type Query that asked for them."""
    wanted: dict[int, list[ResponsePath]] = {id(target): [] for target, _ in gathered.objects}
    locate(response.data, wanted)
    for error in reply.errors:
        path = error.get("path")
        inside = list(path) if isinstance(path, list | tuple) else []
        for places in wanted.values():
            response.errors.extend(_placed(error, fetch, [*place, *inside]) for place in places)
    if reply.data is not None:
        rename(reply.data, fetch.renames)
        for target, _ in gathered.objects:
            merge_into(target, reply.data)


def _placed(error: GraphQLError, fetch: Fetch, path: object) -> GraphQLError:
    extensions = error.get("extensions")
    placed: GraphQLError = {"message": error.get("message", "unknown error")}
    if isinstance(path, list | tuple):
        placed["path"] = list(path)
    placed["extensions"] = {
        "code": "DOWNSTREAM_SERVICE_ERROR",
        "serviceName": fetch.service,
        **(extensions if isinstance(extensions, dict) else {}),
    }
    return placed


def _entity_errors(
    response: Response, fetch: Fetch, gathered: Gathered, errors: list[GraphQLError]
) -> list[GraphQLError]:
    """Give errors about `_entities.i` the paths of every object that waited for entity `i`."""
    wanted: dict[int, list[ResponsePath]] = {id(target): [] for target, _ in gathered.objects}
    locate(response.data, wanted)
    placed: list[GraphQLError] = []
    for error in errors:
        path = error.get("path")
        inside = list(path) if isinstance(path, list | tuple) else []
        slot = inside[1] if len(inside) > 1 and inside[0] == "_entities" else None
        if slot is None:
            at = [step.key for step in fetch.targets[0].path if step.key]
            placed.append(_placed(error, fetch, at))
            continue
        for target, own_slot in gathered.objects:
            if own_slot == slot:
                placed.extend(
                    _placed(error, fetch, [*place, *inside[2:]]) for place in wanted[id(target)]
                )
    return placed
