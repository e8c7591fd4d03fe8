"""A minute of mixed load leaves nothing behind, and a leak would be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.soak import slope, soak

# A minute is short: the allocator is still filling its arenas, and one reload more or less counts.
SLOPE_MAX = 12.0
WARM_UP_MIN = 0.35
KINDS = {"requests", "messages", "alarms", "failures", "reloads", "hostile connections"}


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    noise = (0.0, 0.7, -0.7, 0.3, -0.3, 0.0)
    points = [(second * 10.0, 100 + second + noise[second] * 1e-6) for second in range(6)]
    assert slope(points) == pytest.approx(6.0, abs=1e-5)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_minute_of_mixed_load_leaves_nothing_behind(tmp_path: Path) -> None:
    found = soak(tmp_path, minutes=1.0, warm_up=WARM_UP_MIN)
    print(f"\n{found.lines()}")
    assert not found.wrong
    assert set(found.done) >= KINDS
    assert found.slope_mib_per_min < SLOPE_MAX
    # Only what failed as it was asked to is logged: twice a round, at most.
    assert found.log_entries <= 2 * found.done["failures"]


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_leak_of_six_kilobytes_a_request_is_seen(tmp_path: Path) -> None:
    found = soak(tmp_path, minutes=0.3, warm_up=WARM_UP_MIN, is_leaking=True)
    print(f"\n{found.lines()}")
    assert found.slope_mib_per_min > 2 * SLOPE_MAX
