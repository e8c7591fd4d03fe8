"""The modules `time` and `datetime` as Worker code under test gets them: they read the test's clock.

Only the Worker's own modules get these, so libraries and pytest keep the real ones. What asks for the
time asks the clock; everything else (`sleep`, parsing, arithmetic) is the real thing. A `datetime` made
here is a plain `datetime.datetime`, whatever name it was made by.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from types import ModuleType

from dohost.clock import Clock


def worker_modules(clock: Clock) -> dict[str, ModuleType]:
    """Return what stands in for the modules that know the time, by name."""
    return {"time": _time_module(clock), "datetime": _datetime_module(clock)}


def _time_module(clock: Clock) -> ModuleType:
    module = ModuleType("time", time.__doc__)
    vars(module).update(
        {name: value for name, value in vars(time).items() if not name.startswith("__")},
        time=lambda: clock.realtime_ns() / 1e9,
        time_ns=clock.realtime_ns,
        monotonic=clock.monotonic,
        monotonic_ns=lambda: round(clock.monotonic() * 1e9),
    )
    return module


def _datetime_module(clock: Clock) -> ModuleType:
    module = ModuleType("datetime", datetime.__doc__)
    vars(module).update(
        {name: value for name, value in vars(datetime).items() if not name.startswith("__")},
        datetime=_datetime_class(clock),
        date=_date_class(clock),
    )
    return module


class _StandsFor(type):
    """Makes `isinstance(x, fake)` mean `isinstance(x, real)`; the real class is the fake's base."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__mro__[1])


def _datetime_class(clock: Clock) -> type:
    def now(zone: datetime.tzinfo | None) -> datetime.datetime:
        seconds, rest_ns = divmod(clock.realtime_ns(), 1_000_000_000)
        moment = datetime.datetime.fromtimestamp(seconds, zone)
        return moment.replace(microsecond=rest_ns // 1000)

    class Moment(datetime.datetime, metaclass=_StandsFor):
        def __new__(cls, *args: object, **named: object) -> datetime.datetime:  # type: ignore[misc] # meant
            return datetime.datetime(*args, **named)  # type: ignore[arg-type] # the same ones

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override] # as above
            return now(tz)

        @classmethod
        def utcnow(cls) -> datetime.datetime:  # type: ignore[override] # as above
            return now(datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> datetime.datetime:  # type: ignore[override] # as above
            return now(None)

        @classmethod
        def __get_pydantic_core_schema__(
            cls, source: object, handler: Callable[[type], object]
        ) -> object:
            # A model's annotation names this class; its values are the real one's.
            return handler(datetime.datetime)

    return _named(Moment, "datetime")


def _date_class(clock: Clock) -> type:
    class Day(datetime.date, metaclass=_StandsFor):
        def __new__(cls, *args: object, **named: object) -> datetime.date:  # type: ignore[misc] # meant
            return datetime.date(*args, **named)  # type: ignore[arg-type] # the same ones

        @classmethod
        def today(cls) -> datetime.date:  # type: ignore[override] # as above
            return datetime.date.fromtimestamp(clock.realtime_ns() // 1_000_000_000)

        @classmethod
        def __get_pydantic_core_schema__(
            cls, source: object, handler: Callable[[type], object]
        ) -> object:
            return handler(datetime.date)

    return _named(Day, "date")


def _named(cls: type, name: str) -> type:
    cls.__name__ = cls.__qualname__ = name
    cls.__module__ = "datetime"
    return cls
