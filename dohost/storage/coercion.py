"""What JavaScript makes of an argument that is not of the type an operation wants.

On Cloudflare a Python argument becomes a JavaScript value, and the runtime turns that into the type it
needs without asking: a number given as a key is its decimal text, None is "null". Programs that work there
must work here. Only values whose text nobody can want (a list, a dict, a date) are refused. Pure functions.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from workers.values import JsBigInt

from dohost.errors import JsTypeError

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1
OUT_OF_RANGE = f"Value out of range. Must be between {INT32_MIN} and {INT32_MAX} (inclusive)."
_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|Infinity)", re.ASCII)
_WHOLE = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_EXPONENT_MAX = 21
_EXPONENT_MIN = -7


def text_of(value: object, what: str) -> str:
    """Return the text that JavaScript makes of `value`, well formed; `what` names it in the error.

    Raises: JsTypeError for containers, bytes, dates and foreign objects.
    """
    if isinstance(value, str):
        return well_formed(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return number_text(value)
    raise JsTypeError(f"{what} must be a string, not {type(value).__name__}.")


def number_text(value: float) -> str:
    """Return a double as JavaScript prints it."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int), "a finite number has a numeric exponent"
    text = "".join(map(str, digits))
    point = len(text) + exponent  # where the point stands, counted from the first digit
    if text == "0":
        return "0"
    if _EXPONENT_MIN + 1 < point <= _EXPONENT_MAX:
        if point <= 0:
            written = "0." + "0" * -point + text
        elif point >= len(text):
            written = text + "0" * (point - len(text))
        else:
            written = f"{text[:point]}.{text[point:]}"
    else:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        written = f"{text[0]}{fraction}e{point - 1:+d}"
    return f"-{written}" if sign else written


def int32_of(value: object, what: str) -> int:
    """Return the 32-bit integer that JavaScript makes of `value`; no number at all is 0.

    Raises: JsTypeError out of range, for BigInts, and for containers and foreign objects.
    """
    if isinstance(value, JsBigInt):
        raise JsTypeError("Cannot convert a BigInt value to a number")
    if value is None:
        return 0
    if isinstance(value, str):
        value = _number_in(value)
    if not isinstance(value, int | float):
        raise JsTypeError(f"{what} must be a number.")
    number = int(value) if math.isfinite(value) else 0
    if not INT32_MIN <= number <= INT32_MAX:
        raise JsTypeError(OUT_OF_RANGE)
    return number


def _number_in(text: str) -> float:
    """Return the number that a text is for JavaScript."""
    text = text.strip()
    if not text:
        return 0
    if _WHOLE.fullmatch(text):
        return int(text, 0)
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def well_formed(text: str) -> str:
    """Return `text` as SQLite will hold it: UTF-8, where a lone surrogate has no form.

    Two surrogates that belong together are one character to JavaScript; the three bytes that a lone one
    would take become three replacement characters, as in workerd.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return joined.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text
