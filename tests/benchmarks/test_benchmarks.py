"""Every piece of work is answered rightly by every system that runs here; no time is asserted.

The parts of the benchmarks that decide (ratios, table, parsing) are tested with every run of the
suite; what starts servers carries the marker `benchmark`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import cold, flat, in_process, peers, product, run
from tests.benchmarks.load import Load, answer_length, percentile, request_bytes
from tests.benchmarks.report import Line, markdown, summary
from tests.benchmarks.rounds import Measured, cpu_ratio_of, ratio_of, trials_of
from tests.benchmarks.servers import Command, Server, running
from tests.benchmarks.work import BUDGETS, HELLO, INCREMENT, READ, WORKS, Budget


def loaded(answers: int, *, p50_ms: float = 1.0, p99_ms: float = 2.0) -> Measured:
    load = Load(
        answers=answers,
        answers_in_all=answers,
        failures=0,
        seconds=1.0,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        worst_ms=p99_ms,
        own_cpu=0.1,
    )
    return Measured(load=load, cpu_us=100.0 / answers, others=0.0)


def test_a_request_is_sent_as_http_says() -> None:
    assert request_bytes("GET", "/a") == b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert request_bytes("POST", "/a", headers=("A: b",), body="é").endswith(
        b"A: b\r\nContent-Length: 2\r\n\r\n\xc3\xa9"
    )


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 40),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 40),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 59),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 27),
    ],
)
def test_an_answer_ends_where_http_says(data: bytes, length: int | None) -> None:
    assert answer_length(data) == length


def test_percentiles_are_values_that_were_measured() -> None:
    ordered = [float(value) for value in range(100)]
    assert percentile(ordered, 0.5) == 50.0
    assert percentile(ordered, 0.99) == 99.0
    assert percentile(ordered, 1.0) == 99.0
    assert percentile([], 0.5) == 0.0


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    budget = Budget(label="", work=INCREMENT, connections=16, peer="workerd", must=3.0)
    rounds = [
        {("increment", 16, "dohost"): loaded(ours), ("increment", 16, "workerd"): loaded(theirs)}
        for ours, theirs in ((30, 10), (500, 100), (8, 2))
    ]
    assert ratio_of(budget, rounds) == 4.0
    assert cpu_ratio_of(budget, rounds) == pytest.approx(4.0)


def test_a_tail_is_compared_by_its_distance_from_the_median() -> None:
    budget = Budget(label="", work=HELLO, connections=64, peer="aiohttp", figure="tail", must=2.0)
    ours = loaded(1, p50_ms=2.0, p99_ms=6.0)
    theirs = loaded(1, p50_ms=1.0, p99_ms=2.0)
    assert (
        ratio_of(budget, [{("hello", 64, "dohost"): ours, ("hello", 64, "aiohttp"): theirs}]) == 1.5
    )


def test_an_absent_peer_gives_no_ratio_and_no_trial() -> None:
    budget = Budget(label="", work=HELLO, connections=16, peer="workerd", must=1.0)
    assert ratio_of(budget, [{("hello", 16, "dohost"): loaded(1)}]) is None
    assert trials_of([budget], ["aiohttp"]) == ()


def test_a_must_is_a_bound_from_its_own_side() -> None:
    fast = Line(against="workerd", label="hello", value=1.3, must=1.2)
    slow = Line(against="aiohttp", label="cost", value=3.1, sense="most", must=3.0)
    free = Line(against="", label="free", value=7.0, sense="only")
    assert (fast.is_met, slow.is_met, free.is_met) == (True, False, True)
    assert summary([fast, slow, free]) == "1 of 2 musts are met; not met: cost"
    assert markdown([slow], notes=["how"]).splitlines()[2:] == [
        "| aiohttp | cost |  | 3.1× | ≤ 3× |  | **NOT MET** |  |",
        "",
        "how",
    ]


def test_every_budget_has_a_must_that_its_aim_goes_beyond() -> None:
    for budget in BUDGETS:
        if budget.must is not None and budget.aim is not None:
            assert budget.aim >= budget.must
        assert budget.work in WORKS


async def test_the_request_path_is_measured_without_a_network() -> None:
    least = await in_process.measure([HELLO, READ], requests=2, runs=1)
    assert list(least) == [HELLO.name, READ.name]
    assert min(least.values()) > 0


def answers_rightly(command: Command, *, data: Path) -> Server:
    with running(command, data=data) as server:
        run.answer_rightly({server.name: server}, WORKS)
        return server


@pytest.mark.benchmark
@pytest.mark.timeout(300)
def test_dohost_does_every_piece_of_work(tmp_path: Path) -> None:
    answers_rightly(run.dohost_command(), data=tmp_path / "data")


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["workerd", "wrangler dev"])
def test_a_peer_does_every_piece_of_work(name: str, tmp_path: Path) -> None:
    systems, skipped = run.commands(tmp_path / "home")
    found = [system for system in systems if system.name == name]
    if not found:
        pytest.skip(skipped[0])
    answers_rightly(found[0], data=tmp_path / "data")


@pytest.mark.benchmark
@pytest.mark.timeout(300)
def test_a_quick_run_measures_everything(tmp_path: Path) -> None:
    table = tmp_path / "table.md"
    run.main(["--quick", "--markdown", str(table)])
    text = table.read_text()
    for probe in product.PROBES:
        assert probe.label in text
    peers_are_there = not isinstance(peers.install(), peers.Unavailable)
    for budget in BUDGETS:
        assert (budget.label in text) == (peers_are_there or budget.peer == "aiohttp")


async def test_cold_objects_are_called_and_cost_something(tmp_path: Path) -> None:
    ours, bare = await cold.rounds(tmp_path, objects=3, count=1)
    assert set(bare) < set(ours)
    assert all(cost > 0 for cost in (*ours.values(), *bare.values()))
    assert "SQLite alone" in cold.table(ours, bare)


async def test_twins_do_the_same_and_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "TIMES", 2)
    monkeypatch.setattr(flat, "ROWS_AT_ONCE", 4)
    found = [
        *await flat.big_file(tmp_path / "file", 1),
        *await flat.among_many(tmp_path / "many", 3),
        *await flat.long_log(tmp_path / "log", 2),
    ]
    assert all(each.small_us > 0 and each.big_us > 0 for each in found)
    assert str(flat.Compared(label="get", small_us=2, big_us=3)).endswith("1.50×")
