"""The namespaces of a host: which Durable Object class of which worker runs under which unique key."""

from __future__ import annotations

from collections.abc import Sequence

from dohost.config import DurableObjectBinding, WorkerConfig
from dohost.objects.namespace import DurableObjectNamespace
from dohost.runtime.cpu import cpu_limit_s
from dohost.runtime.layout import Layout
from dohost.runtime.parts import Code, Parts
from dohost.runtime.registry import ObjectClass
from dohost.runtime.worker import Generation


class ClassTable:
    """Every class that has objects here, by unique key; `layout` says what the keys are."""

    def __init__(self) -> None:
        self.by_key: dict[str, ObjectClass] = {}
        self.layout = Layout()

    def ensure(self, generations: Sequence[Generation], parts: Parts) -> None:
        """Make the namespaces that the workers name, so that bindings can point at them."""
        for generation in generations:
            for class_name in generation.object_classes():
                self._ensure(generation.config, class_name, parts)

    def swap(self, generation: Generation, parts: Parts, *, grace_s: float) -> None:
        """Run new instances of a worker's classes with its code."""
        for class_name in generation.object_classes():
            found = self._ensure(generation.config, class_name, parts)
            found.class_name = class_name
            code = code_of(generation, class_name, is_strict=parts.files.is_strict)
            found.load(code, grace_s=grace_s)

    def known(self, worker: str, class_name: str) -> ObjectClass | None:
        """Return a worker's class, if it has objects here."""
        return self.by_key.get(self.layout.unique_key(worker, class_name))

    def namespace(
        self, binding: DurableObjectBinding, own: WorkerConfig
    ) -> DurableObjectNamespace | None:
        """Return the namespace that `binding` means, or None if its worker is not in this process."""
        found = self.known(binding.script_name or own.name, binding.class_name)
        return None if found is None else found.namespace

    def _ensure(self, config: WorkerConfig, class_name: str, parts: Parts) -> ObjectClass:
        unique_key = self.layout.unique_key(config.name, class_name)
        found = self.by_key.get(unique_key)
        if found is None:
            found = self.by_key[unique_key] = ObjectClass(
                parts,
                unique_key,
                class_name,
                is_sql_enabled=config.classes.get(class_name) == "sqlite",
            )
        return found


def code_of(generation: Generation, class_name: str, *, is_strict: bool) -> Code:
    """Return what instances of a class are made of in one generation of its worker."""
    return Code(
        cls=generation.exports[class_name],
        env=generation.env,
        exports=generation.loopback,
        context=generation.context,
        switching=generation.switching,
        delete_all_deletes_alarm=generation.has_flag(
            "delete_all_deletes_alarm", since="2026-02-24"
        ),
        replies_to_close=generation.replies_to_close,
        cpu_limit_s=cpu_limit_s(generation.config.cpu_ms, is_strict=is_strict),
    )
