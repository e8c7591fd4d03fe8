"""Numbers in configuration files: what is too small or too big is a problem, with its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_files import problems_of, worker_of


@pytest.mark.parametrize(
    ("port", "is_valid"), [(-1, False), (0, True), (65535, True), (65536, False)]
)
def test_a_port_has_sixteen_bits(tmp_path: Path, *, port: int, is_valid: bool) -> None:
    if is_valid:
        assert worker_of(tmp_path, {"dev": {"port": port}}).dev.port == port
    else:
        assert "from 0 to 65535" in problems_of(tmp_path, {"dev": {"port": port}})[0]


@pytest.mark.parametrize(
    ("kind", "key", "low", "high"),
    [
        ("producers", "delivery_delay", 0, 86_400),
        ("consumers", "retry_delay", 0, 86_400),
        ("consumers", "max_batch_size", 1, 100),
        ("consumers", "max_batch_timeout", 0, 60),
        ("consumers", "max_retries", 0, 100),
        ("consumers", "max_concurrency", 1, 250),
    ],
)
def test_numbers_of_queues_have_bounds(
    tmp_path: Path, kind: str, key: str, low: int, high: int
) -> None:
    def queues(number: int) -> dict[str, object]:
        binding = {"binding": "Q"} if kind == "producers" else {}
        return {"queues": {kind: [{"queue": "q", key: number, **binding}]}}

    for number in (low, high):
        worker = worker_of(tmp_path, queues(number))
        item = (*worker.queue_producers, *worker.queue_consumers)[0]
        assert getattr(item, key) == number
    for number in (low - 1, high + 1):
        (problem,) = problems_of(tmp_path, queues(number))
        assert f'"{key}" should be from {low} to {high} but is {number}.' in problem
