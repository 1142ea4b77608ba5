# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's side of a WebSocket (RFC 6455): the answer to the handshake, and the frames after it."""

from __future__ import annotations

import base64
import hashlib
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase

# The constant that the protocol adds to every client's key.
_KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA
_LAST, _MASKED = 0x80, 0x80
_NORMAL_CLOSURE = struct.pack("!H", 1000)


def accept_key(key: str) -> str:
    """What proves to the client that its handshake was understood."""
    return base64.b64encode(hashlib.sha1(f"{key}{_KEY_SUFFIX}".encode()).digest()).decode()


@dataclass(frozen=True)
class _Frame:
    opcode: int
    payload: bytes
    last: bool


class WebSocket:
    """Messages to and from one client. One thread may read while another sends."""

    def __init__(self, reader: BufferedIOBase, writer: BufferedIOBase) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = threading.Lock()
        self._closed = False

    def messages(self) -> Iterator[bytes]:
        """The client's messages until it closes or leaves. Its pings are answered on the way."""
        message = b""
        while (frame := self._read()) is not None and frame.opcode != _CLOSE:
            if frame.opcode == _PING:
                self._write(_PONG, frame.payload)
            elif frame.opcode != _PONG:
                message += frame.payload
                if frame.last:
                    yield message
                    message = b""
        self.close()

    def send(self, message: bytes) -> None:
        self._write(_BINARY, message)

    def close(self) -> None:
        """Say once that nothing follows: as the one who ends it, or as the answer to the client who did."""
        with self._sending:
            first, self._closed = not self._closed, True
        if first:
            self._write(_CLOSE, _NORMAL_CLOSURE)

    def _read(self) -> _Frame | None:
        """The next frame; None when the client is gone or does not keep to the protocol."""
        start = self._exactly(2)
        if start is None or not start[1] & _MASKED:
            return None
        length: int = start[1] & 0x7F
        if length >= 126:
            size = 2 if length == 126 else 8
            if (extended := self._exactly(size)) is None:
                return None
            length = int.from_bytes(extended)
        mask, payload = self._exactly(4), self._exactly(length)
        if mask is None or payload is None:
            return None
        return _Frame(start[0] & 0x0F, _unmasked(payload, mask), bool(start[0] & _LAST))

    def _exactly(self, count: int) -> bytes | None:
        try:
            found = self._reader.read(count)
        except (OSError, ValueError):  # ValueError: closed on this side
            return None
        return found if len(found) == count else None

    def _write(self, opcode: int, payload: bytes) -> None:
        with self._sending:
            self._writer.write(bytes([_LAST | opcode]) + _length(len(payload)) + payload)
            self._writer.flush()


def _length(length: int) -> bytes:
    if length < 126:
        return bytes([length])
    return struct.pack("!BH", 126, length) if length < 1 << 16 else struct.pack("!BQ", 127, length)


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(len(payload))
