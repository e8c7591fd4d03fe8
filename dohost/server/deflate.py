"""Compressed WebSocket messages (permessage-deflate, RFC 7692), each compressed by itself.

Both sides are always told `no_context_takeover`: a window that lives from message to message would cost
every socket some 300 KiB while it sleeps, and a sleeping socket is to cost next to nothing. So no state is
left between messages, and the bound on a message is a bound on what a compressed one unfolds to.

What is agreed on is what Cloudflare's runtime agrees on: the first offer that can be kept. A window of 8 bits
can't be written by zlib; a client that asks for it gets its messages uncompressed, which the RFC allows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

EXTENSION = "permessage-deflate"
WINDOW_BITS_MIN, WINDOW_BITS_MAX = 8, 15
# Alone, without the messages before it, text that is shorter hardly ever gets shorter still.
COMPRESSED_BYTES_MIN = 64
# Compressing holds the loop; a longer message goes out as it is.
COMPRESSED_BYTES_MAX = 1 << 20
# The fastest: a server has less time for a message than the network.
_LEVEL = 1
_TAIL = b"\x00\x00\xff\xff"
# What a final block may be followed by: the header of an empty one, whose rest is the tail (RFC 7692 §7.2.3.4).
_AFTER_FINAL_BLOCK = (_TAIL, b"\x00" + _TAIL)
_FLAGS = frozenset(("client_no_context_takeover", "server_no_context_takeover"))
_WINDOWS = frozenset(("client_max_window_bits", "server_max_window_bits"))


class Agreement(msgspec.Struct, frozen=True):
    """What both sides do: the field of the answer, and the window that the client can unfold."""

    field: str
    window_bits: int


class Undecodable(Exception):
    """Compressed data that is none."""


class Unbounded(Exception):
    """Compressed data that unfolds to more than it may."""


def agree(offers: Iterable[str]) -> Agreement | None:
    """Return the agreement to the values of the client's `Sec-WebSocket-Extensions`, if there is any."""
    for offer in ",".join(offers).split(","):
        name, *texts = [each.strip() for each in offer.split(";")]
        parameters = _parameters(texts) if name == EXTENSION else None
        if parameters is not None:
            return _agreement(parameters)
    return None


def _parameters(texts: list[str]) -> dict[str, int | None] | None:
    """Return the parameters of an offer, or None if it is none that can be accepted (§7.1)."""
    parameters: dict[str, int | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name in parameters:
            return None
        if name in _FLAGS and not equals:
            parameters[name] = None
        elif name in _WINDOWS and equals:
            if not (value.isascii() and value.isdigit() and not value.startswith("0")):
                return None
            parameters[name] = int(value[:3])
            if not WINDOW_BITS_MIN <= int(value[:3]) <= WINDOW_BITS_MAX:
                return None
        elif name == "client_max_window_bits":
            parameters[name] = WINDOW_BITS_MAX
        else:
            return None
    return parameters


def _agreement(parameters: dict[str, int | None]) -> Agreement:
    field = f"{EXTENSION}; client_no_context_takeover; server_no_context_takeover"
    for name in sorted(_WINDOWS & parameters.keys()):
        field += f"; {name}={parameters[name]}"
    return Agreement(field, parameters.get("server_max_window_bits") or WINDOW_BITS_MAX)


def compressed(payload: bytes, window_bits: int) -> bytes | None:
    """Return a message's payload compressed, or None if it goes out as it is."""
    if (
        not COMPRESSED_BYTES_MIN <= len(payload) <= COMPRESSED_BYTES_MAX
        or window_bits == WINDOW_BITS_MIN
    ):
        return None
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -window_bits)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data[: -len(_TAIL)] if len(data) - len(_TAIL) < len(payload) else None


class Inflater:
    """Unfolds one message, fragment by fragment, to at most `bytes_max`."""

    __slots__ = ("_decompressor", "_left")

    def __init__(self, *, bytes_max: int) -> None:
        self._decompressor = zlib.decompressobj(-WINDOW_BITS_MAX)
        self._left = bytes_max

    def inflate(self, data: bytes | bytearray, *, is_final: bool) -> bytes:
        """Return what a fragment unfolds to. Raises: Undecodable, Unbounded."""
        decompressor = self._decompressor
        try:
            unfolded = decompressor.decompress(data + _TAIL if is_final else data, self._left + 1)
        except zlib.error as error:
            raise Undecodable from error
        self._left -= len(unfolded)
        if self._left < 0:
            raise Unbounded
        rest = decompressor.unused_data
        if rest and not (is_final and rest in _AFTER_FINAL_BLOCK):
            raise Undecodable
        return unfolded


def compressed_bytes_max(bytes_max: int) -> int:
    """Return how long a compressed message may be: one that does not get shorter gets a little longer."""
    return bytes_max + (bytes_max >> 10) + 64
