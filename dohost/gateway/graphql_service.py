"""A service's side of GraphQL: its schema fragment and resolvers, run on compiled operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from dohost.gateway.registry import Registry
from dohost.gateway.replies import encode_result
from dohost.memo import Memo

if TYPE_CHECKING:
    from dohost.federation.subgraph import Resolver, ServiceSchema

    Compiled = tuple[ServiceSchema, Mapping[str, Resolver]]

_memo: Memo[Compiled] = Memo(entries_max=256)


class SchemaOwner(Protocol):
    """What running an operation needs of a service."""

    schema: ClassVar[str]
    gateway_registry: ClassVar[Registry]


async def run_operation(
    service: SchemaOwner, text: str, *, variables: dict[str, object], representations: object
) -> dict[str, object]:
    """Return `{"data", "errors"}` for one operation, as plain JSON types."""
    # Loading graphql-core takes a tenth of a second that services without a schema never need.
    from dohost.federation.subgraph import compile_operation

    schema, resolvers = _memo.get_or_make(
        type(service), lambda: _compile(service.schema, service.gateway_registry)
    )
    operation = compile_operation(schema, text)
    listed = representations if isinstance(representations, list) else None
    reply = await operation.run(
        resolvers, variables=variables, representations=listed, receiver=service
    )
    # Through JSON: what resolvers return may be Structs, dates and rows, which RPC can't carry.
    data: object = msgspec.json.decode(encode_result(reply.data))
    return {"data": data, "errors": [dict(error) for error in reply.errors]}


def _compile(sdl: str, registry: Registry) -> Compiled:
    # Lazy for the same reason as above.
    from dohost.federation.subgraph import Resolver, ServiceSchema

    resolvers = {
        coordinate: Resolver(function=function, is_batch=mark.is_batch)
        for coordinate, (mark, function) in registry.resolvers.items()
    }
    return ServiceSchema.parse(sdl), resolvers
