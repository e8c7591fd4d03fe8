"""Forms as they come in: multipart (RFC 7578) and urlencoded.

What two parsers could read as two different forms is refused: lines in a part's header that are no fields,
line ends inside of a value, a quote that is never closed, what is no `form-data`. Else the rules are
workerd's, so that a program finds the same fields there: lines may end in LF alone, and of two equal
parameters of a Content-Type, or fields of a part, the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from dohost.errors import JsTypeError
from workers.blob import File
from workers.formdata import FormData

_FIELDS_MAX = 10_000
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_is_token = re.compile(_TOKEN).fullmatch
# A parameter of a MIME type as browsers read it; what follows a closing quote is left out.
_mime_parameters = re.compile(
    r""";[ \t\r\n]*([^;=]*)(?:=(?:"((?:[^"\\]|\\.)*)"?[^;]*|([^;]*)))?""", re.DOTALL
).finditer
_field = re.compile(rf"({_TOKEN}):[ \t]*([^\r]*)").fullmatch
_blank_line = re.compile(rb"\r?\n\r?\n").search
_disposition = re.compile(r"[ \t]*form-data", re.IGNORECASE).match
# No backslash escapes: browsers send none, and a name may end in a backslash.
_parameter = re.compile(
    rf"""[ \t]*;[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:"([^"]*)"|([^\s";]*)))?[ \t]*"""
).match


def parse_form(body: bytes, content_type: str) -> FormData:
    """Parse an urlencoded or multipart form.

    Raises: JsTypeError for another content type, a malformed body or more than 10,000 fields.
    """
    kind, _, _ = content_type.partition(";")
    form = FormData()
    match kind.strip().lower():
        case "application/x-www-form-urlencoded":
            text = body.decode("utf-8", "replace")
            _require_few(text.count("&") + 1)
            for name, value in parse_qsl(text, keep_blank_values=True):
                form.append(name, value)
        case "multipart/form-data":
            boundary = mime_parameters(content_type).get("boundary")
            if boundary is None:
                raise JsTypeError("No boundary in the Content-Type of a multipart/form-data body.")
            for part in _split_parts(body, boundary.encode()):
                _add_part(form, part)
        case _:
            raise JsTypeError(
                f"Unrecognized Content-Type header value: {content_type!r}; a form is "
                "multipart/form-data or application/x-www-form-urlencoded."
            )
    return form


def mime_parameters(field: str) -> dict[str, str]:
    """Return the parameters of a Content-Type, names in lower case, empty values left out."""
    found: dict[str, str] = {}
    for parameter in _mime_parameters(field):
        name, quoted, plain = parameter.groups()
        value = re.sub(r"\\(.)", r"\1", quoted) if quoted else (plain or "").rstrip(" \t\r\n")
        if value and _is_token(name):
            found.setdefault(name.lower(), value)
    return found


def _split_parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Return the parts between the delimiters, each with its header."""
    delimiter = b"\n--" + boundary
    # Whatever comes before the first delimiter (the preamble) and after the last one is ignored.
    _, has_any, rest = body.partition(delimiter[1:])
    pieces = rest.split(delimiter, _FIELDS_MAX + 1) if has_any else []
    _require_few(len(pieces) - 1)
    parts: list[bytes] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return parts
        line, end, part = piece.partition(b"\n")
        if not end or line.removesuffix(b"\r").strip(b" \t"):
            break
        parts.append(part.removesuffix(b"\r"))
    raise JsTypeError("The multipart/form-data body is malformed or ends too early.")


def _add_part(form: FormData, part: bytes) -> None:
    blank = _blank_line(part)
    fields = {} if blank is None else _part_fields(part[: blank.start()])
    parameters = _disposition_parameters(fields.get("content-disposition", ""))
    if blank is None or "name" not in parameters:
        raise JsTypeError("A part of the multipart/form-data body has no name.")
    name, content = _unescape(parameters["name"]), part[blank.end() :]
    # A file input without a file sends an empty name.
    if parameters.get("filename"):
        kind = fields.get("content-type", "")
        form.append(name, File([content], _unescape(parameters["filename"]), kind))
    else:
        form.append(name, content.decode("utf-8", "replace"))


def _part_fields(head: bytes) -> Mapping[str, str]:
    """Return the header fields of a part, names in lower case."""
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\n"):
        field = _field(line.removesuffix("\r"))
        if field is None:
            raise JsTypeError("A part of the multipart/form-data body has invalid headers.")
        fields.setdefault(field[1].lower(), field[2].rstrip(" \t"))
    return fields


def _disposition_parameters(text: str) -> Mapping[str, str]:
    """Return the parameters of a Content-Disposition; none if it is malformed or no form-data."""
    start = _disposition(text)
    found: dict[str, str] = {}
    at = len(text) + 1 if start is None else start.end()
    while at < len(text):
        parameter = _parameter(text, at)
        if parameter is None:
            return {}
        name, quoted, plain = parameter.groups()
        if name is not None:
            found[name.lower()] = plain if quoted is None else quoted
        at = parameter.end()
    return found


def _unescape(name: str) -> str:
    return name.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


def _require_few(count: int) -> None:
    if count > _FIELDS_MAX:
        raise JsTypeError(f"A form may have {_FIELDS_MAX} fields; this one has {count} or more.")
