"""WebSocket frames (RFC 6455): bytes to messages and back, without a socket.

The reader takes bytes as they come and yields whole messages and control frames; whatever the RFC forbids a
client to send raises `ProtocolError` with the close code that fits, after everything before it was
yielded. A large frame is unmasked piece by piece as it arrives, so that no single read costs long.

A liberty of Cloudflare's: a close code that the RFC has not assigned (1016 to 2999) is an ordinary one. The one
extension is compression (`deflate`): where it was agreed on, the first reserved bit of a message's first
frame says that the message is compressed. Every other reserved bit is an error.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from struct import pack, unpack_from

import msgspec
from workers.websocket import is_close_code

from dohost.server.deflate import Inflater, Unbounded, Undecodable, compressed_bytes_max

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
COMPRESSED = 0x40
_CONTINUATION = 0
_DATA = (_CONTINUATION, TEXT, BINARY)
_CONTROLS = (CLOSE, PING, PONG)
_CONTROL_BYTES_MAX = 125
_FIN, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_LENGTH_16, _LENGTH_64 = 126, 127
_MASK_BYTES = 4
PROTOCOL_ERROR, INVALID_TEXT, TOO_LARGE = 1002, 1007, 1009


class ProtocolError(Exception):
    """The client broke the protocol: the close code that it is to get, and why."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Control(msgspec.Struct, frozen=True):
    """A ping, a pong, or a close frame; of the last, `code` is None if it had none."""

    opcode: int
    payload: bytes = b""
    code: int | None = None
    reason: str = ""


Received = str | bytes | Control


class _Partial:
    """A frame whose payload is not complete."""

    __slots__ = ("is_compressed", "is_final", "left", "mask", "opcode", "payload")

    def __init__(self, first: int, size: int, mask: bytes) -> None:
        self.opcode = first & _OPCODE
        self.left = size
        self.mask = mask
        self.is_final = bool(first & _FIN)
        self.is_compressed = bool(first & COMPRESSED)
        self.payload: bytes | bytearray = b""

    def take(self, data: bytes, start: int) -> int:
        """Take what belongs to this frame from `data[start:]`; return where the rest begins."""
        end = min(start + self.left, len(data))
        if end == start:
            return end
        piece = _unmasked(data[start:end], self.mask)
        size = end - start
        self.left -= size
        if not self.payload and not self.left:
            self.payload = piece
            return end
        if not self.payload:
            self.payload = bytearray()
        self.payload += piece
        turn = size % _MASK_BYTES
        self.mask = self.mask[turn:] + self.mask[:turn]
        return end


