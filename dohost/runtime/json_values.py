"""JSON values of the configuration (variables, props) as Worker code sees them."""

from __future__ import annotations

from collections.abc import Mapping

from workers.values import JsDict


class JsonObject(JsDict):
    """A JSON variable that is an object; `to_py()` gives plain values, as on Cloudflare."""

    __slots__ = ()

    def to_py(self, **options: object) -> dict[str, object]:
        return {name: _plain(value) for name, value in self.items()}


class JsonArray(list[object]):
    """A JSON variable that is an array."""

    __slots__ = ()

    def to_py(self, **options: object) -> list[object]:
        return [_plain(value) for value in self]


def json_object(value: Mapping[str, object]) -> JsonObject:
    """Return an object as Worker code sees it."""
    return JsonObject({name: json_value(item) for name, item in value.items()})


def json_value(value: object) -> object:
    """Return a variable as Worker code sees it: text as str, objects and arrays with `to_py()`."""
    if isinstance(value, Mapping):
        return json_object(value)
    if isinstance(value, (list, tuple)):
        return JsonArray([json_value(item) for item in value])
    return value


def _plain(value: object) -> object:
    return value.to_py() if isinstance(value, (JsonObject, JsonArray)) else value
