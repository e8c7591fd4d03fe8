"""Loading Worker code: every worker, and every generation of its code, has modules of its own.

On Cloudflare a worker's modules import one another by bare name (`import users`). Two workers in one
process may both have a `users`, and during a reload the old code must keep its own while the new code
loads. So modules are registered under a private prefix, and each module runs with an `__import__` of its
own that looks in its worker's directory first, then at the shims (`js`, `pyodide`), then at the
ordinary modules of the process. Tracebacks, breakpoints and `inspect` see the real files.

The worker's directory never enters `sys.path`, so the process itself imports nothing from it.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from dohost.errors import UserCodeError

MODULE_PREFIX = "dohost_worker_"
SHIMS = Path(__file__).parent.parent / "sdk" / "shims"
SHIM_NAMES = frozenset({"asgi", "js", "pyodide"})


class _Source(SourceFileLoader):
    """Executes one file with its worker's own `__import__`."""

    def __init__(self, name: str, path: Path, code: WorkerCode) -> None:
        super().__init__(name, str(path))
        self._code = code

    def get_data(self, path: str) -> bytes:
        # A module's bytes are read once per generation, never from a cache of an older one.
        source = Path(path).read_bytes()
        if b"run_sync" in source and not path.startswith(str(SHIMS)):
            self._code.waits_in_sync_code = True
        return source

    def path_stats(self, path: str) -> Mapping[str, float]:
        raise OSError("compiled code of workers is not cached on disk")

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._code.builtins
        super().exec_module(module)


class WorkerCode:
    """One generation of one worker's modules."""

    def __init__(
        self, worker: str, main: Path | None, *, replaced: Mapping[str, ModuleType] | None = None
    ) -> None:
        """Name the code; `replaced` holds modules that it gets instead of the process's own.

        `main` None: there is no code, and what is loaded is an empty module.
        """
        self._prefix = _free_prefix(worker)
        self._replaced = replaced or {}
        self._roots = [] if main is None else [main.parent]
        self._main = main
        # Whether a file mentions `run_sync`: such code runs on stacks that can be put aside.
        self.waits_in_sync_code = False
        # The generation's own table: what still runs finds its modules also after `unload`.
        self._modules: dict[str, ModuleType] = {}
        self.builtins: dict[str, object] = {**vars(builtins), "__import__": self._import}

    def load(self) -> ModuleType:
        """Execute the main module and return it; raises UserCodeError with the original as its cause."""
        package = ModuleType(self._prefix)
        package.__path__ = []
        sys.modules[self._prefix] = package
        if self._main is None:
            return package
        try:
            return self._module(self._main.stem, self._main)
        except BaseException as error:
            self.unload()
            # `sys.exit()` while a module runs is a failed load, not the end of the server.
            if isinstance(error, (Exception, SystemExit)):
                raise UserCodeError(f"{self._main} could not be loaded: {error}") from error
            raise

    def unload(self) -> None:
        """Take the modules out of the process's table; what still runs keeps them alive."""
        for name in (self._prefix, *self._modules):
            sys.modules.pop(name, None)

    def files(self) -> list[Path]:
        """Return the files that this generation has loaded."""
        return [Path(str(module.__file__)) for module in self._modules.values()]

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if level:
            base = str((globals or {}).get("__package__", "")).rsplit(".", level - 1)[0]
            if not base.startswith(self._prefix + "."):
                return builtins.__import__(name, globals, locals, fromlist or (), level)
            base = base.removeprefix(self._prefix + ".")
            name = f"{base}.{name}" if name else base
        top = name.partition(".")[0]
        path = self._find(top)
        if path is None:
            replaced = self._replaced.get(name)
            if replaced is not None:
                return replaced
            return builtins.__import__(name, globals, locals, fromlist or (), 0)
        found = self._module(top, path)
        leaf = found
        for part in name.split(".")[1:]:
            leaf = self._submodule(leaf, part)
        for attribute in fromlist or ():
            if attribute != "*" and not hasattr(leaf, attribute) and hasattr(leaf, "__path__"):
                self._submodule(leaf, attribute)
        return leaf if fromlist else found

    def _find(self, name: str) -> Path | None:
        shims = [SHIMS] if name in SHIM_NAMES else []
        for root in (*self._roots, *shims):
            for path in (root / name / "__init__.py", root / f"{name}.py"):
                if path.is_file():
                    return path
        return None

    def _module(self, name: str, path: Path) -> ModuleType:
        qualified = f"{self._prefix}.{name}"
        module = self._modules.get(qualified)
        if module is not None:
            return module
        spec = ModuleSpec(qualified, _Source(qualified, path, self), origin=str(path))
        spec.has_location = True
        if path.name == "__init__.py":
            spec.submodule_search_locations = [str(path.parent)]
        module = module_from_spec(spec)
        sys.modules[qualified] = self._modules[qualified] = module
        try:
            assert spec.loader is not None
            spec.loader.exec_module(module)
        except BaseException:
            sys.modules.pop(qualified, None)
            del self._modules[qualified]
            raise
        return module

    def _submodule(self, package: ModuleType, name: str) -> ModuleType:
        for directory in getattr(package, "__path__", ()):
            for path in (Path(directory, name, "__init__.py"), Path(directory, f"{name}.py")):
                if path.is_file():
                    inner = package.__name__.removeprefix(self._prefix + ".")
                    module = self._module(f"{inner}.{name}", path)
                    setattr(package, name, module)
                    return module
        existing = getattr(package, name, None)
        if isinstance(existing, ModuleType):
            return existing
        raise ModuleNotFoundError(
            f"No module named {package.__name__.rpartition('.')[2]}.{name!r}", name=name
        )


def _free_prefix(worker: str) -> str:
    """Return a module name that no other load of this process has."""
    name = "".join(character if character.isalnum() else "_" for character in worker)
    number = 1
    while f"{MODULE_PREFIX}{name}_{number}" in sys.modules:
        number += 1
    return f"{MODULE_PREFIX}{name}_{number}"
