"""The arguments of one call: copies of each, and one bound on all."""

from __future__ import annotations

import pytest
from workers.arguments import FLAT_VALUES_MAX, MEASURED_BYTES_MAX, SCALARS_MAX, clone_all
from workers.values import CLONE_BYTES_MAX, FLAT_ENTRIES_MAX, FLAT_TEXT_MAX, JsDict, clone_sized

from dohost.errors import JsException


def test_the_arguments_of_a_call_are_limited_together() -> None:
    half = CLONE_BYTES_MAX // 2
    assert clone_all(("x" * (half - 3), b"x" * (half - 4)))[0] == "x" * (half - 3)
    with pytest.raises(JsException) as caught:
        clone_all(("x" * (half - 3), b"x" * (half - 3)))
    assert f"the size of this value was: {CLONE_BYTES_MAX + 1} bytes." in str(caught.value)
    # What is too small to be measured alone still counts.
    with pytest.raises(JsException, match="33554433 bytes"):
        clone_all(("x" * (CLONE_BYTES_MAX - 3), True))


@pytest.mark.parametrize("small", ["é" * FLAT_TEXT_MAX, {"n": "é" * FLAT_TEXT_MAX}])
def test_many_small_arguments_are_measured_together(small: object) -> None:
    count = CLONE_BYTES_MAX // (2 * FLAT_TEXT_MAX)
    assert len(clone_all((small,) * (count - 1))) == count - 1
    with pytest.raises(JsException, match="32MiB"):
        clone_all((small,) * count)


def test_arguments_are_copied_each_on_its_own() -> None:
    shared, nested = {"a": 1}, [1]
    first, second, third, fourth = clone_all((shared, shared, nested, nested))
    assert first == second == shared
    assert isinstance(first, JsDict)
    assert first is not second
    assert third == fourth == nested
    assert third is not fourth


def test_what_is_never_measured_stays_under_the_bound() -> None:
    widest = "é" * FLAT_TEXT_MAX
    flat = {f"{n:03}"[:3] + "é" * (FLAT_TEXT_MAX - 3): widest for n in range(FLAT_ENTRIES_MAX)}
    assert SCALARS_MAX * clone_sized(widest)[1] < CLONE_BYTES_MAX
    assert FLAT_VALUES_MAX * clone_sized(flat)[1] + MEASURED_BYTES_MAX < CLONE_BYTES_MAX
