"""Fetching D4RL's files over HTTP: resumed after a break, and checked before a file gets its name.

Bytes go to <file>.part, which the next call continues with an HTTP range request. Whatever a server sends, the file's
own name appears only when size and sha256 are the published ones.
"""

import http.client
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from moore.base.errors import UserError
from moore.data.d4rl import FILES, check_published, expected_path, file_sha256, file_stamp, file_url, remember_sha256

CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
ATTEMPTS = 5  # in a row without progress
BACKOFF = 0.5  # seconds before the second attempt, doubled before each one after it

NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)  # ValueError: a redirect to nonsense

Show = Callable[[int, str], None]
"""Told (bytes so far, what goes wrong at the moment or an empty text)."""


class _Broken(Exception):
    """An attempt ended early and another one may do better; the text says why."""


def download_d4rl(dataset_id: str, show: Show = lambda done, trouble: None) -> bool:
    """Fetch the file of `dataset_id` (one of FILES); False if it was complete already, which needs no network.

    Connections that break or stall and answers of 5xx are tried again, up to ATTEMPTS times in a row without progress.
    Raises UserError where the server has no or another file or cannot be reached, where the place cannot be written,
    and for a file of that name that is not the published one, which stays. A part stays, too, for the next call.
    """
    path, published, url = expected_path(dataset_id), FILES[dataset_id], file_url(dataset_id)
    if os.path.exists(path):  # False, unlike Path.exists, where the folder cannot be looked into
        check_published(dataset_id, path)
        return False
    part = path.with_name(path.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            _lock(file, part)
            resumed = _fill(file, url, published.size, show)
            digest = file_sha256(part)
            if digest != published.sha256 and resumed:
                file.truncate(0)  # pieces of different files: the server's or the part has changed in between
                _fill(file, url, published.size, show)
                digest = file_sha256(part)
            if digest != published.sha256:
                part.unlink()
                raise UserError(
                    f"{url}: the server's file has sha256 {digest}, expected {published.sha256};"
                    " accepted: a mirror of D4RL's files in D4RL_DATASET_URL"
                )
            os.fsync(file.fileno())
            stamp = file_stamp(part)
            os.replace(part, path)
    except OSError as error:
        raise UserError(
            f"{part}: cannot be written ({error.strerror}); accepted: room for {published.size} bytes in a folder"
            " that you may write to, named in D4RL_DATASET_DIR"
        ) from None
    remember_sha256(path, digest, stamp)
    return True


def _lock(file: BinaryIO, part: Path) -> None:
    """Lock the part, as two processes appending to it would spoil it; the lock ends with the process that has it."""
    try:
        import fcntl
    except ImportError:  # not on this system
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{part}: another process is downloading this file; accepted: waiting for it") from None
    except OSError:  # not on this file system
        return


def _fill(file: BinaryIO, url: str, size: int, show: Show) -> bool:
    """Append to the part until it has `size` bytes, through broken connections; return whether in several pieces."""
    furthest = _length(file)
    resumed, failures = furthest > 0, 0
    while _length(file) < size:
        try:
            _attempt(file, url, size, show)
        except _Broken as broken:
            done = _length(file)
            # small steps do not count: a server that breaks off after every few bytes is not waited for
            failures = 0 if done >= furthest + CHUNK else failures + 1
            furthest, resumed = max(done, furthest), resumed or done > 0
            if failures == ATTEMPTS:
                raise UserError(
                    f"{url}: {broken}, {ATTEMPTS} times in a row; {done} of {size} bytes are here;"
                    " accepted: the same command later, which goes on from there, or a mirror in D4RL_DATASET_URL"
                ) from None
            show(done, f"{broken}, trying again")
            time.sleep(BACKOFF * 2 ** max(0, failures - 1))
    return resumed


def _attempt(file: BinaryIO, url: str, size: int, show: Show) -> None:
    """Append what one connection brings. _Broken: it ended early."""
    done = _length(file)
    with _open(url, done) as response:
        if response.status == 206:
            _check_range(response, url, done, size, file)
        else:
            _check_whole(response, url, size)
            if done:  # a range was asked for, and the server starts over
                file.truncate(0)
                done = 0
        while done < size:
            try:
                chunk = response.read1(min(CHUNK, size - done))
            except NETWORK_ERRORS as error:
                raise _Broken(_reason(error)) from None
            if not chunk:
                raise _Broken(f"the connection ended after {done} of {size} bytes")
            file.write(chunk)
            file.flush()  # so that a full disk shows here, and an interrupted call loses nothing
            done += len(chunk)
            show(done, "")


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """Ask the server for the bytes from `start` on."""
    headers = {"User-Agent": "moore"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            answer = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
        if error.code >= 500 or error.code in (408, 429):  # timeout, too many requests: later may do
            raise _Broken(answer) from None
        if error.code == 416:
            answer += f": it has a file of at most the {start} bytes that are here, which is not D4RL's"
        raise UserError(f"{url}: {answer}; accepted: a mirror of D4RL's files in D4RL_DATASET_URL") from None
    except NETWORK_ERRORS as error:
        raise _Broken(_reason(error)) from None


def _check_whole(response: http.client.HTTPResponse, url: str, size: int) -> None:
    """Raise UserError for an answer that cannot be the file, before a part is given up for it."""
    kind, length = response.headers.get_content_type(), response.headers.get("Content-Length")
    answer = None
    if response.status != 200:
        answer = f"answers {response.status}"
    elif kind == "text/html":
        answer = "sends a web page"
    elif length not in (None, str(size)):
        answer = f"announces {length} bytes"
    if answer is not None:
        raise UserError(
            f"{url}: the server {answer}, expected a file of {size} bytes;"
            " accepted: a mirror of D4RL's files in D4RL_DATASET_URL"
        )


def _check_range(response: http.client.HTTPResponse, url: str, start: int, size: int, file: BinaryIO) -> None:
    """Raise UserError for a file of another size; _Broken, to begin again, for another range than the one asked for."""
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
    if match is None or int(match[1]) != start:
        file.truncate(0)
        raise _Broken(f"the server sends {content_range!r} when asked for the bytes from {start} on")
    if match[2] not in ("*", str(size)):
        raise UserError(
            f"{url}: the server has a file of {match[2]} bytes, expected {size};"
            " accepted: a mirror of D4RL's files in D4RL_DATASET_URL"
        )


def _length(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _reason(error: Exception) -> str:
    """Say what went wrong, without the wrapping of urllib."""
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)
