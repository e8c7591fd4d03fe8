"""The page of metrics is one that every scraper takes, whatever the labels hold."""

from __future__ import annotations

import pytest
from exposition_grammar import parse
from hypothesis import given
from hypothesis import strategies as st

from dohost.cli.exposition import Sample, counter, gauge, histogram, render
from dohost.histogram import BOUNDS_S, Histogram


def test_a_page_reads_as_the_format_says() -> None:
    took = Histogram()
    took.observe(0.02)
    page = render(
        (
            counter("calls_total", "Calls.", [Sample(3, {"class": "A", "worker": "w"})]),
            gauge("open", "What is open.", 1.5),
            histogram("took_seconds", "Time.", took),
        )
    )
    lines = page.splitlines()
    assert lines[:6] == [
        "# HELP calls_total Calls.",
        "# TYPE calls_total counter",
        'calls_total{class="A",worker="w"} 3',
        "# HELP open What is open.",
        "# TYPE open gauge",
        "open 1.5",
    ]
    assert 'took_seconds_bucket{le="0.01"} 0' in lines
    assert 'took_seconds_bucket{le="0.025"} 1' in lines
    assert lines[-3:] == [
        'took_seconds_bucket{le="+Inf"} 1',
        "took_seconds_sum 0.02",
        "took_seconds_count 1",
    ]


def test_what_could_end_a_label_or_a_line_is_escaped() -> None:
    page = render([gauge("open", "a\\b\nc", [Sample(1, {"class": 'say "hi"\\n\n'})])])
    assert page == (
        '# HELP open a\\\\b\\nc\n# TYPE open gauge\nopen{class="say \\"hi\\"\\\\n\\n"} 1\n'
    )


@given(
    st.lists(st.text(st.characters(codec="utf-8")), unique=True),
    st.floats(0, allow_nan=False, allow_infinity=False),
)
def test_every_label_and_number_comes_back_as_it_was(texts: list[str], number: float) -> None:
    page = parse(render([gauge("open", "Open.", [Sample(number, {"class": t}) for t in texts])]))
    assert page.values == {("open", (("class", text),)): number for text in texts}


@given(st.lists(st.floats(0, 100, allow_nan=False)))
def test_a_histogram_counts_each_duration_in_the_buckets_above_it(durations: list[float]) -> None:
    took = Histogram()
    for each in durations:
        took.observe(each)
    page = parse(render([histogram("took_seconds", "Time.", took)]))
    for bound in BOUNDS_S:
        label = repr(int(bound) if bound == int(bound) else bound)
        found = page.value("took_seconds_bucket", le=label)
        assert found == sum(each <= bound for each in durations)
    assert page.value("took_seconds_count") == took.total == len(durations)
    assert page.value("took_seconds_sum") == pytest.approx(sum(durations))


@pytest.mark.parametrize(
    "page",
    [
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1",
        "a_total 1\n",
        "# TYPE a_total counter\na_total 1\n",
        "# HELP a_total A.\n# TYPE a_total counter\na_total 1\na_total 1\n",
        '# HELP a_total A.\n# TYPE a_total counter\na_total{b="c\\d"} 1\n',
        '# HELP a_total A.\n# TYPE a_total counter\na_total{b="c"d"} 1\n',
        "# HELP a_total A.\n# TYPE a_total counter\nb_total 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na nan\n",
        '# HELP a A.\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\n',
    ],
)
def test_the_reader_of_these_tests_lets_no_broken_page_through(page: str) -> None:
    with pytest.raises(AssertionError):
        parse(page)
