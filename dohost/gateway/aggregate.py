"""`POST /api/aggregate`: what a body asks for, and what the results look like. Pure functions.

The whole body is checked before anything runs: a fault in one call refuses all, with a JSON Pointer to
it. Results come out in request order whatever finished first; a failed one is null, and the reserved
member `errors` says why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from dohost.gateway.arguments import escape_pointer
from dohost.gateway.config_tables import AggregateConfig
from dohost.gateway.problems import Problem, problem

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# A private name is well formed too: it is answered as any method that no service exposes.
# An array index of a JSON Pointer: no leading zeros, and no more digits than any list needs.
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
METHOD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# `__proto__` and its kin are refused by the pattern; `errors` is the answer's own member.
RESULT_NAMES_REFUSED = frozenset({"errors", "constructor", "prototype"})
CALL_MEMBERS = frozenset(
    {"service", "method", "args", "as", "object", "timeoutMs", "optional", "dependsOn"}
)
BODY_MEMBERS = frozenset({"calls", "timeoutMs", "mode"})
DEPTH_MAX = 64


class AggregateCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an aggregate; `name` is its place in the answer."""

    name: str
    service: str
    method: str
    args: list[object] | dict[str, object]
    object_value: str | None
    timeout_ms: int | None
    is_optional: bool
    depends_on: tuple[str, ...]


class AggregateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A checked aggregate."""

    calls: tuple[AggregateCall, ...]
    timeout_ms: int
    mode: Literal["partial", "strict"]

    @property
    def is_independent(self) -> bool:
        """Whether no call needs another's result."""
        return not any(call.depends_on for call in self.calls)


class CallResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one call ended: JSON, or a problem."""

    call: AggregateCall
    value: bytes | None
    problem: Problem | None
    took_ms: float


class _Fault(Exception):
    def __init__(self, pointer: str, reason: str, *, slug: str = "invalid-arguments") -> None:
        self.problem = problem(
            slug,
            f"{pointer or 'The body'}: {reason}.",
            errors=[{"detail": reason, "pointer": f"#{pointer}"}],
        )


def parse_aggregate(body: object, config: AggregateConfig) -> AggregateRequest | Problem:
    """Return the calls that a decoded body asks for, or the 400 that says what is wrong where."""
    try:
        return _parse(body, config)
    except _Fault as fault:
        return fault.problem


def _parse(body: object, config: AggregateConfig) -> AggregateRequest:
    if not isinstance(body, dict):
        raise _Fault("", "must be a JSON object")
    _check_members(body, BODY_MEMBERS, "", config)
    listed = body.get("calls")
    if not isinstance(listed, list) or not listed:
        raise _Fault("/calls", "must be a list of at least one call")
    if len(listed) > config.calls_max:
        raise _Fault("/calls", f"has {len(listed)} calls; at most {config.calls_max} are allowed")
    mode = body.get("mode", "partial")
    if mode not in ("partial", "strict"):
        raise _Fault("/mode", 'must be "partial" or "strict"')
    calls = [_parse_call(each, f"/calls/{index}", config) for index, each in enumerate(listed)]
    timeout_ms = _milliseconds(body.get("timeoutMs"), "/timeoutMs") or config.timeout_ms
    calls = _settle_names(calls, config)
    _check_dependencies(calls)
    return AggregateRequest(
        calls=tuple(calls), timeout_ms=min(timeout_ms, config.timeout_ms), mode=mode
    )


def _parse_call(call: object, at: str, config: AggregateConfig) -> AggregateCall:
    if not isinstance(call, dict):
        raise _Fault(at, "must be an object")
    _check_members(call, CALL_MEMBERS, at, config)
    service = _name(call.get("service"), f"{at}/service")
    method = call.get("method")
    if not isinstance(method, str) or not METHOD_NAME.fullmatch(method):
        raise _Fault(f"{at}/method", "must be a name: letters, digits and underscores")
    name = _name(call["as"], f"{at}/as") if "as" in call else service
    if name in RESULT_NAMES_REFUSED:
        raise _Fault(f"{at}/as" if "as" in call else f"{at}/service", f"{name!r} is reserved")
    args = call.get("args", [])
    if not isinstance(args, (list, dict)):
        raise _Fault(f"{at}/args", "must be a list or an object")
    depends_on = call.get("dependsOn", [])
    if not isinstance(depends_on, list) or not all(isinstance(each, str) for each in depends_on):
        raise _Fault(f"{at}/dependsOn", "must be a list of result names")
    object_value = call.get("object")
    if object_value is not None and not (isinstance(object_value, str) and object_value):
        raise _Fault(f"{at}/object", "must be a non-empty string")
    optional = call.get("optional", False)
    if not isinstance(optional, bool):
        raise _Fault(f"{at}/optional", "must be true or false")
    needed = dict.fromkeys([*depends_on, *references(args, f"{at}/args")])
    return AggregateCall(
        name=name,
        service=service,
        method=method,
        args=args,
        object_value=object_value,
        timeout_ms=_milliseconds(call.get("timeoutMs"), f"{at}/timeoutMs"),
        is_optional=optional,
        depends_on=tuple(needed),
    )


def references(value: object, at: str, *, depth: int = 0) -> list[str]:
    """Return the result names that `{"$from": name, "path": pointer}` members of `value` need."""
    if depth > DEPTH_MAX:
        raise _Fault(at, f"is nested more than {DEPTH_MAX} deep")
    if isinstance(value, list):
        parts = [references(each, f"{at}/{i}", depth=depth + 1) for i, each in enumerate(value)]
    elif not isinstance(value, dict):
        return []
    elif "$from" in value:
        if not isinstance(value["$from"], str) or value.keys() - {"$from", "path"}:
            raise _Fault(at, 'a reference is {"$from": result name, "path": JSON Pointer}')
        path = value.get("path", "")
        if not isinstance(path, str) or (path and not path.startswith("/")):
            raise _Fault(f"{at}/path", "must be a JSON Pointer")
        return [value["$from"]]
    else:
        parts = [
            references(each, f"{at}/{escape_pointer(name)}", depth=depth + 1)
            for name, each in value.items()
        ]
    return [name for part in parts for name in part]


def resolve_references(value: object, results: Mapping[str, object]) -> object:
    """Return `value` with every reference replaced by what it points at.

    Raises: LookupError where a pointer leads nowhere.
    """
    if isinstance(value, list):
        return [resolve_references(each, results) for each in value]
    if not isinstance(value, dict):
        return value
    if "$from" in value:
        return follow(results[value["$from"]], value.get("path", ""))
    return {name: resolve_references(each, results) for name, each in value.items()}


def follow(document: object, pointer: str) -> object:
    """Return what a JSON Pointer (RFC 6901) points at. Raises: LookupError."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document[name]
        elif isinstance(document, list) and INDEX.fullmatch(name):
            document = document[int(name)]
        else:
            raise LookupError(pointer)
    return document


