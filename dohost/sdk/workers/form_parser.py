"""Forms as they come in: multipart (RFC 7578) and urlencoded.

What two parsers could read as two different forms is refused: lines in a part's header that are no fields,
line ends inside of a value, a quote that is never closed, what is no `form-data`. Else the rules are
workerd's, so that a program finds the same fields there: lines may end in LF alone, and of two equal
parameters of a Content-Type, or fields of a part, the first counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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
_line_end = re.compile(rb"[ \t]*\r?\n").match
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
            for head, content in _split_parts(body, boundary.encode()):
                _add_part(form, head, content)
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


def _split_parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the header and the content of each part.

    Whatever comes before the first delimiter (the preamble) and after the last one is ignored.
    """
    delimiter = b"\n--" + boundary
    # The first delimiter needs no line before it.
    _, found, rest = body.partition(delimiter[1:])
    at, count = len(body) - len(rest), 0
    while not (found and body.startswith(b"--", at)):
        count += 1
        _require_few(count)
        line = _line_end(body, at)
        blank = None if line is None else _blank_line(body, line.end())
        end = -1 if blank is None else body.find(delimiter, blank.end())
        if line is None or blank is None or end < 0:
            raise JsTypeError("The multipart/form-data body is malformed or ends too early.")
        yield body[line.end() : blank.start()], body[blank.end() : end].removesuffix(b"\r")
        at = end + len(delimiter)


def _add_part(form: FormData, head: bytes, content: bytes) -> None:
    fields = _part_fields(head)
    parameters = _disposition_parameters(fields.get("content-disposition", ""))
    if "name" not in parameters:
        raise JsTypeError("A part of the multipart/form-data body has no name.")
    name = _unescape(parameters["name"])
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
