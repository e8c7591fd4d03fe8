"""The facets of an object's copy: they lie beside it as beside the object, and become those of another one.

Without an index beside it, a database that is imported has no facets, whatever lies there. Blocking.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from dohost.storage.copies import install, prepare_import
from dohost.storage.directories import sync_directory
from dohost.storage.facet_index import FacetIndex, facet_files, facet_path, index_path
from dohost.storage.removal import remove_files
from dohost.storage.schema import ObjectMeta


def number_of(path: Path) -> int:
    """Return the number of a facet by its file."""
    return int(path.stem.rpartition(".")[2])


def copy_index(path: Path, target: Path) -> None:
    """Copy the index beside `path`, if there is one, to be beside `target`."""
    if index_path(path).exists():
        shutil.copyfile(index_path(path), index_path(target))


def remove_facets(path: Path) -> None:
    """Delete the files and the index of an object's facets, the index last; they leave no past."""
    # By their names: the index may be damaged.
    for each in sorted(path.parent.glob(f"{path.stem}.*.sqlite")):
        remove_files(each)
    index_path(path).unlink(missing_ok=True)


def put_in_facets(source: Path, path: Path, owner: ObjectMeta) -> list[ObjectMeta]:
    """Make the facets beside `source` those of the object `owner`, whose file is `path`; none else stay.

    Returns whom the new files belong to. Raises: CallerError, Quarantined, OSError; then only some are
    there, and it is to be done again.
    """
    remove_facets(path)
    metas: list[ObjectMeta] = []
    if index_path(source).exists():
        index = FacetIndex(source)
        copy_index(source, path)
        for file in facet_files(source):
            number = number_of(file)
            meta = ObjectMeta(
                unique_key=owner.unique_key,
                object_id=f"{owner.object_id}.{number}",
                name=index.name(number),
            )
            target = facet_path(path, number)
            prepared = target.with_suffix(".importing")
            try:
                prepare_import(file, prepared, meta)
                install(prepared, target)
            finally:
                prepared.unlink(missing_ok=True)
            metas.append(meta)
    sync_directory(path.parent)
    return metas
