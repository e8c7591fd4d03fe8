"""Executing a compiled selection of a service.

Execution is one synchronous pass that writes into the answer as it goes. A resolver that gives an awaitable
leaves a hole and a continuation; the holes are filled afterwards, round by round, so that a service whose
resolvers are plain functions never suspends.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

from graphql import VariableNode, value_from_ast_untyped

from dohost.federation.contract import GraphQLError, JsonObject
from dohost.federation.plan.arguments import argument_values
from dohost.federation.sdl.model import Kind, named_type
from dohost.federation.subgraph_compile import Condition, FieldStep, Selection

Place = tuple[str | int, ...]
Then = Callable[[object], None]


class ResolverLike(Protocol):
    """What execution needs of a resolver."""

    function: Callable[..., object]
    is_batch: bool
    wants_representation: bool

    def keyword(self, argument: str) -> str:
        """Return the parameter that takes a GraphQL argument."""
        ...


class Run:
    """One execution: the answer's errors, and what is still awaited."""

    def __init__(
        self,
        resolvers: Mapping[str, ResolverLike],
        *,
        receiver: object,
        variables: Mapping[str, object],
        describe: Callable[[Exception], GraphQLError],
    ) -> None:
        self.errors: list[GraphQLError] = []
        self._resolvers = resolvers
        self._first = () if receiver is None else (receiver,)
        self._variables = variables
        self._describe = describe
        self._pending: list[tuple[Awaitable[object], Then, Place]] = []

    async def finish(self, *, is_serial: bool) -> None:
        """Await what resolvers left open, until nothing is; serially for a mutation."""
        while self._pending:
            pending, self._pending = self._pending, []
            if len(pending) == 1 or is_serial:
                for awaitable, then, path in pending:
                    await self._settle(awaitable, then, path)
                continue
            async with asyncio.TaskGroup() as group:
                for awaitable, then, path in pending:
                    group.create_task(self._settle(awaitable, then, path))

    async def _settle(self, awaitable: Awaitable[object], then: Then, path: Place) -> None:
        try:
            value = await awaitable
        except Exception as error:  # noqa: BLE001 - GraphQL: a resolver's failure is an error at its field
            self._fail(error, path)
            return
        then(value)

    def _fail(self, error: Exception, path: Place) -> None:
        self.errors.append({**self._describe(error), "path": list(path)})

    def _say(self, message: str, path: Place) -> None:
        self.errors.append({"message": message, "path": list(path)})

    def select(self, selection: Selection, *, source: object, out: JsonObject, path: Place) -> None:
        """Resolve a selection on one value into `out`."""
        typename = selection.on
        steps = selection.anyway
        if selection.by_type:
            typename = typename_of(source)
            steps = selection.by_type.get(typename, steps)
        for step in steps:
            if all(self._holds(condition) for condition in step.conditions):
                self._resolve(step, typename, source, out, (*path, step.response_key))

    def _holds(self, condition: Condition) -> bool:
        value = condition.value
        if isinstance(value, VariableNode):
            return bool(self._variables.get(value.name.value)) is condition.keep_if
        return bool(value_from_ast_untyped(value)) is condition.keep_if

    def _resolve(
        self, step: FieldStep, typename: str, source: object, out: JsonObject, path: Place
    ) -> None:
        key = step.response_key
        out[key] = None
        if step.name == "__typename":
            out[key] = typename
            return
        if step.name == "_entities":
            self._entities(step, out, path)
            return
        try:
            value = self._call(step, typename, source)
        except Exception as error:  # noqa: BLE001 - GraphQL: a resolver's failure is an error at its field
            self._fail(error, path)
            return

        def then(settled: object) -> None:
            out[key] = self._complete(step.type, settled, step, path)

        if inspect.isawaitable(value):
            self._pending.append((value, then, path))
        else:
            then(value)

    def _call(self, step: FieldStep, typename: str, source: object) -> object:
        resolver = self._resolvers.get(f"{typename}.{step.name}")
        if resolver is None:
            if step.owner == "Query" and named_type(step.type) in self._resolvers:
                return self._look_up(step)
            return read_member(source, step.name)
        given = {**step.defaults, **argument_values(step.arguments, self._variables)}
        keywords = {resolver.keyword(name): value for name, value in given.items()}
        if resolver.wants_representation and isinstance(source, Entity):
            keywords["representation"] = source.representation
        if step.owner in ("Query", "Mutation", "Subscription"):
            return resolver.function(*self._first, **keywords)
        parent = source.value if isinstance(source, Entity) else source
        return resolver.function(*self._first, parent, **keywords)

    def _look_up(self, step: FieldStep) -> object:
        """Resolve a root field that nobody resolves through its entity's resolver."""
        entity = named_type(step.type)
        resolver = self._resolvers[entity]
        arguments = argument_values(step.arguments, self._variables)
        representation = {"__typename": entity, **arguments}
        if not resolver.is_batch:
            return resolver.function(*self._first, representation)
        found = resolver.function(*self._first, [representation])
        return _first_of(found)

    def _entities(self, step: FieldStep, out: JsonObject, path: Place) -> None:
        given = argument_values(step.arguments, self._variables).get("representations")
        representations = given if isinstance(given, list) else []
        found: list[object] = [None] * len(representations)
        out[step.response_key] = found
        by_type: dict[str, list[int]] = {}
        for index, representation in enumerate(representations):
            by_type.setdefault(str(representation.get("__typename")), []).append(index)
        for typename, slots in by_type.items():
            mine = [representations[slot] for slot in slots]
            resolver = self._resolvers.get(typename)

            def fill(
                values: object, slots: list[int] = slots, mine: list[JsonObject] = mine
            ) -> None:
                self._fill(step, found, path, slots=slots, answers=(values, mine))

            if resolver is None:
                fill(mine)
            elif resolver.is_batch:
                self._start(lambda r=resolver, m=mine: r.function(*self._first, m), fill, path)  # type: ignore[misc]  # defaults bind the loop's values
            else:
                for slot, representation in zip(slots, mine, strict=True):
                    self._one(step, resolver, found, path, at=(slot, representation))

    def _one(
        self,
        step: FieldStep,
        resolver: ResolverLike,
        found: list[object],
        path: Place,
        *,
        at: tuple[int, JsonObject],
    ) -> None:
        slot, representation = at

        def then(value: object) -> None:
            self._fill(step, found, path, slots=[slot], answers=([value], [representation]))

        self._start(lambda: resolver.function(*self._first, representation), then, (*path, slot))

    def _start(self, call: Callable[[], object], then: Then, path: Place) -> None:
        try:
            value = call()
        except Exception as error:  # noqa: BLE001 - GraphQL: a resolver's failure is an error at its field
            self._fail(error, path)
            return
        if inspect.isawaitable(value):
            self._pending.append((value, then, path))
        else:
            then(value)

    def _fill(
        self,
        step: FieldStep,
        found: list[object],
        path: Place,
        *,
        slots: Sequence[int],
        answers: tuple[object, list[JsonObject]],
    ) -> None:
        values, representations = answers
        if not isinstance(values, list | tuple) or len(values) != len(slots):
            self._say(f"an entity resolver must give {len(slots)} values, in order", path)
            return
        for slot, value, representation in zip(slots, values, representations, strict=True):
            if value is None or step.selection is None:
                continue
            out: JsonObject = {}
            found[slot] = out
            entity = Entity(value, representation)
            self.select(step.selection, source=entity, out=out, path=(*path, slot))

    def _complete(self, type_text: str, value: object, step: FieldStep, path: Place) -> object:
        if type_text.endswith("!"):
            if value is None:
                self._say(f"{step.owner}.{step.name} may not be null", path)
                return None
            type_text = type_text[:-1]
        if value is None:
            return None
        if type_text.startswith("["):
            if not isinstance(value, list | tuple | set | frozenset):
                self._say(f"{step.owner}.{step.name} should be a list", path)
                return None
            inner = type_text[1:-1]
            return [
                self._complete(inner, item, step, (*path, index))
                for index, item in enumerate(value)
            ]
        if step.selection is not None:
            if isinstance(value, list):  # a type that this service only names may hide a list
                return [self._complete(type_text, v, step, (*path, i)) for i, v in enumerate(value)]
            out: JsonObject = {}
            self.select(step.selection, source=value, out=out, path=path)
            return out
        return self._leaf(type_text, value, step, path)

    def _leaf(self, type_text: str, value: object, step: FieldStep, path: Place) -> object:
        if isinstance(value, Enum):
            value = value.name if step.kind is Kind.ENUM else value.value
        if type_text == "ID":
            return value if isinstance(value, str) else str(value)
        expected = _LEAF_TYPES.get(type_text)
        if expected is None or (
            isinstance(value, expected) and (type_text == "Boolean" or not isinstance(value, bool))
        ):
            return value
        self._say(f"{step.owner}.{step.name} is no {type_text}: {type(value).__name__}", path)
        return None


