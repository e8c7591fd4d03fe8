"""The plugin as other projects meet it: whole pytest runs in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

WRANGLER = """
name = "shop"
main = "src/entry.py"
compatibility_flags = ["python_workers"]

[vars]
GREETING = "hello"

[env.staging.vars]
GREETING = "hello, stage"

[[env.staging.durable_objects.bindings]]
name = "COUNTER"
class_name = "Counter"

[[durable_objects.bindings]]
name = "COUNTER"
class_name = "Counter"

[[migrations]]
tag = "v1"
new_sqlite_classes = ["Counter"]
"""
ENTRY = """
from workers import DurableObject, Response, WorkerEntrypoint

class Counter(DurableObject):
    async def increment(self):
        count = (await self.ctx.storage.get("count") or 0) + 1
        await self.ctx.storage.put("count", count)
        return count

    async def greet(self):
        return self.env.GREETING

    async def arm(self):
        await self.ctx.storage.setAlarm(1)

    async def alarm(self):
        raise ValueError("no alarm today")

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response("ok")
"""
COUNTS = """
async def test_it_counts(dohost):
    assert await dohost.env.COUNTER.getByName("a").increment() == 1
"""
WITHOUT_ASYNCIO = ("-p", "dohost.testing.plugin")
LOOP_SCOPE = "asyncio_default_fixture_loop_scope=function"
WITH_ASYNCIO = (*WITHOUT_ASYNCIO, "-p", "pytest_asyncio.plugin", "-o", LOOP_SCOPE)


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load only the plugins that a test names, which takes a third of the time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a Worker and a test."""
    (pytester.path / "src").mkdir()
    (pytester.path / "src/entry.py").write_text(ENTRY)
    (pytester.path / "wrangler.toml").write_text(WRANGLER)
    return pytester


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*(options or WITH_ASYNCIO))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((*WITH_ASYNCIO, "-o", "asyncio_mode=auto"), id="auto"),
        pytest.param((*WITH_ASYNCIO, "-o", "asyncio_mode=strict"), id="strict"),
        pytest.param(WITHOUT_ASYNCIO, id="without pytest-asyncio"),
    ],
)
def test_async_tests_run_whatever_runs_them(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    in_class = (
        "class TestIt:\n    async def test_in_a_class(self, dohost, tmp_path):\n        pass\n"
    )
    project.makepyfile(COUNTS + in_class)
    run(project, *options, "-W", "error").assert_outcomes(passed=2)


def test_fixtures_may_stand_on_the_host(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def counter(dohost):
            return dohost.env.COUNTER.getByName("a")

        async def test_it_counts(counter):
            assert await counter.increment() == 1
        """
    )
    run(project).assert_outcomes(passed=1)


def test_the_nearest_marker_wins(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.dohost(vars={"GREETING": "good day"}, evict_after_s=None)

        async def greeting(dohost):
            return await dohost.env.COUNTER.getByName("a").greet()

        async def test_of_the_module(dohost):
            assert await greeting(dohost) == "good day"

        @pytest.mark.dohost(vars={"GREETING": "good night"})
        async def test_of_the_test(dohost):
            assert await greeting(dohost) == "good night"

        @pytest.mark.dohost(env="staging", vars={})
        async def test_of_an_environment(dohost):
            assert await greeting(dohost) == "hello, stage"
        """
    )
    run(project).assert_outcomes(passed=3)


def test_pyproject_says_what_runs(project: pytest.Pytester) -> None:
    (project.path / "wrangler.toml").rename(project.path / "src/worker.toml")
    worker = (project.path / "src/worker.toml").read_text().replace("src/entry.py", "entry.py")
    (project.path / "src/worker.toml").write_text(worker)
    (project.path / "pyproject.toml").write_text('[tool.dohost]\nconfig = "src/worker.toml"\n')
    tests = project.mkdir("tests")
    (tests / "test_it.py").write_text(COUNTS)
    run(project).assert_outcomes(passed=1)


def test_without_a_program_the_error_says_what_to_write(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(COUNTS)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*The fixture `dohost` has nothing to run: there is no wrangler*"])
    assert "plugin.py" not in result.stdout.str()


WRONG = {
    'confg="x"': "know no 'confg'. Known are: config, main",
    'evict_after_s="soon"': "`$.evict_after_s`",
    'main="missing.py"': "missing.py can't be read: No such file",
    'config="missing.toml"': "missing.toml: can't be read",
    'main="src/wrong.py"': "wrong.py:1: ",
    'main="src/entry.py", bindings={"X": "Missing"}': "not exported in your entrypoint",
    'env="nowhere"': '"nowhere"',
}


def test_a_wrong_setting_is_named(project: pytest.Pytester) -> None:
    (project.path / "src/wrong.py").write_text("class (:\n")
    tests = [
        f"@pytest.mark.dohost({marker})\nasync def test_{number}(dohost): pass\n"
        for number, marker in enumerate(WRONG)
    ]
    project.makepyfile("\n".join(["import pytest", *tests]))
    result = run(project)
    result.assert_outcomes(errors=len(WRONG))
    for message in WRONG.values():
        assert message in result.stdout.str()


def test_a_broken_pyproject_is_named(project: pytest.Pytester) -> None:
    (project.path / "src/pyproject.toml").write_text("[tool.dohost")
    (project.path / "src/test_it.py").write_text(COUNTS)
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pyproject.toml: *"])


def test_a_test_that_is_not_async_is_told_so(project: pytest.Pytester) -> None:
    project.makepyfile("def test_it(dohost):\n    dohost.env\n")
    for options in (WITH_ASYNCIO, WITHOUT_ASYNCIO):
        result = run(project, *options)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*write the test as `async def test_*"])


def test_a_test_in_another_loop_is_told_so(project: pytest.Pytester) -> None:
    project.makepyfile(
        f"import pytest\npytestmark = pytest.mark.asyncio(loop_scope='session')\n{COUNTS}"
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*another event loop than its `dohost` fixture*"])


def test_what_the_host_logged_stands_beside_a_failure(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        async def test_it(dohost):
            await dohost.env.COUNTER.getByName("a").arm()
            await dohost.advance(1)
            assert not "as the alarm failed"
        """
    )
    result = run(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured dohost call*", "*alarm.failed*no alarm today*"])


def test_the_plugin_costs_nothing_where_nobody_uses_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "dohost.testing.plugin" in sys.modules
            assert not {"dohost.runtime.host", "dohost.storage.database", "apsw"} & set(sys.modules)
        """
    )
    result = pytester.runpytest_subprocess(*WITH_ASYNCIO)
    result.assert_outcomes(passed=1)


def test_the_readmes_example_passes(pytester: pytest.Pytester) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    program = _block(readme, "## Any Durable Object")
    example = _block(readme, "## Testing your objects")
    (pytester.path / "entry.py").write_text(program)
    wrangler = WRANGLER.replace("src/entry.py", "entry.py")
    (pytester.path / "wrangler.toml").write_text(wrangler)
    pytester.makepyfile(example)
    passed = example.count("async def test_")
    assert passed >= 3
    run(pytester).assert_outcomes(passed=passed)


def _block(text: str, heading: str) -> str:
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    return section.partition("```python\n")[2].partition("```")[0]
