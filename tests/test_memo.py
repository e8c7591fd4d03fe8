"""The memo: bounded, and what is in use stays."""

from __future__ import annotations

import pytest

from dohost.memo import Memo


def test_a_value_is_made_once() -> None:
    memo: Memo[int] = Memo(entries_max=4)
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return 7

    assert [memo.get_or_make("a", make) for _ in range(3)] == [7, 7, 7]
    assert made == [1]
    assert memo.get("a") == 7
    assert memo.get("b") is None


def test_what_make_raises_is_not_kept() -> None:
    memo: Memo[int] = Memo(entries_max=4)
    with pytest.raises(ZeroDivisionError):
        memo.get_or_make("a", lambda: 1 // 0)
    assert memo.get_or_make("a", lambda: 1) == 1


def test_it_is_bounded_and_keeps_what_is_in_use() -> None:
    memo: Memo[int] = Memo(entries_max=10)
    memo.put("hot", 1)
    for number in range(1_000):
        memo.put(number, number)
        assert memo.get("hot") == 1
        assert len(memo) <= 10
    assert memo.get(0) is None
    memo.clear()
    assert len(memo) == 0
    assert memo.get("hot") is None
