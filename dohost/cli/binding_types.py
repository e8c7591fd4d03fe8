"""The types of a worker's bindings, as the text of a stub file for editors and type checkers.

A binding of a class becomes a namespace of stubs whose methods are the ones that can be called, each with an
awaitable result and without keywords, which no call passes as such. What an annotation names is imported from where it is defined; an annotation that can't
be resolved or written down is `Any`. The file stands alone: Cloudflare's network knows nothing of dohost.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping

from workers import DurableObject, WorkerEntrypoint

from dohost.config import WorkerConfig
from dohost.objects.rpc import method_table
from dohost.runtime.worker import Generation

_HEAD = '''"""Types of the bindings of this worker, written by `dohost types`. Use them as

    if TYPE_CHECKING:
        from {module} import Env

and declare `env: Env` in the body of a class.
"""

from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

from workers import Request, Response
{imports}
StubType = TypeVar("StubType")

class Fetcher:
    def fetch(self, resource: str | Request, **options: Any) -> Awaitable[Response]: ...

class DurableObjectId:
    name: str | None
    def toString(self) -> str: ...
    def equals(self, other: DurableObjectId) -> bool: ...

class DurableObjectStub(Fetcher):
    id: DurableObjectId
    name: str | None

class DurableObjectNamespace(Generic[StubType]):
    def idFromName(self, name: str) -> DurableObjectId: ...
    def idFromString(self, text: str) -> DurableObjectId: ...
    def newUniqueId(self) -> DurableObjectId: ...
    def get(self, id: DurableObjectId) -> StubType: ...
    def getByName(self, name: str) -> StubType: ...
'''


def env_types(generation: Generation, others: Mapping[str, Generation], *, module: str) -> str:
    """Return the stub file `module` for one worker; `others` are all the workers of the process."""
    writer = _Writer()
    config = generation.config
    lines = [f"    {name}: {_variable_type(value)}" for name, value in config.vars.items()]
    for durable in config.durable_objects:
        owner = others.get(durable.script_name or config.name)
        cls = None if owner is None else owner.exports.get(durable.class_name)
        stub = "DurableObjectStub" if cls is None else writer.stub(cls, "DurableObjectStub")
        lines.append(f"    {durable.name}: DurableObjectNamespace[{stub}]")
    for service in config.services:
        owner = others.get(service.service)
        cls = None if owner is None else owner.exports.get(service.entrypoint or "Default")
        stub = "Fetcher" if cls is None else writer.stub(cls, "Fetcher")
        lines.append(f"    {service.binding}: {stub}")
    if config.assets is not None and config.assets.binding is not None:
        lines.append(f"    {config.assets.binding}: Fetcher")
    lines += [f"    {name}: Any" for name in _untyped(config)]
    imports = "".join(f"{line}\n" for line in sorted(writer.imports))
    parts = [_HEAD.format(module=module, imports=imports), *writer.stubs.values()]
    return "\n".join([*parts, "class Env:", *(lines or ["    pass"])]) + "\n"


class _Writer:
    """Collects the stubs that bindings need, and what their annotations import."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        self.stubs: dict[type, str] = {}

    def stub(self, cls: type, base: str) -> str:
        """Return the name of the stub of `cls`; two classes of one name are told apart by a number."""
        taken = [each for each in self.stubs if each.__name__ == cls.__name__ and each is not cls]
        name = f"{cls.__name__}Stub{len(taken) + 1 if taken else ''}"
        if cls not in self.stubs:
            table = method_table(cls, roots=(DurableObject, WorkerEntrypoint))
            methods = [self._method(*item) for item in sorted(table.items())]
            body = "\n".join(methods or ["    pass"])
            self.stubs[cls] = f"class {name}({base}):\n{body}\n"
        return name

    def _method(self, name: str, function: Callable[..., object]) -> str:
        try:
            hints = typing.get_type_hints(function)
        except (NameError, AttributeError, TypeError):
            # What only a type checker imports can't be looked up here.
            hints = {}
        parameters = ["self"]
        rest = ""
        for parameter in list(inspect.signature(function).parameters.values())[1:]:
            annotation = self.render(hints.get(parameter.name, typing.Any))
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest = f", *{parameter.name}: {annotation}"
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                default = "" if parameter.default is parameter.empty else " = ..."
                parameters.append(f"{parameter.name}: {annotation}{default}")
        result = self.render(hints.get("return", typing.Any))
        return f"    def {name}({', '.join(parameters)}, /{rest}) -> Awaitable[{result}]: ..."

    def render(self, hint: object) -> str:
        """Return an annotation as text."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if hint is None or hint is type(None):
            return "None"
        if hint is typing.Any:
            return "Any"
        if origin in (typing.Union, types.UnionType):
            return " | ".join(self.render(each) for each in arguments)
        if origin is typing.Literal:
            return f"{self._name(typing.__name__, 'Literal')}[{', '.join(map(repr, arguments))}]"
        if isinstance(origin, type) and origin.__name__ != "Callable" and arguments:
            inner = ["..." if each is Ellipsis else self.render(each) for each in arguments]
            return f"{self.render(origin)}[{', '.join(inner)}]"
        if isinstance(hint, type) and "<" not in hint.__qualname__:
            # A worker's modules have a private prefix in this process, and none in its source.
            head, _, rest = hint.__module__.partition(".")
            module = rest if head.startswith("dohost_worker_") else hint.__module__
            return self._name(module, hint.__qualname__)
        return "Any"

    def _name(self, module: str, name: str) -> str:
        # Under a name that no method has: `list` and `users` are good names for methods.
        alias = "_" + module.replace(".", "_")
        self.imports.add(f"import {module} as {alias}")
        return f"{alias}.{name}"


def _variable_type(value: object) -> str:
    match value:
        case str():
            return "str"
        case bool():
            return "bool"
        case int() | float():
            return "float"
        case list() | tuple():
            return "list[Any]"
        case Mapping():
            return "dict[str, Any]"
        case _:
            return "Any"


def _untyped(config: WorkerConfig) -> list[str]:
    names = [each.binding for each in config.kv_namespaces]
    names += [each.binding for each in config.r2_buckets]
    names += [each.binding for each in config.d1_databases]
    names += [each.binding for each in config.queue_producers]
    names += [each.name for each in config.ratelimits]
    names += [each.binding for each in config.analytics_engine_datasets]
    names += [each.binding for each in config.hyperdrive]
    names += [each.binding for each in config.secrets_store_secrets]
    return names + [each.binding for each in config.unsupported]
