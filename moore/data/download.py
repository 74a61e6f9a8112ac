"""Fetching D4RL's files over HTTP: resumed after a break, and checked before a file gets its name.

Bytes go to <file>.part, which the next call continues with an HTTP range request. Whatever a server sends, the file's
own name appears only when size and sha256 are the published ones.
"""

import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from moore.base.errors import UserError
from moore.base.files import cannot_write
from moore.base.lock import locked
from moore.data.d4rl import FILES, check_published, expected_path, file_sha256

BASE_URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2"  # d4rl 1.1, infos.py
CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte after which a connection counts as broken
ATTEMPTS = 5  # in a row without progress
BACKOFF = 0.5  # seconds before the second attempt, doubled before each one after it

LATER = (408, 429)  # timeout, too many requests: as with 5xx, another attempt may do better


def file_url(dataset_id: str) -> str:
    """Name the URL that the file is fetched from: D4RL's host, or the mirror whose base URL is in D4RL_DATASET_URL.

    Raises UserError for a base URL that is not http or https.
    """
    base = os.environ.get("D4RL_DATASET_URL") or BASE_URL
    if not base.startswith(("http://", "https://")):
        raise UserError(f"D4RL_DATASET_URL: {base!r} is no base URL; accepted: http(s)://HOST/FOLDER")
    return f"{base.rstrip('/')}/{FILES[dataset_id].name}"


def download_d4rl(dataset_id: str, show: Callable[[int, int], None] = lambda done, size: None) -> bool:
    """Fetch the file of `dataset_id` (one of FILES); False if it was complete already, which needs no network.

    Connections that break or stall and answers of 5xx are tried again, up to ATTEMPTS times in a row without progress;
    show is told (bytes so far, all bytes). Raises UserError where the server has no or another file or cannot be
    reached, where the place cannot be written, and for a file of that name that is not the published one, which stays.
    A part stays, too, for the next call.
    """
    path, published, url = expected_path(dataset_id), FILES[dataset_id], file_url(dataset_id)
    if os.path.exists(path):  # False, unlike Path.exists, where the folder cannot be looked into
        check_published(dataset_id, path)
        return False
    part = path.with_name(f"{path.name}.part")
    with locked(path.with_name(f".{path.name}.lock"), str(part)):  # two processes appending to it would spoil it
        _fill(part, url, published.size, show)
        digest = file_sha256(part)
        if digest != published.sha256:
            part.unlink()  # another file, or pieces of two
            raise UserError(
                f"{url}: what came has sha256 {digest}, expected {published.sha256}; accepted: the same command again,"
                " which begins anew, or a mirror of D4RL's files in D4RL_DATASET_URL"
            )
        os.replace(part, path)
    return True


def _fill(part: Path, url: str, size: int, show: Callable[[int, int], None]) -> None:
    """Append to the part until it has `size` bytes, through broken connections."""
    furthest, failures = _length(part), 0
    while _length(part) != size:
        try:
            _attempt(part, url, size, show)
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a redirect to nonsense
            done = _length(part)
            # small steps do not count: a server that breaks off after every few bytes is not waited for
            failures = 0 if done >= furthest + CHUNK else failures + 1
            furthest = max(done, furthest)
            if failures == ATTEMPTS:
                raise UserError(
                    f"{url}: {error}, {ATTEMPTS} times in a row; {done} of {size} bytes are here; accepted: the same"
                    " command later, which goes on from there, or a mirror in D4RL_DATASET_URL"
                ) from None
            time.sleep(BACKOFF * 2 ** max(0, failures - 1))


def _attempt(part: Path, url: str, size: int, show: Callable[[int, int], None]) -> None:
    """Append what one connection brings. Raises UserError for an answer that cannot be the file."""
    done = _length(part) if _length(part) < size else 0
    headers = {"User-Agent": "moore"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        with error:
            if error.code >= 500 or error.code in LATER:
                raise
        raise UserError(f"{url}: {error}; accepted: a mirror of D4RL's files in D4RL_DATASET_URL") from None
    with response:
        kind, length = response.headers.get_content_type(), response.headers.get("Content-Length")
        pieces = response.headers.get("Content-Range", "")
        if response.status == 200 and length in (None, str(size)) and kind != "text/html":
            done = 0  # a range may have been asked for, and the server starts over
        elif not (response.status == 206 and pieces.startswith(f"bytes {done}-") and pieces.endswith(f"/{size}")):
            answer = f"{response.status}, {kind}, {pieces or length} bytes"
            raise UserError(
                f"{url}: the server answers {answer}, expected a file of {size} bytes from {done} on; accepted: a"
                f" mirror of D4RL's files in D4RL_DATASET_URL, or beginning anew after deleting {part}"
            )
        with part.open("ab" if done else "wb", buffering=0) as file:  # a full disk shows at once
            while done < size:
                chunk = response.read1(min(CHUNK, size - done))
                if not chunk:
                    raise ConnectionError(f"the connection ended after {done} of {size} bytes")
                try:
                    file.write(chunk)
                except OSError as error:
                    raise cannot_write(part, error, ", in D4RL_DATASET_DIR") from None
                done += len(chunk)
                show(done, size)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
