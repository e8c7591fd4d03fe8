"""What a data directory's namespaces are called: `<persist>/layout.json`.

A namespace's unique key names its directory and takes part in its objects' ids. It is `<worker>-<Class>`
as in wrangler, and it stays with the objects for life, as Cloudflare's namespace ids do: when a migration
renames a class or gives it to another Worker, the new name is mapped to the old key, so that every object
is found by its name, by an id that was stored somewhere, and in the file where it was. A class that then
takes the old name gets a key of its own.

The file also says which migrations have been applied, and the format of the whole directory. It is
replaced as a whole, so a crash leaves the old or the new one; without it a directory is of format 1 and
no migration has been applied.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import msgspec

from dohost.errors import CallerError
from dohost.storage.durable_file import write_durably

FORMAT = 1
LAYOUT_NAME = "layout.json"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """`namespaces`: by worker and class, where the key isn't `<worker>-<Class>`; `applied`: tags by worker."""

    format: int = FORMAT
    namespaces: Mapping[str, Mapping[str, str]] = {}
    applied: Mapping[str, tuple[str, ...]] = {}

    def unique_key(self, worker: str, class_name: str) -> str:
        """Return the key of a class's namespace."""
        mapped = self.namespaces.get(worker, {}).get(class_name)
        if mapped is not None:
            return mapped
        taken = {key for classes in self.namespaces.values() for key in classes.values()}
        own = f"{worker}-{class_name}"
        # A class name can't hold a dash, so no other class's key looks like these.
        names = itertools.chain((own,), (f"{own}-{number}" for number in itertools.count(2)))
        return next(name for name in names if name not in taken)

    def with_namespace(self, worker: str, class_name: str, unique_key: str | None) -> Layout:
        """Return a layout in which a class has this key; None: the one that is its own."""
        classes = {k: v for k, v in self.namespaces.get(worker, {}).items() if k != class_name}
        if unique_key is not None:
            classes[class_name] = unique_key
        namespaces = {k: v for k, v in self.namespaces.items() if k != worker}
        if classes:
            namespaces[worker] = classes
        return msgspec.structs.replace(self, namespaces=namespaces)

    def with_applied(self, worker: str, tags: tuple[str, ...]) -> Layout:
        """Return a layout in which these migrations of a worker are done."""
        return msgspec.structs.replace(self, applied={**self.applied, worker: tags})


def read_layout(persist: Path) -> Layout:
    """Return the layout of a data directory, which need not exist; changes nothing.

    Raises: CallerError if a newer dohost wrote it, or if it can't be read.
    """
    path = persist / LAYOUT_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Layout()
    try:
        version = msgspec.json.decode(content, type=_Versioned).format
        if version > FORMAT:
            raise CallerError(
                f"The data directory {persist} has format {version}, which a newer dohost wrote; this "
                f"one knows formats up to {FORMAT}. Nothing was touched: use the newer dohost, or "
                "another directory with --persist-to DIR."
            )
        return msgspec.json.decode(content, type=Layout)
    except msgspec.MsgspecError as error:
        raise CallerError(
            f"{path} is damaged ({error}). It says which migrations were applied; put it back from a "
            "backup, or delete it if no class was ever renamed, transferred or deleted."
        ) from error


def write_layout(persist: Path, layout: Layout) -> None:
    """Replace the layout of a data directory durably."""
    content = msgspec.json.format(msgspec.json.encode(layout, order="sorted"), indent=2)
    write_durably(persist / LAYOUT_NAME, content + b"\n")


class _Versioned(msgspec.Struct, frozen=True, kw_only=True):
    format: int
