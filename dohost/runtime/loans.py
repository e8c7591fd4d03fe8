"""Loans: the stubs that one call was given, and when they end.

They end with the call, when its outcome has been copied (which may pass them on). What the callee
duplicated is its own: in an object for as long as it likes, in a worker until the event ends, which is
when the call is over, everything that its result exported has ended and its background work is done.
"""

from __future__ import annotations

from typing import Protocol

from dohost.runtime.origin import OnReset, Release
from dohost.runtime.turns import Sink


class Disposable(Protocol):
    """A stub, as a loan sees it."""

    def dispose(self) -> None: ...


class Loan:
    """The stubs that one call was given. In a worker, also their duplicates end with its event."""

    __slots__ = ("_dups", "_holds", "_is_worker", "_stubs")

    def __init__(self, *, is_worker: bool) -> None:
        self._stubs: list[Disposable] = []
        self._dups: list[Disposable] = []
        self._is_worker = is_worker
        self._holds = 1

    def lend(self, stub: Disposable) -> None:
        """Count `stub` among what ends with the call."""
        self._stubs.append(stub)

    def duplicated(self, stub: Disposable) -> None:
        """Note a duplicate that the callee made."""
        if self._is_worker:
            self._dups.append(stub)

    def hold(self, on_reset: OnReset | None = None) -> Release:
        """Keep the worker's event: it has promised something beyond its result."""
        self._holds += 1
        return self._let_go

    def until(self, sink: Sink) -> Sink:
        """Return a sink that ends the loan when the outcome has been copied to `sink`."""
        return _LoanSink(sink, self)

    def end(self) -> None:
        """The call is over."""
        for stub in self._stubs:
            stub.dispose()
        self._let_go()

    def _let_go(self) -> None:
        self._holds -= 1
        if self._holds == 0:
            for stub in self._dups:
                stub.dispose()


class _LoanSink:
    __slots__ = ("_loan", "_sink")

    def __init__(self, sink: Sink, loan: Loan) -> None:
        self._sink = sink
        self._loan = loan

    def returned(self, value: object) -> None:
        self._sink.returned(value)
        self._loan.end()

    def raised(self, error: BaseException) -> None:
        self._sink.raised(error)
        self._loan.end()
