"""A server on this machine that answers as its script says: breaking off, stalling, lying."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BODY, GARBAGE = random.Random(0).randbytes(5000), random.Random(1).randbytes(5000)


class Handler(BaseHTTPRequestHandler):
    """Answers a request with the next reply of the server's script, and as a good server when that is used up."""

    server: Server

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers["Range"])
        reply = self.server.script.pop(0) if self.server.script else send()
        reply(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """script: replies to come; ranges: the Range header of every request so far; path, part: the file's places."""

    path: Path
    part: Path

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Reply] = []
        self.ranges: list[str | None] = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/files"

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of this server."""


Reply = Callable[[Handler], None]


def send(body: bytes = BODY, until: int | None = None, ranges: bool = True) -> Reply:
    """The bytes asked for, breaking off at position `until` of the file; all bytes, if `ranges` are not known."""

    def reply(request: Handler) -> None:
        start = int((request.headers["Range"] or "bytes=0-")[len("bytes=") : -1]) if ranges else 0
        length = len(body) - start
        if start:
            request.head(206, Content_Length=length, Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.head(200, Content_Length=length)
        request.wfile.write(body[start:until])

    return reply


def stall(at: int) -> Reply:
    """Breaks off as `send` does, but keeps the connection."""

    def reply(request: Handler) -> None:
        send(until=at)(request)
        request.wfile.flush()
        request.server.released.wait(60)

    return reply


def reset(at: int) -> Reply:
    """Breaks off as `send` does, but without the handshake that ends a connection."""

    def reply(request: Handler) -> None:
        send(until=at)(request)
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.connection.close()

    return reply


def answer(status: int, body: bytes = b"", **headers: object) -> Reply:
    """Any answer; no length is announced unless it is in `headers`."""

    def reply(request: Handler) -> None:
        request.head(status, **headers)
        request.wfile.write(body)

    return reply
