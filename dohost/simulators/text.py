"""Values on their way into a binding, as JavaScript would write them as text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

from workers.values import SAFE_INTEGER_MAX, clone

from dohost.errors import JsException, JsTypeError

Options = Mapping[str, object]


def options_of(options: object, named: Options) -> Options:
    """Return the options of a call, given as one dict, as keywords, or both."""
    if isinstance(options, Mapping):
        return {**options, **named}
    return named


def well_formed(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate, which has no UTF-8 form."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def scalar_text(value: object) -> str | None:
    """Return what JavaScript's `String(value)` gives for a scalar; None for anything else."""
    match value:
        case str():
            return well_formed(value)
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if math.isfinite(value):
            return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
        case float():
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case int():
            return str(value)
        case _:
            return None


def text_of(value: object) -> str:
    """Return what JavaScript's `String(value)` gives for any value."""
    text = scalar_text(value)
    if text is not None:
        return text
    match value:
        case list():
            return ",".join("" if item is None else text_of(item) for item in value)
        case bytes() | memoryview():
            return ",".join(map(str, bytes(value)))
        case datetime():
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            moment = aware.astimezone(UTC)
            return f"{moment:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)"
        case _:
            return "[object Object]"


def json_text(value: object) -> str:
    """Return what `JSON.stringify` gives for a value that crosses a call."""
    plain = _jsonable(clone(value))
    return well_formed(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def _jsonable(value: object) -> object:
    match value:
        case dict():
            return {key: _jsonable(item) for key, item in value.items()}
        case list():
            return [_jsonable(item) for item in value]
        case datetime():
            text = value.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z")
        case memoryview():  # a typed array is an object of its indices
            return {str(index): item for index, item in enumerate(value.tobytes())}
        case float():
            return value if math.isfinite(value) else None
        case int() if not isinstance(value, bool) and abs(value) > SAFE_INTEGER_MAX:
            raise JsException("Do not know how to serialize a BigInt", name="TypeError")
        case str() | int() | None:
            return value
        case _:  # sets, errors and platform objects have no properties of their own
            return {}


def parse_json(text: str) -> object:
    """Return a JSON text as Worker code sees it. Raises: JsException, a SyntaxError."""
    try:
        value = json.loads(text, parse_int=_number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise JsException(f"{error} is not valid JSON", name="SyntaxError") from error
    return clone(value)


def _number(digits: str) -> int | float:
    nearest = float(digits)
    if not math.isfinite(nearest):
        return nearest
    # Beyond 2^53 JavaScript reads the nearest double.
    return int(digits) if abs(nearest) <= SAFE_INTEGER_MAX else int(nearest)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"Unexpected token {name}")


def whole_number(value: object) -> int:
    """Return a number as an integer parameter takes it: fractions are cut off, anything else is 0."""
    try:
        return int(value)  # type: ignore[call-overload,no-any-return]  # refused below
    except (TypeError, ValueError, OverflowError):
        return 0


def int32_of(value: object) -> int:
    """Return a number as a 32-bit parameter takes it. Raises: JsTypeError."""
    number = whole_number(value)
    if not -(2**31) <= number < 2**31:
        raise JsTypeError(
            "Value out of range. Must be between -2147483648 and 2147483647 (inclusive)."
        )
    return number


def wrong_field(field: str, holder: str, kind: str) -> JsTypeError:
    """Return the error of an option that has a wrong type; `holder` is the type of the options."""
    return JsTypeError(
        f"Incorrect type for the '{field}' field on '{holder}': the provided value is not of type "
        f"'{kind}'."
    )
