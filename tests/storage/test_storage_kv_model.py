"""Any sequence of key-value operations, turns and crashes behaves as a dict with a saved copy."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.storage.storage_bench import StorageBench

model_keys = st.text(st.sampled_from("ab\U0010ffff"), min_size=1, max_size=3)


class KvMachine(RuleBasedStateMachine):
    """Any sequence of operations, turns and crashes behaves as a dict with a saved copy."""

    bench: StorageBench

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.bench = StorageBench(Path(self.directory.name))
        self.model: dict[str, object] = {}
        self.saved: dict[str, object] = {}

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.bench.database.close()
            self.directory.cleanup()

    @rule(key=model_keys, value=st.integers(0, 5) | st.lists(st.booleans(), max_size=2))
    def put(self, key: str, value: object) -> None:
        self.bench.storage.put(key, value)
        self.model[key] = value

    @rule(entries=st.dictionaries(model_keys, st.integers(0, 9), max_size=3))
    def put_many(self, entries: dict[str, object]) -> None:
        self.bench.storage.put(entries)
        self.model.update(entries)

    @rule(key=model_keys)
    def delete(self, key: str) -> None:
        assert self.bench.storage.kv.delete(key) is (self.model.pop(key, None) is not None)

    @rule(key=model_keys)
    def get(self, key: str) -> None:
        assert self.bench.storage.kv.get(key) == self.model.get(key)

    @rule(
        start=st.none() | model_keys,
        end=st.none() | model_keys,
        prefix=st.none() | model_keys,
        reverse=st.booleans(),
        limit=st.none() | st.integers(1, 3),
    )
    def check_list(self, **options: object) -> None:
        options = {name: value for name, value in options.items() if value is not None}
        start, end, prefix = (str(options.get(name, "")) for name in ("start", "end", "prefix"))
        expected = [
            [key, value]
            for key, value in sorted(self.model.items(), reverse=bool(options["reverse"]))
            if key >= start and (not end or key < end) and key.startswith(prefix)
        ]
        limit = options.get("limit")
        assert isinstance(limit, int | None)
        assert list(self.bench.storage.kv.list(options)) == expected[:limit]

    @rule(fails=st.booleans(), key=model_keys)
    def transaction_sync(self, fails: bool, key: str) -> None:
        def write() -> None:
            self.bench.storage.put(key, "txn")
            if fails:
                raise KeyError(key)

        if fails:
            with pytest.raises(KeyError):
                self.bench.storage.transactionSync(write)
        else:
            self.bench.storage.transactionSync(write)
            self.model[key] = "txn"

    @rule()
    def end_turn(self) -> None:
        self.bench.end_turn()
        self.saved = dict(self.model)

    @rule()
    def crash(self) -> None:
        self.bench.reopen()
        self.model = dict(self.saved)

    @rule()
    def delete_all(self) -> None:
        self.bench.storage.deleteAll()
        self.model = {}


TestKvMachine = KvMachine.TestCase
TestKvMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
