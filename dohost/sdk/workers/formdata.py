"""FormData: an ordered multimap of fields, and how it is written.

Encoding is `multipart/form-data` as the Fetch standard writes it; the boundary is a digest of the parts, so
that encoding needs no randomness and the boundary cannot occur in what it separates (a part would have
to contain its own digest). `form_parser.py` reads forms. This file must not know about requests or
responses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, MutableMapping

from dohost.errors import JsTypeError
from workers.blob import Blob, File
from workers.usv_text import utf8
from workers.values import StreamMover, Transferable

FormDataValue = str | Blob | File


class FormData(MutableMapping[str, FormDataValue], Transferable):
    """Fields of a form: `form[name]` is the first value, `keys/values/items` have every one."""

    __slots__ = ("_fields",)

    def __init__(
        self, init: FormData | Mapping[str, FormDataValue | list[FormDataValue]] | None = None
    ) -> None:
        self._fields: list[tuple[str, FormDataValue]] = []
        if isinstance(init, FormData):
            self._fields = init._fields.copy()
        elif init is not None:
            for name, value in init.items():
                for item in value if isinstance(value, list) else [value]:
                    self.append(name, item)

    def append(self, name: str, value: FormDataValue, filename: str | None = None) -> None:
        """Add a value to a field; a Blob becomes a File named `filename` or "blob"."""
        if isinstance(value, Blob):
            if filename is not None or not isinstance(value, File):
                value = File([value], filename or "blob", value.content_type)
        elif filename is not None:
            raise JsTypeError("FormData.append: a filename needs a Blob or File value.")
        else:
            value = str(value)
        self._fields.append((name, value))

    def delete(self, name: str) -> None:
        """Remove every value of a field; nothing happens if there is none."""
        self._fields = [field for field in self._fields if field[0] != name]

    def get_all(self, name: str) -> list[FormDataValue]:
        return [value for key, value in self._fields if key == name]

    getAll = get_all

    def has(self, name: str) -> bool:
        return name in self

    def set(self, name: str, value: FormDataValue) -> None:
        self[name] = value

    # Duplicates are kept, as in JavaScript, so these are no set-like views.
    def keys(self) -> Iterator[str]:  # type: ignore[override]  # see above
        return iter([name for name, _ in self._fields])

    def values(self) -> Iterator[FormDataValue]:  # type: ignore[override]  # see above
        return iter([value for _, value in self._fields])

    def items(self) -> Iterator[tuple[str, FormDataValue]]:  # type: ignore[override]  # see above
        return iter(self._fields.copy())

    entries = items

    @property
    def js_object(self) -> FormData:
        return self

    def transfer(self, streams: StreamMover) -> FormData:
        return FormData(self)

    def encode(self) -> tuple[bytes, str]:
        """Return the form as multipart/form-data and the content type with its boundary."""
        parts = [_encode_part(name, value) for name, value in self._fields]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        boundary = f"----dohost{digest.hexdigest()[:40]}"
        line = f"--{boundary}".encode()
        body = b"".join([line + b"\r\n" + part + b"\r\n" for part in parts]) + line + b"--\r\n"
        return body, f"multipart/form-data; boundary={boundary}"

    def __getitem__(self, name: str) -> FormDataValue:
        for key, value in self._fields:
            if key == name:
                return value
        raise KeyError(name)

    def __setitem__(self, name: str, value: FormDataValue) -> None:
        """Replace every value of the field by one, at the place of the first."""
        fresh = FormData()
        fresh.append(name, value)
        names = [key for key, _ in self._fields]
        if name in names:
            place = names.index(name)
            rest = [field for field in self._fields[place:] if field[0] != name]
            self._fields = [*self._fields[:place], *fresh._fields, *rest]
        else:
            self._fields += fresh._fields

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self.delete(name)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._fields)

    def __iter__(self) -> Iterator[str]:
        return self.keys()

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"FormData({self._fields!r})"


def _encode_part(name: str, value: FormDataValue) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{_escape(name)}"'
    if isinstance(value, File):
        kind = value.content_type or "application/octet-stream"
        head = f'{disposition}; filename="{_escape(value.name)}"\r\nContent-Type: {kind}\r\n\r\n'
        return utf8(head) + value._content
    return utf8(f"{disposition}\r\n\r\n{value}")


def _escape(name: str) -> str:
    """Escape a name as the HTML standard says for multipart/form-data."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
