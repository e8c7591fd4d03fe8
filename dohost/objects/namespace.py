"""A namespace: the binding through which the objects of one class are reached."""

from __future__ import annotations

from collections.abc import Mapping

from dohost.errors import JsRangeError, JsTypeError
from dohost.objects.id import DurableObjectId, IdFactory, refuse_jurisdiction
from dohost.objects.stub import Dispatcher, DurableObjectStub


class DurableObjectNamespace:
    """Makes ids and stubs of one class; nothing here touches an object."""

    __slots__ = ("_dispatcher", "_ids", "_label")

    def __init__(self, ids: IdFactory, dispatcher: Dispatcher, *, label: str) -> None:
        self._ids = ids
        self._dispatcher = dispatcher
        self._label = label

    def __repr__(self) -> str:
        return f"<DurableObjectNamespace {self._label}>"

    def idFromName(self, name: str) -> DurableObjectId:
        """Return the id that belongs to `name`."""
        return self._ids.from_name(name)

    def newUniqueId(
        self, options: Mapping[str, object] | None = None, *, jurisdiction: object = None
    ) -> DurableObjectId:
        """Return a new random id."""
        refuse_jurisdiction(options.get("jurisdiction") if options else jurisdiction)
        return self._ids.unique()

    def idFromString(self, text: str) -> DurableObjectId:
        """Return the id that `toString()` gave; raises a TypeError for ids of other namespaces."""
        return self._ids.from_string(text)

    def get(
        self,
        object_id: DurableObjectId,
        options: Mapping[str, object] | None = None,
        **keywords: object,
    ) -> DurableObjectStub:
        """Return a stub for the object of `object_id`; the object need not exist."""
        if not isinstance(object_id, DurableObjectId):
            raise JsTypeError("get() takes an id of this namespace; use getByName() for a name.")
        routing = (options or keywords).get("routingMode")
        if routing is not None and routing != "primary-only":
            raise JsRangeError(f"unknown routingMode: {routing}")
        return DurableObjectStub(object_id, self._dispatcher)

    def getByName(
        self, name: str, options: Mapping[str, object] | None = None, **keywords: object
    ) -> DurableObjectStub:
        """Return a stub for the object called `name`."""
        object_id = self._ids.from_name(name)
        if options is None and not keywords:
            return DurableObjectStub(object_id, self._dispatcher)
        return self.get(object_id, options, **keywords)

    def jurisdiction(self, jurisdiction: object) -> DurableObjectNamespace:
        """Return the namespace of a jurisdiction; locally there is only one."""
        refuse_jurisdiction(jurisdiction)
        return self
