"""Which room imports which, who owns each library, and where time, chance and threads may enter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.source_tree import PRODUCT, ROOT, Import, Source, dotted, listed, sources

WORKER_ROOMS = ("gateway", "federation", "services", "sdk")
LEAVES = ("dohost.clock", "dohost.errors", "dohost.telemetry", "dohost.memo")
TIME_AND_CHANCE = frozenset({"time", "random", "secrets", "uuid"})
# The stand-in for the module `time` stands on that module.
TIME_AND_CHANCE_DOORS = ("dohost/clock.py", "dohost/testing/worker_time.py")
UNPORTABLE = frozenset(
    {
        "concurrent",
        "ctypes",
        "fcntl",
        "multiprocessing",
        "select",
        "selectors",
        "signal",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "threading",
    }
)
READS_A_CLOCK = frozenset(
    {
        "date.today",
        "datetime.date.today",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.now",
        "datetime.utcnow",
    }
)
READS_THE_ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.putenv"})
OWNERS = {
    "aiohttp": ("server",),
    "aiosqlite": ("runtime/catalog.py", "simulators/files.py"),
    "apsw": ("storage",),
    "click": ("cli", "dev"),
    # Comes with pyjwt[crypto].
    "cryptography": ("gateway/signatures.py",),
    "dotenv": ("config",),
    "graphql": ("federation",),
    "greenlet": ("runtime/stack_switching.py",),
    "multidict": ("server",),
    "jwt": ("gateway/signatures.py", "gateway/jwk.py", "gateway/jwks.py", "gateway/jwt_checks.py"),
    "pyjson5": ("config",),
    "pytest": ("testing",),
    "pytest_asyncio": ("testing",),
    "rich": ("cli", "dev"),
    "uvloop": ("cli",),
    "watchfiles": ("dev",),
    "yarl": ("server",),
}
FREE = frozenset({"msgspec"})


def imported(kinds: Iterable[Source]) -> Iterator[tuple[Source, Import]]:
    """Yield every import of the given files."""
    for source in kinds:
        for each in source.imports():
            yield source, each


def place(source: Source, each: Import) -> str:
    """Return where an import stands, as an editor opens it."""
    return f"{source.path}:{each.line} imports {each.module}"


def is_within(source: Source, owners: tuple[str, ...]) -> bool:
    """Return whether a file is one of the owners, or in one of their rooms."""
    inside = source.path.removeprefix("dohost/")
    return any(inside == owner or inside.startswith(f"{owner}/") for owner in owners)


def worker_sources() -> list[Source]:
    """Return the files that must run on Cloudflare as they are, and the API they stand on."""
    return [source for source in sources(*PRODUCT) if source.room in WORKER_ROOMS]


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [str(command), "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_each_library_has_one_owner(library: str) -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if each.module.split(".")[0] == library and not is_within(source, OWNERS[library])
    ]
    assert not strangers, listed(strangers)


def test_every_third_party_library_is_a_known_one() -> None:
    known = {*sys.stdlib_module_names, *OWNERS, *FREE, "dohost", "workers"}
    # Our own shims, under the names that Worker code imports.
    known |= {"js", "pyodide"}
    known |= {path.stem for path in (ROOT / "services").glob("*.py")}
    unknown = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if each.module.split(".")[0] not in known
    ]
    assert not unknown, listed(unknown)


def test_time_and_chance_enter_through_the_clock_alone() -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if each.module.split(".")[0] in TIME_AND_CHANCE and source.path not in TIME_AND_CHANCE_DOORS
    ]
    assert not strangers, listed(strangers)


def test_nobody_asks_the_datetime_module_what_time_it_is() -> None:
    asked = [
        f"{source.path}:{node.lineno} calls {dotted(node.func)}"
        for source in sources(*PRODUCT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in READS_A_CLOCK
    ]
    assert not asked, listed(asked)


def test_the_environment_is_read_by_the_configuration_alone() -> None:
    read = [
        f"{source.path}:{node.lineno} uses {dotted(node)}"
        for source in sources(*PRODUCT)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and dotted(node) in READS_THE_ENVIRONMENT
        and source.room != "config"
    ]
    taken = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if each.module == "os"
        and {"environ", "environb", "getenv"} & set(each.names)
        and source.room != "config"
    ]
    assert not read + taken, listed(read + taken)


def test_worker_code_starts_no_thread_and_opens_no_socket() -> None:
    strangers = [
        place(source, each)
        for source, each in imported(worker_sources())
        if each.module.split(".")[0] in UNPORTABLE
    ]
    threads = [
        f"{source.path}:{node.lineno} calls {dotted(node.func)}"
        for source in worker_sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and dotted(node.func).rpartition(".")[2] in {"to_thread", "run_in_executor"}
    ]
    assert not strangers + threads, listed(strangers + threads)


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("gateway", ("dohost.gateway", "dohost.federation", *LEAVES)),
        ("federation", ("dohost.federation", *LEAVES)),
        ("services", ("dohost.gateway",)),
        ("sdk", LEAVES),
    ],
)
def test_worker_code_imports_no_other_room(room: str, allowed: tuple[str, ...]) -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if source.room == room
        and each.module.split(".")[0] == "dohost"
        and not any(each.module == name or each.module.startswith(f"{name}.") for name in allowed)
        # A leaf that is taken from the package: `from dohost import errors`.
        and not (
            each.module == "dohost" and {f"dohost.{name}" for name in each.names} <= set(LEAVES)
        )
    ]
    assert not strangers, listed(strangers)


def test_nobody_imports_the_sdk_by_its_place() -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources("dohost", "services", "tests"))
        if each.module.startswith("dohost.sdk") or (each.module == "dohost" and "sdk" in each.names)
    ]
    assert not strangers, listed(strangers)


def test_services_import_one_another_by_bare_name() -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources("services"))
        if each.module.split(".")[0] == "services"
    ]
    assert not strangers, listed(strangers)


def test_imports_are_absolute_and_name_what_they_take() -> None:
    strangers = [
        place(source, each)
        for source, each in imported(sources("dohost", "services", "tests"))
        if each.level or "*" in each.names
    ]
    assert not strangers, listed(strangers)


def test_an_import_inside_a_function_says_why() -> None:
    silent = [
        place(source, each)
        for source, each in imported(sources(*PRODUCT))
        if each.is_in_function
        and "#" not in source.lines[each.line - 1]
        and not source.lines[each.line - 2].lstrip().startswith("#")
    ]
    assert not silent, listed(silent)
