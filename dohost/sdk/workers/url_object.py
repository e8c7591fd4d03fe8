"""URL and URLSearchParams: JavaScript's mutable URL objects.

A `URL` and its `searchParams` show the same query: a change of either is seen in the other. Not here:
`URL.createObjectURL`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from msgspec.structs import replace

from dohost.errors import JsTypeError
from workers import url_changes
from workers.url import DEFAULT_PORTS, parse
from workers.usv_text import whole_text
from workers.values import Transferable

Pairs = list[tuple[str, str]]


class URLSearchParams(Transferable):
    """An ordered multimap of query parameters."""

    def __init__(self, init: str | Mapping[str, object] | Pairs | URLSearchParams = "") -> None:
        self._changed: Callable[[str], None] | None = None
        self._pairs = _to_pairs(init)

    @classmethod
    def new(
        cls, init: str | Mapping[str, object] | Pairs | URLSearchParams = ""
    ) -> URLSearchParams:
        return cls(init)

    def get(self, name: str) -> str | None:
        """Return the first value of a parameter, or None."""
        return next((value for key, value in self._pairs if key == name), None)

    def getAll(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def has(self, name: str, value: object = None) -> bool:
        """Tell whether there is a parameter of the name, and of the value if one is given."""
        return any(_is_meant(pair, name, value) for pair in self._pairs)

    def append(self, name: str, value: object) -> None:
        self._replace([*self._pairs, (name, str(value))])

    def set(self, name: str, value: object) -> None:
        """Replace every value of a parameter by one, at the place of the first."""
        pairs: Pairs = []
        is_set = False
        for key, old in self._pairs:
            if key != name:
                pairs.append((key, old))
            elif not is_set:
                pairs.append((name, str(value)))
                is_set = True
        self._replace(pairs if is_set else [*pairs, (name, str(value))])

    def delete(self, name: str, value: object = None) -> None:
        """Remove every parameter of the name, or those of the value alone if one is given."""
        self._replace([pair for pair in self._pairs if not _is_meant(pair, name, value)])

    def sort(self) -> None:
        """Sort by name as JavaScript compares text; equal names keep their order."""
        self._replace(sorted(self._pairs, key=lambda pair: pair[0].encode("utf-16-be", "replace")))

    def keys(self) -> Iterator[str]:
        return iter([name for name, _ in self._pairs])

    def values(self) -> Iterator[str]:
        return iter([value for _, value in self._pairs])

    def entries(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs.copy())

    def toString(self) -> str:
        text = urlencode(
            [(whole_text(name), whole_text(value)) for name, value in self._pairs], safe="*"
        )
        return text.replace("~", "%7E")

    @property
    def size(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self.entries()

    def __len__(self) -> int:
        return len(self._pairs)

    def __str__(self) -> str:
        return self.toString()

    def _replace(self, pairs: Pairs) -> None:
        self._pairs = pairs
        if self._changed is not None:
            self._changed(self.toString())


class URL(Transferable):
    """A parsed URL. Raises: JsTypeError `Invalid URL: …`."""

    def __init__(self, url: object, base: object = None) -> None:
        self._url = parse(str(url), None if base is None else str(base))
        self.searchParams = URLSearchParams(parse_pairs(self._url.query or ""))
        self.searchParams._changed = self._take_query

    @classmethod
    def new(cls, url: object, base: object = None) -> URL:
        return cls(url, base)

    @staticmethod
    def canParse(url: str, base: str | None = None) -> bool:
        try:
            parse(url, base)
        except JsTypeError:
            return False
        return True

    @property
    def href(self) -> str:
        return self._url.href

    @href.setter
    def href(self, value: object) -> None:
        self._url = parse(str(value))
        self._read_query()

    @property
    def protocol(self) -> str:
        return f"{self._url.scheme}:"

    @protocol.setter
    def protocol(self, value: object) -> None:
        self._url = url_changes.with_protocol(self._url, str(value))

    @property
    def username(self) -> str:
        return self._url.username

    @username.setter
    def username(self, value: object) -> None:
        self._url = url_changes.with_user(self._url, username=str(value))

    @property
    def password(self) -> str:
        return self._url.password

    @password.setter
    def password(self, value: object) -> None:
        self._url = url_changes.with_user(self._url, password=str(value))

    @property
    def origin(self) -> str:
        return f"{self.protocol}//{self.host}" if self._url.scheme in DEFAULT_PORTS else "null"

    @property
    def host(self) -> str:
        return self._url.authority

    @host.setter
    def host(self, value: object) -> None:
        self._url = url_changes.with_host(self._url, str(value))

    @property
    def hostname(self) -> str:
        return self._url.host or ""

    @hostname.setter
    def hostname(self, value: object) -> None:
        self._url = url_changes.with_hostname(self._url, str(value))

    @property
    def port(self) -> str:
        return self._url.port

    @port.setter
    def port(self, value: object) -> None:
        self._url = url_changes.with_port(self._url, str(value))

    @property
    def pathname(self) -> str:
        return self._url.path

    @pathname.setter
    def pathname(self, value: object) -> None:
        self._url = url_changes.with_pathname(self._url, str(value))

    @property
    def search(self) -> str:
        return f"?{self._url.query}" if self._url.query else ""

    @search.setter
    def search(self, value: object) -> None:
        self._url = url_changes.with_search(self._url, str(value))
        self._read_query()

    @property
    def hash(self) -> str:
        return f"#{self._url.fragment}" if self._url.fragment else ""

    @hash.setter
    def hash(self, value: object) -> None:
        self._url = url_changes.with_hash(self._url, str(value))

    def toString(self) -> str:
        return self.href

    def __str__(self) -> str:
        return self.href

    def __repr__(self) -> str:
        return f"URL({self.href!r})"

    def _read_query(self) -> None:
        self.searchParams._pairs = parse_pairs(self._url.query or "")

    def _take_query(self, query: str) -> None:
        self._url = replace(self._url, query=query or None)


def _is_meant(pair: tuple[str, str], name: str, value: object) -> bool:
    return pair[0] == name and (value is None or pair[1] == str(value))


def parse_pairs(query: str) -> Pairs:
    """Return the parameters of a query, in order."""
    return parse_qsl(query, keep_blank_values=True)


def _to_pairs(init: str | Mapping[str, object] | Pairs | URLSearchParams) -> Pairs:
    match init:
        case URLSearchParams():
            return init._pairs.copy()
        case str():
            return parse_pairs(init.removeprefix("?"))
        case Mapping():
            return [(name, str(value)) for name, value in init.items()]
        case _:
            return [(name, str(value)) for name, value in init]
