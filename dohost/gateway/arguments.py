"""From what a client sent to the keyword arguments of an exposed method.

A `Signature` is made once per method from its type hints, which are resolved against the module and
not the class body (a method named `list` must not shadow the type). Binding is a pure function: it
returns the keyword arguments or raises a 400 that points at the member which is wrong. Values are
converted by msgspec before the method sees them; text from paths and queries is converted leniently
("7" for an int), JSON strictly.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import msgspec

from dohost.gateway.service_error import ServiceError

BINDABLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
OBJECT_TYPES = (dict, Mapping)
ANYTHING = (object, typing.Any)
LIST_TYPES = (list, set, frozenset, tuple, Sequence)


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of an exposed method."""

    name: str
    hint: object
    is_required: bool
    is_object: bool
    is_list: bool
    is_text: bool


class HttpArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What a REST request carries; `body` is `msgspec.UNSET` where there is none."""

    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    body: object


class Signature:
    """Binds positional, named and HTTP arguments to one method's parameters."""

    __slots__ = ("_by_name", "_filters_only", "_object_parameters", "parameters", "returns")

    def __init__(self, function: Callable[..., object]) -> None:
        hints = _hints(function)
        listed = list(inspect.signature(function).parameters.values())[1:]
        self.parameters = tuple(_parameter(function, each, hints) for each in listed)
        self.returns = hints.get("return", object)
        self._by_name = {camel(each.name): each for each in self.parameters}
        self._by_name.update({each.name: each for each in self.parameters})
        self._object_parameters = [each for each in self.parameters if each.is_object]
        self._filters_only = not self._object_parameters and not any(
            each.is_required for each in self.parameters
        )

    def bind(self, values: Sequence[object] | Mapping[str, object]) -> dict[str, object]:
        """Return keyword arguments for a call's `args`: a list by position, an object by name."""
        if isinstance(values, Mapping):
            return self._complete(self._named(values, ""))
        if len(values) == 1 and isinstance(values[0], Mapping) and self._filters_only:
            return self._complete(self._named(values[0], "/0"))
        if len(values) > len(self.parameters):
            raise _invalid(f"at most {len(self.parameters)} are accepted", pointer="")
        bound = {
            parameter.name: convert(value, parameter, f"/{index}")
            for index, (parameter, value) in enumerate(zip(self.parameters, values, strict=False))
        }
        return self._complete(bound)

    def bind_http(self, sent: HttpArguments) -> dict[str, object]:
        """Return keyword arguments for a REST request: path, then query, then body, by name."""
        bound: dict[str, object] = {}
        for name, text in sent.path.items():
            if (parameter := self._by_name.get(name)) is not None:
                bound[parameter.name] = convert_text(text, parameter)
        if sent.query:
            self._bind_query(bound, sent.query)
        if sent.body is not msgspec.UNSET:
            self._bind_body(bound, sent.body)
        return self._complete(bound)

    def _bind_query(self, bound: dict[str, object], query: Iterable[tuple[str, str]]) -> None:
        texts: dict[str, list[str]] = {}
        for name, text in query:
            parameter = self._by_name.get(name)
            if parameter is not None and parameter.name not in bound and not parameter.is_object:
                texts.setdefault(parameter.name, []).append(text)
        for name, values in texts.items():
            parameter = self._by_name[name]
            if parameter.is_list:
                bound[name] = _convert(values, parameter.hint, strict=False, parameter=name)
                if not _is_finite(bound[name]):
                    raise _invalid("expected finite numbers", parameter=name)
            elif len(values) > 1:
                raise _invalid("given more than once", parameter=name)
            else:
                bound[name] = convert_text(values[0], parameter)

    def _bind_body(self, bound: dict[str, object], body: object) -> None:
        takers = [each for each in self._object_parameters if each.name not in bound]
        if len(takers) == 1:
            bound[takers[0].name] = convert(body, takers[0], "")
        elif not isinstance(body, Mapping):
            raise _invalid("the body must be a JSON object", pointer="")
        else:
            for name, value in self._named(body, "").items():
                bound.setdefault(name, value)

    def _named(self, values: Mapping[str, object], pointer: str) -> dict[str, object]:
        bound: dict[str, object] = {}
        for name, value in values.items():
            parameter = self._by_name.get(name)
            at = f"{pointer}/{escape_pointer(name)}"
            if parameter is None:
                if len(self._object_parameters) == 1 and not bound:
                    # The whole object is the body: `create({"name": …})` for `create(user: NewUser)`.
                    taker = self._object_parameters[0]
                    return {taker.name: convert(values, taker, pointer)}
                raise _invalid("no such parameter", pointer=at)
            if parameter.name in bound:
                raise _invalid("given twice, in two spellings", pointer=at)
            bound[parameter.name] = convert(value, parameter, at)
        return bound

    def _complete(self, bound: dict[str, object]) -> dict[str, object]:
        for parameter in self.parameters:
            if parameter.is_required and parameter.name not in bound:
                raise _invalid("required", parameter=parameter.name)
        return bound


