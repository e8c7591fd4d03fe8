"""A worker's own Durable Object classes under `ctx.exports`: what facets are started from.

A class that has objects of its own is a namespace there as well.
"""

from __future__ import annotations

from collections.abc import Mapping

from workers.raw_values import raw_object
from workers.values import clone

from dohost.errors import JsTypeError
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime.class_table import code_of
from dohost.runtime.parts import Code
from dohost.runtime.registry import ObjectClass
from dohost.runtime.worker import Generation


class FacetClass:
    """A class and the `props` that its instances get; called with others, it is the same with these."""

    __slots__ = ("_generation", "_name", "_props")

    def __init__(
        self, generation: Generation, name: str, props: Mapping[str, object] | None = None
    ) -> None:
        self._generation = generation
        self._name = name
        self._props = props or {}

    def __call__(
        self, options: Mapping[str, object] | None = None, *, props: object = None
    ) -> FacetClass:
        given = options.get("props", props) if options is not None else props
        copy = clone(given or {})
        if not isinstance(copy, Mapping):
            raise JsTypeError("props must be an object.")
        return FacetClass(self._generation, self._name, copy)

    def code(self, *, is_strict: bool) -> Code:
        """Return what instances are made of."""
        return code_of(self._generation, self._name, is_strict=is_strict)

    def props(self) -> Mapping[str, object]:
        """Return a copy of the props, for one instance."""
        return raw_object(self._props)

    def __repr__(self) -> str:
        return f"<DurableObjectClass {self._name}>"


class LoopbackNamespace(DurableObjectNamespace):
    """The namespace of one of the worker's own classes, which is the class as well."""

    __slots__ = ("facet_class",)

    def __init__(self, object_class: ObjectClass, facet_class: FacetClass) -> None:
        super().__init__(object_class.ids, object_class.dispatcher, label=object_class.class_name)
        self.facet_class = facet_class

    def __call__(
        self, options: Mapping[str, object] | None = None, *, props: object = None
    ) -> FacetClass:
        return self.facet_class(options, props=props)
