"""Moments: as programs give and see them, and as the simulators keep them, in ms since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from dohost.simulators.text import whole_number

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds_of(value: object) -> int:
    """Return a datetime (a naive one is UTC) or a number of ms."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        # Whole numbers: a timestamp in seconds, times 1000, may fall just below the millisecond.
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    return whole_number(value)


def http_date_ms(text: str) -> int:
    """Return a date of a header field; 0 for what is none, such as the common `Expires: 0`."""
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return milliseconds_of(parse(text))
        except ValueError:
            continue
    return 0


def date_of(time_ms: int) -> datetime:
    """Return a time as programs see it: naive, UTC."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).replace(tzinfo=None)