class FrameReader:
    """Makes messages of what one client sends."""

    __slots__ = (
        "_bytes_max",
        "_decoder",
        "_fragments",
        "_inflater",
        "_inflates",
        "_message_bytes",
        "_opcode",
        "_partial",
        "_rest",
    )

    def __init__(self, *, message_bytes_max: int, inflates: bool = False) -> None:
        self._bytes_max = message_bytes_max
        self._inflates = inflates
        self._rest = b""
        self._partial: _Partial | None = None
        # Of the message whose fragments are under way: TEXT or BINARY, 0 between messages.
        self._opcode = 0
        # In one piece: a list would hold many times what a client sends in fragments of a byte.
        self._fragments: bytearray | None = None
        self._message_bytes = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._inflater: Inflater | None = None

    def feed(self, data: bytes) -> Iterator[Received]:
        """Yield what `data` completes, in order. Raises: ProtocolError; nothing may be fed after it."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        position = 0
        while True:
            partial = self._partial
            if partial is None:
                head = self._head(data, position)
                if head is None:
                    self._rest = data[position:]
                    return
                partial, position = head
                self._partial = partial
            position = partial.take(data, position)
            if partial.left:
                return
            self._partial = None
            received = self._completed(partial)
            if received is not None:
                yield received

    def _head(self, data: bytes, start: int) -> tuple[_Partial, int] | None:
        """Return the frame that begins at `start` and where its payload does, or None if cut off."""
        available = len(data) - start
        if available < 2:
            return None
        first, second = data[start], data[start + 1]
        opcode, length = first & _OPCODE, second & _LENGTH
        self._check_head(first, second)
        position = start + 2
        if length == _LENGTH_16:
            if available < 4:
                return None
            (length,) = unpack_from("!H", data, position)
            position += 2
        elif length == _LENGTH_64:
            if available < 10:
                return None
            (length,) = unpack_from("!Q", data, position)
            position += 8
        if opcode in _DATA:
            self._check_size(length, is_compressed=bool(first & COMPRESSED))
        if len(data) < position + _MASK_BYTES:
            return None
        mask = data[position : position + _MASK_BYTES]
        return _Partial(first, length, mask), position + _MASK_BYTES

    def _check_head(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        reserved = first & _RESERVED
        if reserved and not (
            self._inflates and reserved == COMPRESSED and opcode in (TEXT, BINARY)
        ):
            raise ProtocolError(PROTOCOL_ERROR, "Received a frame with a reserved bit set")
        if opcode in _CONTROLS:
            if not first & _FIN:
                raise ProtocolError(PROTOCOL_ERROR, "Received fragmented control frame")
            if second & _LENGTH > _CONTROL_BYTES_MAX:
                raise ProtocolError(PROTOCOL_ERROR, "Received control frame above 125 bytes")
        elif opcode not in _DATA:
            raise ProtocolError(PROTOCOL_ERROR, f"Unknown opcode {opcode}")
        elif opcode == _CONTINUATION and not self._opcode:
            raise ProtocolError(PROTOCOL_ERROR, "Unexpected continuation frame")
        elif opcode != _CONTINUATION and self._opcode:
            raise ProtocolError(PROTOCOL_ERROR, "Missing continuation frame")
        if not second & _MASKED:
            raise ProtocolError(PROTOCOL_ERROR, "Received unmasked frame")

    def _check_size(self, length: int, *, is_compressed: bool) -> None:
        if is_compressed or self._inflater is not None:
            # What it unfolds to is bounded when it does.
            if length > compressed_bytes_max(self._bytes_max):
                raise self._too_large(f"{length}, compressed,")
        elif self._message_bytes + length > self._bytes_max:
            raise self._too_large(f"{self._message_bytes + length}")

    def _too_large(self, size: str) -> ProtocolError:
        return ProtocolError(TOO_LARGE, f"Message is too large: {size} > {self._bytes_max}")

    def _completed(self, frame: _Partial) -> Received | None:
        """Return what a complete frame completes: a message, a control frame, or nothing yet."""
        if frame.opcode in _CONTROLS:
            return _control(frame.opcode, bytes(frame.payload))
        if frame.opcode != _CONTINUATION:
            if frame.is_final and not frame.is_compressed:
                return _text(frame.payload) if frame.opcode == TEXT else bytes(frame.payload)
            self._opcode = frame.opcode
            self._fragments = bytearray()
            if frame.opcode == TEXT:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
            if frame.is_compressed:
                self._inflater = Inflater(bytes_max=self._bytes_max)
        return self._fragment(frame)

    def _fragment(self, frame: _Partial) -> str | bytes | None:
        fragments = self._fragments
        assert fragments is not None, "a first fragment made it"
        payload = self._unfolded(frame)
        self._message_bytes += len(payload)
        fragments += payload
        if self._decoder is not None:
            # Each fragment is checked as it comes: text that can't become valid ends the connection early.
            try:
                self._decoder.decode(payload, frame.is_final)
            except UnicodeDecodeError as error:
                raise ProtocolError(INVALID_TEXT, "Received text that is not UTF-8") from error
        if not frame.is_final:
            return None
        is_text = self._opcode == TEXT
        self._opcode = self._message_bytes = 0
        self._fragments = self._decoder = self._inflater = None
        return fragments.decode() if is_text else bytes(fragments)

    def _unfolded(self, frame: _Partial) -> bytes | bytearray:
        if self._inflater is None:
            return frame.payload
        try:
            return self._inflater.inflate(frame.payload, is_final=frame.is_final)
        except Undecodable as error:
            raise ProtocolError(PROTOCOL_ERROR, "Invalid compressed data") from error
        except Unbounded as error:
            raise self._too_large(f"more than {self._bytes_max}") from error


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole, unmasked frame, as servers send them."""
    return encode_head(opcode, len(payload)) + payload


def encode_head(opcode: int, size: int) -> bytes:
    """Return what goes before a payload of `size` bytes; `opcode` may have the bit `COMPRESSED`."""
    first = _FIN | opcode
    if size < _LENGTH_16:
        return pack("!BB", first, size)
    if size < 1 << 16:
        return pack("!BBH", first, _LENGTH_16, size)
    return pack("!BBQ", first, _LENGTH_64, size)


def encode_close(code: int | None, reason: str) -> bytes:
    """Return a close frame; without a code it is empty."""
    return encode_frame(CLOSE, b"" if code is None else pack("!H", code) + reason.encode())


def _control(opcode: int, payload: bytes) -> Control:
    if opcode != CLOSE:
        return Control(opcode, payload)
    if not payload:
        return Control(CLOSE)
    if len(payload) == 1:
        raise ProtocolError(PROTOCOL_ERROR, "Received close frame with half a code")
    (code,) = unpack_from("!H", payload)
    if not is_close_code(code):
        raise ProtocolError(PROTOCOL_ERROR, f"Received close code {code}, which may not be sent")
    try:
        reason = payload[2:].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(INVALID_TEXT, "Received close reason that is not UTF-8") from error
    return Control(CLOSE, b"", code, reason)


def _text(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(INVALID_TEXT, "Received text that is not UTF-8") from error


def _unmasked(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = int.from_bytes((mask * (size // _MASK_BYTES + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")