def convert(value: object, parameter: Parameter, pointer: str) -> object:
    """Return a JSON value as the parameter's type, or raise a 400 that points at the fault."""
    if parameter.is_text and type(value) is str:
        return value
    if parameter.is_object and isinstance(value, Mapping):
        value = _snake_members(value, parameter.hint, pointer)
    converted = _convert(value, parameter.hint, pointer=pointer)
    if not _is_finite(converted):
        raise _invalid("expected a finite number", pointer=pointer)
    return converted


def convert_text(text: str, parameter: Parameter) -> object:
    """Return text from a path or query as the parameter's type, or raise a 400 that names it."""
    if parameter.is_text:
        return text
    value: object = [text] if parameter.is_list else text
    converted = _convert(value, parameter.hint, strict=False, parameter=parameter.name)
    if not _is_finite(converted):
        raise _invalid("expected a finite number", parameter=parameter.name)
    return converted


def _is_finite(value: object) -> bool:
    """False for what JSON can't hold: text such as "nan" and "inf" is a number to Python."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return (
        not isinstance(value, LIST_TYPES) or isinstance(value, str) or all(map(_is_finite, value))
    )


def camel(name: str) -> str:
    """Return `user_id` as `userId`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def snake(name: str) -> str:
    """Return `userId` as `user_id`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda match: "_" + match[1].lower(), name)


def escape_pointer(name: str) -> str:
    """Return a member name as a token of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _convert(
    value: object,
    hint: object,
    *,
    strict: bool = True,
    pointer: str | None = None,
    parameter: str | None = None,
) -> object:
    if hint is object:
        return value
    try:
        return msgspec.convert(value, type=hint, strict=strict)
    except msgspec.ValidationError as error:
        reason, where = _located(str(error))
        at = None if pointer is None else pointer + where
        raise _invalid(reason, pointer=at, parameter=parameter) from None


def _located(message: str) -> tuple[str, str]:
    """Split msgspec's "Expected `int`, got `str` - at `$.a[0]`" into reason and JSON Pointer."""
    reason, _, where = message.partition(" - at ")
    path = where.strip("`").removeprefix("$")
    pointer = re.sub(r"\[(\d+|\.\.\.)\]|\.([^.\[]+)", lambda m: "/" + (m[1] or m[2]), path)
    return reason[:1].lower() + reason[1:], pointer


def _invalid(
    reason: str, *, pointer: str | None = None, parameter: str | None = None
) -> ServiceError:
    if pointer:
        subject = f"Argument {pointer}: "
    elif parameter is not None:
        subject = f"Parameter {parameter}: "
    else:
        subject = "Arguments: "
    return ServiceError(
        400, "invalid-arguments", f"{subject}{reason}.", pointer=pointer, parameter=parameter
    )


def _hints(function: Callable[..., object]) -> dict[str, object]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{function.__qualname__}: a type hint names {error.name!r}, which its module does not"
            " define at run time; exposed methods are converted by their hints."
        ) from error


def _parameter(
    function: Callable[..., object], parameter: inspect.Parameter, hints: Mapping[str, object]
) -> Parameter:
    if parameter.kind not in BINDABLE:
        raise TypeError(
            f"{function.__qualname__}: an exposed method takes named parameters only,"
            f" not {parameter}."
        )
    hint = hints.get(parameter.name, object)
    options = _options(hint)
    return Parameter(
        name=parameter.name,
        hint=hint,
        is_required=parameter.default is inspect.Parameter.empty,
        is_object=any(_is_object_type(each) for each in options),
        is_list=any(_is_a(each, LIST_TYPES) for each in options),
        is_text=str in options,
    )


def _options(hint: object) -> tuple[object, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _is_object_type(hint: object) -> bool:
    return (
        hint in ANYTHING
        or _is_a(hint, OBJECT_TYPES)
        or _is_a(hint, (msgspec.Struct,))
        or typing.is_typeddict(hint)
        or hasattr(hint, "__dataclass_fields__")
    )


def _is_a(hint: object, classes: tuple[type, ...]) -> bool:
    concrete = typing.get_origin(hint) or hint
    if not isinstance(concrete, type) or issubclass(concrete, (str, bytes)):
        return False
    return issubclass(concrete, classes)


def _snake_members(value: Mapping[str, object], hint: object, pointer: str) -> Mapping[str, object]:
    """Rename camelCase members to the Struct's snake_case fields, where it has them."""
    for option in _options(hint):
        if isinstance(option, type) and issubclass(option, msgspec.Struct):
            fields = frozenset(option.__struct_encode_fields__)
            if fields.issuperset(value):
                return value
            named: dict[str, object] = {}
            for name, member in value.items():
                field = name if name in fields or snake(name) not in fields else snake(name)
                if field in named:
                    at = f"{pointer}/{escape_pointer(name)}"
                    raise _invalid("given twice, in two spellings", pointer=at)
                named[field] = member
            return named
    return value
