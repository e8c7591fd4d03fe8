"""What crosses between a service object and its callers: `{"ok": JSON bytes}` or `{"problem": …}`.

Results are encoded once, in the service, and go into answers unparsed. A reply also carries what
caches need: the tags of a cacheable result, or the tags that a write invalidates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from dohost.gateway.cache_groups import plain_tag
from dohost.gateway.expose import Exposure
from dohost.gateway.service_error import ServiceProblem, service_error

TAG_MEMBER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _encode_foreign(value: object) -> object:
    # Integers beyond 2^53 come out of storage and calls as a subclass of int.
    if isinstance(value, int):
        return int(value)
    raise TypeError(f"An exposed method can't return {type(value).__qualname__}: not JSON.")


_encoder = msgspec.json.Encoder(enc_hook=_encode_foreign)
encode_result = _encoder.encode


def ok_reply(
    exposure: Exposure, arguments: Mapping[str, object], result: object
) -> dict[str, object]:
    """Return the reply for a result, with the cache's facts where the method declares any."""
    reply: dict[str, object] = {"ok": encode_result(result)}
    if exposure.cache_ttl_s is not None:
        reply["ttl_s"] = exposure.cache_ttl_s
        reply["tags"] = render_tags(exposure.tags, arguments, result)
    if exposure.invalidates:
        reply["invalidates"] = render_tags(exposure.invalidates, arguments, result)
    return reply


def problem_reply(problem: ServiceProblem) -> dict[str, object]:
    """Return the reply for a deliberate failure."""
    return {"problem": msgspec.to_builtins(problem)}


def render_tags(
    templates: tuple[str, ...], arguments: Mapping[str, object], result: object
) -> list[str]:
    """Return the tags that can be filled in; one that names nothing known is left out."""
    rendered = (_render(template, arguments, result) for template in templates)
    return [plain_tag(tag) for tag in rendered if tag is not None]


def _render(template: str, arguments: Mapping[str, object], result: object) -> str | None:
    values = {name: _member(name, arguments, result) for name in TAG_MEMBER.findall(template)}
    if None in values.values():
        return None
    return TAG_MEMBER.sub(lambda match: str(values[match[1]]), template)


def _member(name: str, arguments: Mapping[str, object], result: object) -> object:
    """Find `name` among the arguments, then in the members of each, then in the result."""
    if name in arguments:
        return arguments[name]
    for holder in (*arguments.values(), result):
        if isinstance(holder, Mapping) and name in holder:
            return holder[name]
        if isinstance(holder, msgspec.Struct) and name in holder.__struct_fields__:
            value: object = getattr(holder, name)
            return value
    return None


def result_of(reply: object) -> bytes:
    """Return the JSON of a reply's result.

    Raises: ServiceError for a reply that tells a problem; TypeError for what is no reply at all.
    """
    if isinstance(reply, Mapping):
        if "ok" in reply:
            return bytes(reply["ok"])
        if isinstance(problem := reply.get("problem"), Mapping):
            raise service_error(problem)
    raise TypeError(f"A service replied with {type(reply).__qualname__}, not with a reply.")
