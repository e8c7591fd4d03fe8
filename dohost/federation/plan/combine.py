"""Choosing one path per leaf so that all of them together cost least.

Leaves without a choice come first; every other leaf then takes the candidate that adds least to the tree
chosen so far, and a few rounds of second thoughts let early choices follow later ones. The bound on rounds
bounds the work; a worse plan is possible in theory, a wrong one is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dohost.federation.plan.walk import Path, weight

_ROUNDS_MAX = 3


def combine(leaves: Sequence[Sequence[Path]]) -> list[Path]:
    """Return one path for each leaf, in the order of the leaves."""
    order = sorted(range(len(leaves)), key=lambda index: len(leaves[index]))
    closures: dict[Path, frozenset[Path]] = {}
    tree: Counter[Path] = Counter()
    chosen: dict[int, Path] = {}
    for _ in range(_ROUNDS_MAX):
        before = dict(chosen)
        for index in order:
            if index in chosen:
                if len(leaves[index]) == 1:
                    continue
                tree.subtract(closure(chosen[index], closures))
            best = min(leaves[index], key=lambda path: _added(path, tree, closures))
            chosen[index] = best
            tree.update(closure(best, closures))
        if chosen == before:
            break
    return [chosen[index] for index in range(len(leaves))]


def _added(
    path: Path, tree: Counter[Path], closures: dict[Path, frozenset[Path]]
) -> tuple[int, int]:
    new = sum(weight(part.segment) for part in closure(path, closures) if tree[part] <= 0)
    return new, path.cost


def closure(path: Path, known: dict[Path, frozenset[Path]]) -> frozenset[Path]:
    """Return every segment that a path stands on, requirements included."""
    found = known.get(path)
    if found is None:
        parts = {path}
        if path.parent is not None:
            parts |= closure(path.parent, known)
        for requirement in path.requirements:
            parts |= closure(requirement, known)
        found = known[path] = frozenset(parts)
    return found
