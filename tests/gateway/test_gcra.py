"""The arithmetic of 5.1, number by number, and its law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dohost.gateway import gcra

FREE = {"interval": 600_000_000, "burst": 10}


@pytest.mark.parametrize(
    ("rpm", "interval"),
    [(100, 600_000_000), (1_000, 60_000_000), (10_000, 6_000_000), (100_000, 600_000)],
)
def test_the_tiers_divide_a_minute_exactly(rpm: int, interval: int) -> None:
    assert gcra.interval_of(rpm) == interval
    assert interval * rpm == gcra.MINUTE_NS


def test_a_rate_that_does_not_divide_a_minute_is_rounded_to_the_strict_side() -> None:
    assert gcra.interval_of(7) * 7 >= gcra.MINUTE_NS


def test_a_full_bucket_owes_nothing_and_expects_nothing() -> None:
    assert gcra.debt_of(5, 10, **FREE) == 0
    assert gcra.remaining(0, **FREE) == 10
    assert gcra.next_unit(0, FREE["burst"], **FREE) == 0


def test_an_empty_bucket_gives_the_next_token_after_one_interval() -> None:
    debt = 10 * FREE["interval"]
    assert gcra.remaining(debt, **FREE) == 0
    assert gcra.next_unit(debt, gcra.remaining(debt, **FREE), **FREE) == 600_000_000
    assert gcra.retry_after(debt, 1, **FREE) == 600_000_000
    assert gcra.retry_after(debt, 3, **FREE) == 1_800_000_000


def test_a_debt_in_the_far_future_is_at_most_the_capacity() -> None:
    assert gcra.debt_of(10**18, 0, **FREE) == 6_000_000_000


def test_an_upgrade_keeps_tokens_not_time() -> None:
    assert gcra.converted(6_000_000_000, old=600_000_000, new=6_000_000, burst=200) == 60_000_000


def test_a_downgrade_never_owes_more_than_the_new_bucket_holds() -> None:
    assert gcra.converted(1_200_000_000, old=6_000_000, new=600_000_000, burst=10) == 6_000_000_000


@given(debt=st.integers(0, 6_000_000_000))
def test_next_unit_is_exactly_when_one_more_is_there(debt: int) -> None:
    left = gcra.remaining(debt, **FREE)
    wait = gcra.next_unit(debt, left, **FREE)
    if left < 10:
        assert wait >= 1
        assert gcra.remaining(debt - wait, **FREE) == left + 1
        assert gcra.remaining(debt - wait + 1, **FREE) == left


@given(debt=st.integers(0, 6_000_000_000), cost=st.integers(1, 10))
def test_retry_after_is_the_first_instant_at_which_the_cost_fits(debt: int, cost: int) -> None:
    wait = gcra.retry_after(debt, cost, **FREE)
    assert gcra.remaining(max(0, debt - wait), **FREE) >= cost
    if wait:
        assert gcra.remaining(debt - wait + 1, **FREE) < cost
