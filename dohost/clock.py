"""Time and chance, injected everywhere.

`monotonic()` measures durations, `thread_cpu()` work; `realtime_ns()` makes promises that outlive the
process (alarms, JWT `exp`, cache dates). No other file imports `time`, `random`, `secrets` or `uuid`, so a test that
passes a `ManualClock` and a `SeededEntropy` is a deterministic program.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """Where every duration and date comes from."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
        ...

    def realtime_ns(self) -> int:
        """Return nanoseconds since the Unix epoch; it may jump, also backwards."""
        ...

    def thread_cpu(self) -> float:
        """Return the seconds of processor time that the calling thread has used."""
        ...

    def cpu_of(self, thread_id: int) -> Callable[[], float]:
        """Return what tells, in any thread, the processor time of the one with this identifier."""
        ...


class Entropy(Protocol):
    """Where every random value comes from."""

    def token(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""
        ...

    def bits(self, count: int) -> int:
        """Return `count` random bits as a number: for ids that must be unique, not secret."""
        ...

    def uniform(self) -> float:
        """Return a float in [0, 1)."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    realtime_ns = staticmethod(time.time_ns)
    thread_cpu = staticmethod(time.thread_time)

    @staticmethod
    def cpu_of(thread_id: int) -> Callable[[], float]:
        if not hasattr(
            time, "pthread_getcpuclockid"
        ):  # macOS: that of the process is the next best
            return time.process_time
        return partial(time.clock_gettime, time.pthread_getcpuclockid(thread_id))


class ManualClock:
    """A clock that stands still until `advance` is called."""

    def __init__(self, *, realtime_ns: int = 1_790_000_000_000_000_000) -> None:
        self._monotonic = 1_000.0
        self._realtime_ns = realtime_ns
        self._cpu_s = 0.0

    def monotonic(self) -> float:
        return self._monotonic

    def realtime_ns(self) -> int:
        return self._realtime_ns

    def thread_cpu(self) -> float:
        return self._cpu_s

    def cpu_of(self, thread_id: int) -> Callable[[], float]:
        return self.thread_cpu

    def compute(self, seconds: float) -> None:
        """Let the caller have used `seconds` of processor time; no other clock moves."""
        self._cpu_s += seconds

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._monotonic += seconds
        self._realtime_ns += round(seconds * 1e9)

    def jump(self, seconds: float) -> None:
        """Step the wall clock alone, as an operator or NTP does; may be negative."""
        self._realtime_ns += round(seconds * 1e9)


class SystemEntropy:
    """The operating system's randomness."""

    __slots__ = ()

    token = staticmethod(secrets.token_bytes)
    # No system call: a request's ids cost as much as a whole stage otherwise.
    bits = staticmethod(random.getrandbits)
    uniform = staticmethod(random.random)


class SeededEntropy:
    """Reproducible randomness for tests and simulations; never for secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def uniform(self) -> float:
        return self._random.random()


@contextlib.contextmanager
def system_sources(clock: Clock, entropy: Entropy) -> Iterator[None]:
    """Let every `SystemClock` and `SystemEntropy` of this process read `clock` and `entropy`.

    For tests of whole programs, whose classes name the system's sources: they obey the test's, too.
    """
    sources: list[tuple[type, str, object]] = [
        (SystemClock, "monotonic", staticmethod(clock.monotonic)),
        (SystemClock, "realtime_ns", staticmethod(clock.realtime_ns)),
        (SystemEntropy, "token", staticmethod(entropy.token)),
        (SystemEntropy, "uniform", staticmethod(entropy.uniform)),
    ]
    with contextlib.ExitStack() as undo:
        for cls, name, source in sources:
            undo.callback(setattr, cls, name, vars(cls)[name])
            setattr(cls, name, source)
        yield


_BITS_62 = (1 << 62) - 1


def uuid7(clock: Clock, entropy: Entropy) -> str:
    """Return a UUID version 7 (RFC 9562 §5.7): sorts by the millisecond it was made in."""
    millis = clock.realtime_ns() // 1_000_000
    bits = entropy.bits(74)
    digits = f"{millis << 80 | 7 << 76 | bits >> 62 << 64 | 2 << 62 | bits & _BITS_62:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
