"""Cron expressions as Cloudflare reads them: when the next minute is that matches.

Five fields in UTC: minute, hour, day of the month, month, day of the week. `*`, lists, ranges and steps
everywhere; names of months and days; days of the week count from Sunday = 1; `L` (last), `W` (the weekday
nearest to a day) and `#` (the n-th weekday of a month) where they make sense. If both day fields say
something, a day that either of them means is meant.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import msgspec

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Far enough for the 29th of February that is a Monday.
DAYS_SEARCHED_MAX = 366 * 40

DayRule = Callable[[date], bool]


class CronError(ValueError):
    """A text is no cron expression; the message says why."""


class Cron(msgspec.Struct, frozen=True):
    """A parsed expression."""

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    days: tuple[DayRule, ...]

    def next_after(self, moment_s: float) -> int | None:
        """Return the first matching minute after `moment_s` (seconds since the epoch); None if never."""
        start = datetime.fromtimestamp(moment_s // 60 * 60 + 60, UTC)
        for offset in range(DAYS_SEARCHED_MAX):
            day = start.date() + timedelta(days=offset)
            if day.month not in self.months or not any(rule(day) for rule in self.days):
                continue
            for moment in self._moments(day):
                if moment >= start:
                    return int(moment.timestamp())
        return None

    def _moments(self, day: date) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def parse_cron(text: str) -> Cron:
    """Parse an expression. Raises: CronError."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise CronError(f'"{text}" has {len(fields)} fields instead of five')
    minute, hour, month_day, month, week_day = fields
    try:
        return Cron(
            text,
            tuple(sorted(_numbers(minute, 0, 59))),
            tuple(sorted(_numbers(hour, 0, 23))),
            frozenset(_numbers(month, 1, 12, MONTHS)),
            _day_rules(month_day, week_day),
        )
    except ValueError as error:
        raise CronError(f'"{text}" is no cron expression: {error}') from error


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """Return the numbers that a field means. Raises: ValueError."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if slash else 1
        if step < 1:
            raise ValueError(f"a step of {step}")
        if span == "*":
            first, last = low, high
        else:
            first_text, dash, last_text = span.partition("-")
            first = _number(first_text, low, high, names)
            last = _number(last_text, low, high, names) if dash else high if slash else first
        if first > last:
            raise ValueError(f"{span} runs backwards")
        found.update(range(first, last + 1, step))
    return found


def _number(text: str, low: int, high: int, names: tuple[str, ...]) -> int:
    value = names.index(text) + low if text in names else int(text)
    if not low <= value <= high:
        raise ValueError(f"{text} is not from {low} to {high}")
    return value


def _day_rules(month_day: str, week_day: str) -> tuple[DayRule, ...]:
    rules: list[DayRule] = []
    if month_day not in ("*", "?"):
        rules += [_month_day_rule(part) for part in month_day.split(",")]
    if week_day not in ("*", "?"):
        rules += [_week_day_rule(part) for part in week_day.split(",")]
    return tuple(rules) or ((lambda day: True),)


def _month_day_rule(part: str) -> DayRule:
    if part == "l":
        return lambda day: day.day == _days_in_month(day)
    if part in ("lw", "wl"):
        return lambda day: day == _nearest_weekday(day.replace(day=_days_in_month(day)))
    if part.endswith("w"):
        wanted = _number(part[:-1], 1, 31, ())
        return lambda day: (
            wanted <= _days_in_month(day) and day == _nearest_weekday(day.replace(day=wanted))
        )
    numbers = _numbers(part, 1, 31)
    return lambda day: day.day in numbers


def _week_day_rule(part: str) -> DayRule:
    name, hash_sign, nth_text = part.partition("#")
    if hash_sign:
        weekday, nth = _number(name, 1, 7, WEEKDAYS), _number(nth_text, 1, 5, ())
        return lambda day: _weekday(day) == weekday and (day.day - 1) // 7 + 1 == nth
    if part == "l":
        return lambda day: _weekday(day) == 7
    if part.endswith("l"):
        weekday = _number(part[:-1], 1, 7, WEEKDAYS)
        return lambda day: _weekday(day) == weekday and day.day + 7 > _days_in_month(day)
    numbers = _numbers(part, 1, 7, WEEKDAYS)
    return lambda day: _weekday(day) in numbers


def _weekday(day: date) -> int:
    return day.isoweekday() % 7 + 1


def _days_in_month(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_weekday(day: date) -> date:
    """Return the weekday nearest to `day` in the same month."""
    match day.isoweekday():
        case 6:
            shift = -1 if day.day > 1 else 2
        case 7:
            shift = 1 if day.day < _days_in_month(day) else -2
        case _:
            shift = 0
    return day + timedelta(days=shift)
