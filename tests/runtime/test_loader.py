"""Each worker and each generation of its code has modules of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dohost.errors import UserCodeError
from dohost.runtime.loader import WorkerCode


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / f"{name.replace('__slash__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "entry.py"


def load(main: Path, worker: str = "app") -> tuple[WorkerCode, object]:
    code = WorkerCode(worker, main)
    return code, code.load()


def test_modules_of_a_worker_import_one_another_by_bare_name(tmp_path: Path) -> None:
    main = write(tmp_path, entry="import users\nname = users.NAME", users="NAME = 'alice'")
    before = set(sys.modules)
    code, module = load(main)
    assert module.name == "alice"
    assert all(name.startswith("dohost_worker_") for name in set(sys.modules) - before)
    assert [path.name for path in code.files()] == ["entry.py", "users.py"]
    code.unload()


def test_two_workers_may_have_modules_of_the_same_name(tmp_path: Path) -> None:
    one = write(tmp_path / "one", entry="from users import NAME", users="NAME = 'one'")
    two = write(tmp_path / "two", entry="from users import NAME", users="NAME = 'two'")
    codes = [load(one, "one"), load(two, "two")]
    assert [module.NAME for _, module in codes] == ["one", "two"]
    for code, _ in codes:
        code.unload()


def test_a_late_import_of_old_code_still_finds_old_modules(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        entry="import users\ndef late():\n    import users\n    return users.NAME",
        users="NAME = 'old'",
    )
    old_code, old = load(main)
    write(tmp_path, users="NAME = 'new'")
    new_code, new = load(main)
    assert (old.late(), new.late()) == ("old", "new")
    old_code.unload()
    assert old.late() == "old"
    new_code.unload()


def test_packages_and_relative_imports_work(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        entry="from shop.cart import total\nimport shop.cart as cart\nfrom shop import cart as again",
        shop__slash____init__="NAME = 'shop'",
        shop__slash__cart="from . import NAME\nfrom .prices import PRICE\ntotal = (NAME, PRICE)",
        shop__slash__prices="import rates\nPRICE = rates.RATE",
        rates="RATE = 7",
    )
    code, module = load(main)
    assert module.total == ("shop", 7)
    assert module.cart is module.again
    code.unload()


def test_the_shims_are_seen_by_worker_code_only(tmp_path: Path) -> None:
    main = write(tmp_path, entry="from js import Response\nfrom pyodide.ffi import to_js")
    before = set(sys.modules)
    code, module = load(main)
    assert module.Response("text").status == 200
    assert not {"js", "pyodide", "pyodide.ffi"} & (set(sys.modules) - before)
    code.unload()


def test_classes_know_their_module(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        entry=(
            "from __future__ import annotations\nimport msgspec\n"
            "class User(msgspec.Struct):\n    name: str\n"
            "def decode(text): return msgspec.json.decode(text, type=User)"
        ),
    )
    code, module = load(main)
    assert module.decode('{"name": "alice"}').name == "alice"
    code.unload()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:", "invalid syntax"),
        ("import nowhere_to_be_found", "No module named"),
        ("1 / 0", "division by zero"),
    ],
)
def test_code_that_fails_to_load_leaves_nothing_behind(
    tmp_path: Path, text: str, message: str
) -> None:
    main = write(tmp_path, entry=text)
    with pytest.raises(UserCodeError, match=message) as raised:
        load(main, "broken")
    assert raised.value.__cause__ is not None
    assert not [name for name in sys.modules if name.startswith("dohost_worker_broken")]