def _name(value: object, at: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise _Fault(at, "must be a name: a letter, then letters, digits and underscores")
    return value


def _milliseconds(value: object, at: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _Fault(at, "must be a positive number of milliseconds")
    return value


def _check_members(
    value: Mapping[str, object], known: frozenset[str], at: str, config: AggregateConfig
) -> None:
    if config.unknown_members == "refuse" and (unknown := sorted(value.keys() - known)):
        raise _Fault(f"{at}/{escape_pointer(unknown[0])}", "no such member")


def _settle_names(calls: list[AggregateCall], config: AggregateConfig) -> list[AggregateCall]:
    seen: dict[str, int] = {}
    settled: list[AggregateCall] = []
    for index, call in enumerate(calls):
        count = seen[call.name] = seen.get(call.name, 0) + 1
        if count > 1 and config.duplicates != "suffix":
            raise _Fault(
                f"/calls/{index}",
                f'another call has the result name {call.name!r}; give one of them "as"',
                slug="duplicate-result-name",
            )
        name = call.name if count == 1 else f"{call.name}_{count}"
        settled.append(msgspec.structs.replace(call, name=name))
    return settled


def _check_dependencies(calls: Sequence[AggregateCall]) -> None:
    index_of = {call.name: index for index, call in enumerate(calls)}
    waiting: dict[str, set[str]] = {}
    for index, call in enumerate(calls):
        for needed in call.depends_on:
            if needed not in index_of:
                raise _Fault(f"/calls/{index}/dependsOn", f"no call has the result name {needed!r}")
        waiting[call.name] = set(call.depends_on)
    while ready := [name for name, needs in waiting.items() if not needs]:
        for name in ready:
            del waiting[name]
        for needs in waiting.values():
            needs.difference_update(ready)
    if waiting:
        first = min(index_of[name] for name in waiting)
        raise _Fault(f"/calls/{first}/dependsOn", "the calls wait for one another in a circle")
