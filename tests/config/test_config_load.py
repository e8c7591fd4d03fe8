"""Configuration files, from text to values and messages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from config_files import problems_of, read, worker_of, write

from dohost.config import AssetsConfig, Overrides, load
from dohost.errors import ConfigError


def objects(*bindings: Mapping[str, object]) -> dict[str, object]:
    return {"durable_objects": {"bindings": list(bindings)}}


def test_the_nearest_file_upwards_is_used(tmp_path: Path) -> None:
    path = write(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert read(below).workers[0].config_path == path


def test_no_file_at_all_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        read(tmp_path)


def test_toml_and_jsonc_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "entry.py").write_text("")
    toml = tmp_path / "wrangler.toml"
    toml.write_text(
        'name = "app"\nmain = "entry.py"\ncompatibility_date = "2026-08-01"\n'
        'compatibility_flags = ["python_workers"]\n[vars]\nA = "x"\nB = { c = [1, 2.5, true] }\n'
        '[[durable_objects.bindings]]\nname = "COUNTER"\nclass_name = "Counter"\n'
        '[[migrations]]\ntag = "v1"\nnew_sqlite_classes = ["Counter"]\n'
    )
    jsonc = tmp_path / "other.jsonc"
    jsonc.write_text(
        '{ // a comment\n "name": "app", "main": "entry.py", "compatibility_date": "2026-08-01",\n'
        '"compatibility_flags": ["python_workers"], /* another */ "vars": {"A": "x",'
        '"B": {"c": [1, 2.5, true]}},\n "durable_objects": {"bindings": [{"name": "COUNTER", '
        '"class_name": "Counter"},]},\n "migrations": [{"tag": "v1", "new_sqlite_classes": ["Counter"]}],}'
    )
    first, second = (
        load([path], cwd=tmp_path, process_env={}).workers[0] for path in (toml, jsonc)
    )
    assert first.vars == second.vars == {"A": "x", "B": {"c": [1, 2.5, True]}}
    assert first.durable_objects == second.durable_objects
    assert first.classes == second.classes == {"Counter": "sqlite"}
    assert first.unique_key("Counter") == "app-Counter"
    assert first.main == (tmp_path / "entry.py").resolve()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wrangler.toml", 'name = "a"\nmain = \n', "wrangler.toml:2: Invalid value"),
        (
            "wrangler.jsonc",
            '{\n "name": "a",\n "main" 2}',
            "wrangler.jsonc:3: the JSON is not valid",
        ),
        ("wrangler.json", "[1]", "wrangler.json:1: expected an object"),
    ],
)
def test_wrong_syntax_names_the_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert message in str(caught.value)


def test_L2_all_errors_come_at_once_with_file_line_and_path(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path,
        {
            "main": 42,
            **objects({"name": "X"}, {"name": "Y", "class_name": "Y", "script_name": 3}),
            "dev": {"port": "80"},
            "ratelimits": [
                {"name": "R", "namespace_id": "1", "simple": {"limit": 1, "period": 30}}
            ],
        },
    )
    assert found[0] == 'wrangler.json:3: Expected "main" to be of type string but got 42.'
    assert (
        '"durable_objects.bindings[0]": {"name":"X"}\n  - binding should have a string "class_name" field.'
        in found[1]
    )
    assert 'the field "script_name", when present, should be a string.' in found[2]
    assert {problem.partition(": ")[2] for problem in found[3:]} == {
        'Expected "ratelimits[0].simple.period" to be one of 10, 60 but got 30.',
        'Expected "dev.port" to be of type integer but got "80".',
    }
    assert all(problem.startswith("wrangler.json:") for problem in found)


def test_L1_an_unknown_key_is_a_warning_with_a_suggestion(tmp_path: Path) -> None:
    write(tmp_path, {"durable_object": {}, "triggers": {"cron": []}})
    assert [warning.partition(": ")[2] for warning in read(tmp_path).warnings] == [
        'Unexpected fields found in top-level field: "durable_object". Did you mean "durable_objects"?',
        'Unexpected fields found in triggers field: "cron". Did you mean "crons"?',
    ]


def test_warnings_come_with_the_errors_that_they_explain(tmp_path: Path) -> None:
    write(tmp_path, {"mian": "entry.py", "main": 1})
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert 'Did you mean "main"?' in caught.value.warnings[0]


def test_keys_without_effect_are_named_in_one_note(tmp_path: Path) -> None:
    write(
        tmp_path, {"$schema": "x", "account_id": "x", "placement": {}, "dev": {"inspector_port": 1}}
    )
    loaded = read(tmp_path)
    assert loaded.warnings == ()
    assert loaded.notes == (
        "wrangler.json: accepted, without effect in dohost: account_id, placement, dev.inspector_port",
    )


def test_L7_a_python_worker_needs_its_flag(tmp_path: Path) -> None:
    found = problems_of(tmp_path, {"compatibility_flags": []})
    assert "The `python_workers` compatibility flag is required to use Python." in found[0]


@pytest.mark.parametrize("name", ["App", "my.app", "../x", "", "-x"])
def test_a_name_that_cannot_be_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    assert "alphanumeric and lowercase with dashes only" in problems_of(tmp_path, {"name": name})[0]


def test_a_class_name_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    assert (
        '"class_name" should name a class'
        in problems_of(tmp_path, objects({"name": "X", "class_name": "../X"}))[0]
    )


@pytest.mark.parametrize(
    ("main", "message"), [("gone.py", "was not found"), ("index.js", "must be a Python file")]
)
def test_main_must_be_a_python_file_that_exists(tmp_path: Path, main: str, message: str) -> None:
    assert message in problems_of(tmp_path, {"main": main})[0]


def test_a_toml_date_in_vars_has_its_own_message(tmp_path: Path) -> None:
    (tmp_path / "entry.py").write_text("")
    (tmp_path / "wrangler.toml").write_text(
        'name="a"\nmain="entry.py"\ncompatibility_date="2026-08-01"\n'
        'compatibility_flags=["python_workers"]\n[vars]\nX = 2025-12-19\n'
    )
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert caught.value.problems == (
        'wrangler.toml:6: The field "vars.X" is a TOML date, which is not supported. '
        'Please use a string instead, e.g. X = "2025-12-19".',
    )


def test_L3_an_environment_inherits_code_and_migrations_but_no_bindings(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            **objects({"name": "C", "class_name": "C"}),
            "migrations": [{"tag": "v1", "new_sqlite_classes": ["C"]}],
            "vars": {"A": "top"},
            "triggers": {"crons": ["* * * * *"]},
            "env": {"staging": {}},
        },
    )
    loaded = read(tmp_path, env="staging")
    worker = loaded.workers[0]
    assert (worker.name, worker.classes, worker.crons) == (
        "app-staging",
        {"C": "sqlite"},
        ("* * * * *",),
    )
    assert (worker.vars, worker.durable_objects) == ({}, ())
    assert [warning.partition(": ")[2].splitlines()[0] for warning in loaded.warnings] == [
        '"durable_objects" exists at the top level, but not on "env.staging".',
        '"vars" exists at the top level, but not on "env.staging".',
    ]
    assert 'Please add "vars" to "env.staging".' in loaded.warnings[1]


@pytest.mark.parametrize(
    ("cpu_ms", "is_fine"), [(1, True), (300_000, True), (0, False), (300_001, False)]
)
def test_processor_time_has_a_range_and_is_inherited(
    tmp_path: Path, cpu_ms: int, is_fine: bool
) -> None:
    write(tmp_path, {"limits": {"cpu_ms": cpu_ms, "subrequests": 5}, "env": {"staging": {}}})
    if is_fine:
        assert read(tmp_path, env="staging").workers[0].cpu_ms == cpu_ms
        return
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, env="staging")
    assert caught.value.problems[0].partition(": ")[2] == (
        f'Expected "limits.cpu_ms" to be from 1 to 300000 but got {cpu_ms}.'
    )


def test_an_environment_overrides_and_may_rename(tmp_path: Path) -> None:
    worker = worker_of(
        tmp_path,
        {"vars": {"A": 1}, "env": {"prod": {"name": "live", "vars": {"A": 2}, "main": "entry.py"}}},
        env="prod",
    )
    assert (worker.name, worker.vars) == ("live", {"A": 2})


def test_L4_an_unknown_environment_lists_the_known_ones(tmp_path: Path) -> None:
    found = problems_of(tmp_path, {"env": {"a": {}, "b": {}}}, env="x")
    assert 'No environment found in configuration with name "x".' in found[0]
    assert 'The available configured environment names are: ["a","b"]' in found[0]


def test_L4_an_environment_without_any_section_is_only_a_warning(tmp_path: Path) -> None:
    write(tmp_path)
    loaded = read(tmp_path, env="x")
    assert loaded.workers[0].name == "app"
    assert "Before using `--env=x`" in loaded.warnings[0]


def test_bindings_to_other_scripts_keep_their_environment(tmp_path: Path) -> None:
    worker = worker_of(
        tmp_path,
        {
            **objects(
                {"name": "A", "class_name": "Room", "script_name": "chat", "environment": "dev"},
                {"name": "B", "class_name": "Own", "script_name": "app"},
            ),
            "migrations": [{"tag": "v1", "new_sqlite_classes": ["Own"]}],
            "services": [
                {"binding": "S", "service": "auth", "entrypoint": "Admin", "props": {"k": 1}}
            ],
        },
    )
    assert [item.script_name for item in worker.durable_objects] == ["chat-dev", None]
    assert (worker.services[0].entrypoint, worker.services[0].props) == ("Admin", {"k": 1})


def test_an_environment_of_a_binding_needs_a_script_name(tmp_path: Path) -> None:
    found = problems_of(tmp_path, objects({"name": "A", "class_name": "R", "environment": "dev"}))
    assert 'binding should have a "script_name" field if "environment" is present.' in found[0]


def test_two_bindings_of_one_name_are_refused(tmp_path: Path) -> None:
    found = problems_of(tmp_path, {"vars": {"A": 1}, "version_metadata": {"binding": "A"}})
    assert 'The binding name "A" is used twice: vars, version_metadata.' in found[0]


def test_every_kind_of_binding_is_carried(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    worker = worker_of(
        tmp_path,
        {
            "kv_namespaces": [{"binding": "KV", "id": "1"}],
            "r2_buckets": [{"binding": "R2", "bucket_name": "b"}],
            "d1_databases": [{"binding": "D1", "database_name": "d"}],
            "queues": {
                "producers": [{"binding": "Q", "queue": "q"}],
                "consumers": [{"queue": "q"}],
            },
            "ratelimits": [{"name": "RL", "namespace_id": 7, "simple": {"limit": 5, "period": 60}}],
            "version_metadata": {"binding": "V"},
            "assets": {"directory": "public", "binding": "ASSETS"},
            "routes": ["a.test/*", {"pattern": "b.test/*", "zone_name": "b.test"}],
            "ai": {"binding": "AI"},
            "vectorize": [{"binding": "VEC", "index_name": "i"}],
            "dev": {"ip": "0.0.0.0", "port": 0, "local_protocol": "https"},
        },
    )
    assert (worker.kv_namespaces[0].id, worker.r2_buckets[0].bucket_name) == ("1", "b")
    assert (worker.d1_databases[0].database_name, worker.queue_producers[0].queue) == ("d", "q")
    assert worker.queue_consumers[0].queue == "q"
    limit = worker.ratelimits[0]
    assert (limit.name, limit.namespace_id, limit.limit, limit.period) == ("RL", "7", 5, 60)
    assert (worker.version_metadata, worker.routes) == ("V", ("a.test/*", "b.test/*"))
    assert worker.assets is not None
    assert worker.assets.directory == (tmp_path / "public").resolve()
    assert [(item.kind, item.binding) for item in worker.unsupported] == [
        ("AI", "AI"),
        ("Vectorize Index", "VEC"),
    ]
    dev = worker.dev
    assert (dev.ip, dev.port, dev.local_protocol, dev.is_port_set) == ("0.0.0.0", 0, "https", True)


def test_assets_say_what_comes_first(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()

    def assets(**fields: object) -> AssetsConfig:
        given = {"directory": "public", "binding": "ASSETS", **fields}
        found = worker_of(tmp_path, {"assets": given}).assets
        assert found is not None
        return found

    plain = assets()
    assert (plain.html_handling, plain.not_found_handling) == ("auto-trailing-slash", "none")
    assert (plain.is_worker_first, plain.worker_routes, plain.asset_routes) == (False, (), ())
    assert assets(run_worker_first=True).is_worker_first
    routed = assets(run_worker_first=["/api/*", "!/api/docs/*"])
    assert (routed.worker_routes, routed.asset_routes) == (("/api/*",), ("/api/docs/*",))


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ([], "must provide at least 1 rule"),
        (["!/a"], "must provide at least 1 non-negative rule"),
        ([f"/{n}" for n in range(101)], "101 rules provided exceeds max of 100"),
        (["a"], "'a': rules must start with '/' or '!/'"),
        (["/b", "!a"], "'!a': negative rules must start with '!/'"),
        (["/" + "a" * 100], "all rules must be less than 100 characters in length"),
        (["/a", "/a"], "'/a': rule is a duplicate; rules must be unique"),
        (["/a/*", "/a/b"], "'/a/b': rule '/a/*' makes it redundant"),
        ("x", "to be an array of strings or a boolean"),
    ],
)
def test_wrong_rules_of_run_worker_first_are_named(
    tmp_path: Path, rules: object, problem: str
) -> None:
    (tmp_path / "public").mkdir()
    assets = {"directory": "public", "binding": "A", "run_worker_first": rules}
    assert problem in "\n".join(problems_of(tmp_path, {"assets": assets}))


def test_workers_of_one_process_need_different_names(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path, name="second.json")
    with pytest.raises(ConfigError, match="different names"):
        load([first, second], cwd=tmp_path, process_env={})


def test_overrides_of_the_primary_leave_the_others_alone(tmp_path: Path) -> None:
    first, second = write(tmp_path), write(tmp_path, {"name": "b"}, name="second.json")
    overrides = Overrides(vars={"A": "cli"}, name="a")
    loaded = load([first, second], cwd=tmp_path, overrides=overrides, process_env={})
    assert [(worker.name, worker.vars) for worker in loaded.workers] == [
        ("a", {"A": "cli"}),
        ("b", {}),
    ]


def test_a_class_that_no_migration_makes_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path, objects({"name": "C", "class_name": "C"}))
    assert '"new_sqlite_classes": ["C"]' in read(tmp_path).warnings[0]
