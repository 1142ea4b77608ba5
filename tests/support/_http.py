# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport: HTTP/1.1 with keep-alive on the loopback, one buffered write per answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ._status import Json
from ._websocket import WebSocket, accept_key


@dataclass(frozen=True)
class HttpRequest:
    method: str
    path: str
    query: dict[str, list[str]]
    content_type: str
    accept: str
    authorization: str
    data: bytes
    # Set where the client asks for a WebSocket.
    websocket_key: str = ""
    protocols: tuple[str, ...] = ()

    def parameter(self, name: str) -> str:
        return self.query.get(name, [""])[-1]


@dataclass(frozen=True)
class HttpResponse:
    status: int
    body: Json | str
    warnings: list[str] = field(default_factory=list)

    def encoded(self) -> bytes:
        if isinstance(self.body, str):
            content, content_type = self.body.encode(), "text/plain; charset=utf-8"
        else:
            content, content_type = json.dumps(self.body, separators=(",", ":")).encode() + b"\n", "application/json"
        lines = [
            f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(content)}",
            *(f"Warning: 299 - {json.dumps(text)}" for text in self.warnings),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


@dataclass(frozen=True)
class Upgrade:
    """The connection becomes a WebSocket, and ends when it was served."""

    protocol: str
    serve: Callable[[WebSocket], None]
    status: int = 101

    def encoded(self, key: str) -> bytes:
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(key)}",
            f"Sec-WebSocket-Protocol: {self.protocol}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


# None as an answer means: close the connection without one.
Handle = Callable[[HttpRequest], HttpResponse | Upgrade | None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without these two every answer waits for a delayed acknowledgement, about 40 ms.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: HttpServer

    def _answer(self) -> None:
        request = self._request()
        response = self.server.handle(request)
        if isinstance(response, HttpResponse):
            self.wfile.write(response.encoded())
            self.wfile.flush()
            return
        self.close_connection = True
        if response is not None:
            self._serve(response, request.websocket_key)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _request(self) -> HttpRequest:
        length = int(self.headers.get("Content-Length") or 0)
        url = urlsplit(self.path)
        is_websocket = (self.headers.get("Upgrade") or "").lower() == "websocket"
        protocols = (self.headers.get("Sec-WebSocket-Protocol") or "").split(",")
        return HttpRequest(
            method=self.command,
            path=url.path,
            query=parse_qs(url.query, keep_blank_values=True),
            content_type=(self.headers.get("Content-Type") or "").partition(";")[0].strip(),
            accept=self.headers.get("Accept") or "",
            authorization=self.headers.get("Authorization") or "",
            data=self.rfile.read(length) if length else b"",
            websocket_key=(self.headers.get("Sec-WebSocket-Key") or "") if is_websocket else "",
            protocols=tuple(name.strip() for name in protocols if name.strip()),
        )

    def _serve(self, upgrade: Upgrade, key: str) -> None:
        self.wfile.write(upgrade.encoded(key))
        self.wfile.flush()
        upgrade.serve(WebSocket(self.rfile, self.wfile))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """The emulator keeps its own request log."""


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handle: Handle, certificate: tuple[str, str] | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # Each client is greeted in a thread of its own.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.handle = handle
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and end the connections that clients keep alive."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no failure of the emulator; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
