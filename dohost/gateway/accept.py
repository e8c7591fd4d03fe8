"""`Accept` (RFC 9110 §12.5.1): which of the media types on offer a client likes best, or names at all."""

from __future__ import annotations

from collections.abc import Sequence


def negotiate(accept: str | None, offered: Sequence[str]) -> str | None:
    """Return the offered media type that `Accept` likes best, or None if it likes none.

    A type that is asked for by name beats one that a wildcard lets in; of equals the first offered wins.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_range(text) for text in accept.split(",") if text.strip()]
    best: str | None = None
    best_rank = (0.0, -1)
    for media_type in offered:
        rank = _rank(media_type, ranges)
        if rank[0] > 0 and rank > best_rank:
            best, best_rank = media_type, rank
    return best


def names(accept: str, media_type: str) -> bool:
    """Tell whether `Accept` asks for a media type by its name, and not only to say no (`;q=0`)."""
    if media_type not in accept.lower():
        return False
    ranges = map(_range, accept.split(","))
    return any(name == media_type and weight > 0 for name, weight in ranges)


def wanted(accept: str) -> list[str]:
    """Return the ranges of `Accept` with their parameters, but for those that say no (`;q=0`)."""
    return [text for text in accept.split(",") if _range(text)[1] > 0]


def _range(text: str) -> tuple[str, float]:
    """Return one media range in lower case with its weight; a malformed weight counts as 1."""
    name, *parameters = text.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.strip().partition("=")
        if key.lower() == "q":
            try:
                weight = min(1.0, max(0.0, float(value)))
            except ValueError:
                weight = 1.0
    return name.strip().lower(), weight


def _rank(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """Return the weight of a media type and how exactly it is asked for."""
    family = media_type.partition("/")[0]
    forms = ("*/*", f"{family}/*", media_type)
    matching = [(forms.index(name), weight) for name, weight in ranges if name in forms]
    if not matching:
        return 0.0, -1
    exactness = max(exactness for exactness, _ in matching)
    return max(weight for each, weight in matching if each == exactness), exactness
