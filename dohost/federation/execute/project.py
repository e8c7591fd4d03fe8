"""The answer's shape: what the client asked for, in its order, nulls propagated as GraphQL says.

A projector is a closure per selection, made once per operation. The happy path keeps no response paths;
a null where the schema forbids one raises, and the nearest nullable place takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dohost.federation.contract import JsonObject
from dohost.federation.plan.normalize import NormalField, NormalSelection
from dohost.federation.sdl.model import Kind, named_type
from dohost.federation.supergraph import Supergraph, is_inaccessible

Complete = Callable[[object], object]


class NullInNonNull(Exception):
    """A null stands where the schema forbids it; `path` grows outward, also when it has been taken."""

    def __init__(self, field: str) -> None:
        super().__init__(f"Cannot return null for non-nullable field {field}.")
        self.path: list[str | int] = []


class Projection:
    """Projects merged data for one operation and records the nulls that had to propagate."""

    def __init__(self, supergraph: Supergraph, selection: NormalSelection) -> None:
        self._supergraph = supergraph
        self._nulls: list[NullInNonNull] = []
        self._object = self._selection(selection)

    def project(self, data: JsonObject) -> tuple[JsonObject | None, list[NullInNonNull]]:
        """Return the client's `data`, and every null that propagated."""
        self._nulls = []
        try:
            return self._object(data), self._nulls  # type: ignore[return-value]  # an object gives an object
        except NullInNonNull as null:
            return None, [*self._nulls, null]

    def _selection(self, selection: NormalSelection) -> Complete:
        by_type = {
            name: tuple(self._field(field, name) for field in fields)
            for name, fields in selection.by_type.items()
        }
        kept = by_type.get(selection.on)
        if kept is None and not self._supergraph.types[selection.on].is_abstract:
            kept = ()
        possible = frozenset(
            name
            for name in self._supergraph.possible_types(selection.on)
            if not is_inaccessible(self._supergraph.types[name].directives)
        )
        abstract = self._supergraph.types[selection.on].is_abstract

        def complete(value: object) -> object:
            if not isinstance(value, dict):
                return None
            fields = kept
            if fields is None or abstract:
                typename = value.get("__typename")
                if typename is not None and typename not in possible:
                    return None
                if fields is None:
                    fields = by_type.get(str(typename), ())
            out: JsonObject = {}
            for key, complete_field in fields:
                out[key] = complete_field(value.get(key))
            return out

        return complete

    def _field(self, field: NormalField, owner: str) -> tuple[str, Complete]:
        if field.name == "__typename":
            constant = None if self._supergraph.types[owner].is_abstract else owner
            return field.response_key, (lambda value: value) if constant is None else (
                lambda value: constant
            )
        inner = (
            self._leaf(field.type) if field.selection is None else self._selection(field.selection)
        )
        label = f"{owner}.{field.name}"
        return field.response_key, self._guarded(self._typed(field.type, inner, label), field)

    def _guarded(self, complete: Complete, field: NormalField) -> Complete:
        """Take nulls that propagate up to here if the field may be null, or pass them on."""
        nullable, key = not field.type.endswith("!"), field.response_key
        is_deep = field.selection is not None or "[" in field.type

        def guarded(value: object) -> object:
            taken = len(self._nulls) if is_deep else 0
            try:
                done = complete(value)
                if is_deep and len(self._nulls) > taken:
                    self._grow(taken, key)
                return done
            except NullInNonNull as null:
                null.path.append(key)
                if is_deep:
                    self._grow(taken, key)
                if not nullable:
                    raise
                self._nulls.append(null)
                return None

        return guarded

    def _grow(self, start: int, step: str | int) -> None:
        """Lead the nulls that were taken since `start` one step further out."""
        for null in self._nulls[start:]:
            null.path.append(step)

    def _typed(self, type_text: str, inner: Complete, label: str) -> Complete:
        if type_text.endswith("!"):
            complete = self._typed(type_text[:-1], inner, label)

            def non_null(value: object) -> object:
                done = complete(value)
                if done is None:
                    raise NullInNonNull(label)
                return done

            return non_null
        if type_text.startswith("["):
            return self._list(self._typed(type_text[1:-1], inner, label), type_text)
        return inner

    def _list(self, complete: Complete, type_text: str) -> Complete:
        nullable = not type_text[:-1].endswith("!")

        def each(value: object) -> object:
            if not isinstance(value, list):
                return None
            out: list[object] = []
            for index, item in enumerate(value):
                taken = len(self._nulls)
                try:
                    out.append(complete(item))
                    if len(self._nulls) > taken:
                        self._grow(taken, index)
                except NullInNonNull as null:
                    null.path.append(index)
                    self._grow(taken, index)
                    if not nullable:
                        raise
                    self._nulls.append(null)
                    out.append(None)
            return out

        return each

    def _leaf(self, type_text: str) -> Complete:
        type_ = self._supergraph.types.get(named_type(type_text))
        if type_ is None or type_.kind is not Kind.ENUM:
            return lambda value: value
        visible: Mapping[str, str] = {
            name: name
            for name, value in type_.values.items()
            if not is_inaccessible(value.definition.directives)
        }
        return lambda value: visible.get(value) if isinstance(value, str) else None
