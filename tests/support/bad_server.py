"""A server on this machine that answers as its script says: breaking off, stalling, lying."""

import random
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BODY, GARBAGE = random.Random(0).randbytes(5000), random.Random(1).randbytes(5000)
Reply = Callable[[socket.socket, str | None], None]  # a connection, and the Range header of what was asked on it


class Server(threading.Thread):
    """Answers each request with the next reply of its script, and as a good server when that is used up.

    ranges: the Range header of every request so far; path, part: the file's places.
    """

    path: Path
    part: Path

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/files"
        self.script: list[Reply] = []
        self.ranges: list[str | None] = []

    def run(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            found = re.search(rb"\r\nRange: (.*)\r\n", connection.recv(65536))
            self.ranges.append(found[1].decode() if found else None)
            with suppress(OSError):  # a client that hangs up is no error of this server
                (self.script.pop(0) if self.script else send())(connection, self.ranges[-1])
                if connection not in STALLED:
                    connection.close()


STALLED: list[socket.socket] = []  # connections that are kept open


def send(body: bytes = BODY, until: int | None = None, ranges: bool = True) -> Reply:
    """The bytes asked for, breaking off at position `until` of the file; all bytes, if `ranges` are not known."""

    def reply(connection: socket.socket, asked: str | None) -> None:
        start = int((asked or "bytes=0-")[len("bytes=") : -1]) if ranges else 0
        more = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        answer(206 if start else 200, body[start:until], Content_Length=len(body) - start, **more)(connection, asked)

    return reply


def stall(at: int) -> Reply:
    """Breaks off as `send` does, but keeps the connection."""

    def reply(connection: socket.socket, asked: str | None) -> None:
        STALLED.append(connection)
        send(until=at)(connection, asked)

    return reply


def answer(status: int, body: bytes = b"", **headers: object) -> Reply:
    """Any answer; no length is announced unless it is in `headers`."""
    lines = [f"HTTP/1.0 {status} .", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return lambda connection, asked: connection.sendall("\r\n".join(lines).encode() + body)
