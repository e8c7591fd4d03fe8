"""Where composition puts what it finds: errors stop it, hints don't."""

from __future__ import annotations

from dohost.federation.contract import CompositionError, CompositionHint


class Report:
    """Errors and hints of one composition, in the order of finding."""

    def __init__(self) -> None:
        self.errors: list[CompositionError] = []
        self.hints: list[CompositionHint] = []

    def error(self, code: str, message: str, *nodes: str) -> None:
        """Record one error."""
        self.errors.append(CompositionError(code=code, message=message, nodes=nodes))

    def info(self, code: str, message: str) -> None:
        """Record a hint of level INFO."""
        self.hints.append(CompositionHint(code=code, level="INFO", message=message))

    def warn(self, code: str, message: str) -> None:
        """Record a hint of level WARN."""
        self.hints.append(CompositionHint(code=code, level="WARN", message=message))

    def debug(self, code: str, message: str) -> None:
        """Record a hint of level DEBUG."""
        self.hints.append(CompositionHint(code=code, level="DEBUG", message=message))
