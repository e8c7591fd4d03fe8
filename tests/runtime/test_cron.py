"""Cron expressions: which minute is next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dohost.runtime.cron import CronError, parse_cron


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2026-01-01 00:00", "2026-01-01 00:01"),
        ("*/15 * * * *", "2026-01-01 00:14", "2026-01-01 00:15"),
        ("5/20 * * * *", "2026-01-01 00:26", "2026-01-01 00:45"),
        ("0 9-17 * * MON-FRI", "2026-01-02 17:00", "2026-01-05 09:00"),
        ("30 6 1,15 * *", "2026-01-01 06:30", "2026-01-15 06:30"),
        ("0 0 1 jan *", "2026-01-01 00:00", "2027-01-01 00:00"),
        ("0 0 * * 1", "2026-01-01 00:00", "2026-01-04 00:00"),  # 1 is Sunday
        ("0 0 L * *", "2026-02-01 00:00", "2026-02-28 00:00"),
        ("0 0 LW * *", "2026-05-01 00:00", "2026-05-29 00:00"),
        ("0 0 15W * *", "2026-08-01 00:00", "2026-08-14 00:00"),  # the 15th is a Saturday
        ("0 0 1W * *", "2026-07-31 00:00", "2026-08-03 00:00"),  # not back into July
        ("0 0 * * FRI#2", "2026-01-01 00:00", "2026-01-09 00:00"),
        ("0 0 * * FRIL", "2026-01-01 00:00", "2026-01-30 00:00"),
        ("0 0 13 * FRI", "2026-01-01 00:00", "2026-01-02 00:00"),  # either of both
        ("0 0 29 2 ?", "2026-01-01 00:00", "2028-02-29 00:00"),
    ],
)
def test_the_next_minute(text: str, after: str, expected: str) -> None:
    found = parse_cron(text).next_after(datetime.fromisoformat(f"{after}+00:00").timestamp())
    assert found is not None
    assert f"{datetime.fromtimestamp(found, UTC):%Y-%m-%d %H:%M}" == expected


def test_a_day_that_never_comes() -> None:
    assert parse_cron("0 0 31 2 *").next_after(0) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "* * * * FRI#6",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(CronError):
        parse_cron(text)