_LEAF_TYPES: Mapping[str, tuple[type, ...]] = {
    "Int": (int,),
    "Float": (int, float),
    "String": (str,),
    "Boolean": (bool,),
}


class Entity:
    """What an entity resolver gave, with the representation that it was asked by."""

    __slots__ = ("representation", "value")

    def __init__(self, value: object, representation: JsonObject) -> None:
        self.value = value
        self.representation = representation


def read_member(source: object, name: str) -> object:
    """Return a dict's member or an object's attribute, also in snake case; None if there is none."""
    if isinstance(source, Entity):
        found = read_member(source.value, name)
        return source.representation.get(name) if found is None else found
    if isinstance(source, Mapping):
        return source[name] if name in source else source.get(_snake(name))
    found = getattr(source, name, None)
    return getattr(source, _snake(name), None) if found is None else found


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def typename_of(value: object) -> str:
    """Return the object type of a value: its `__typename`, or the name of its class."""
    if isinstance(value, Entity):
        own = value.value.get("__typename") if isinstance(value.value, Mapping) else None
        return str(own or value.representation.get("__typename"))
    if isinstance(value, Mapping):
        return str(value.get("__typename", ""))
    return str(getattr(value, "__typename", type(value).__name__))


def _first_of(found: object) -> object:
    if inspect.isawaitable(found):

        async def later() -> object:
            return _first_of(await found)

        return later()
    return found[0] if isinstance(found, list | tuple) and found else None
