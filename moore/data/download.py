"""Fetching D4RL's files with curl: resumed after a break, and checked before a file gets its name.

Bytes go to <file>.part, which the next call continues. Whatever a server sends, the file's own name appears only when
size and sha256 are the published ones.
"""

import os
import subprocess
import sys
import time

from moore.base.errors import UserError
from moore.base.lock import locked
from moore.data.d4rl import FILES, check_published, expected_path, file_sha256

BASE_URL = "http://rail.eecs.berkeley.edu/datasets/offline_rl/gym_mujoco_v2"  # d4rl 1.1, infos.py
TIMEOUT = 30  # seconds in which a connection is made, or without a byte until it counts as broken
ATTEMPTS = 5
BACKOFF = 1.0  # seconds before the second attempt, doubled before each one after it


def file_url(dataset_id: str) -> str:
    """Name the file's URL at D4RL's host, or below D4RL_DATASET_URL. UserError for a base that is not http(s)."""
    base = os.environ.get("D4RL_DATASET_URL") or BASE_URL
    if not base.startswith(("http://", "https://")):
        raise UserError(f"D4RL_DATASET_URL: {base!r} is no base URL; accepted: http(s)://HOST/FOLDER")
    return f"{base.rstrip('/')}/{FILES[dataset_id].name}"


def download_d4rl(dataset_id: str) -> bool:
    """Fetch the file of `dataset_id` (one of FILES); False if it was complete already, which needs no network.

    Raises UserError where the server has no or another file or cannot be reached, where the place cannot be written,
    and for a file of that name that is not the published one, which stays. A part stays, too, for the next call.
    """
    path, published, url = expected_path(dataset_id), FILES[dataset_id], file_url(dataset_id)
    if os.path.exists(path):  # False, unlike Path.exists, where the folder cannot be looked into
        check_published(dataset_id, path)
        return False
    part = path.with_name(f"{path.name}.part")
    with locked(path.with_name(f".{path.name}.lock"), str(part)):  # two processes appending to it would spoil it
        error = ""
        for attempt in range(ATTEMPTS):
            size = part.stat().st_size if part.exists() else 0
            if size >= published.size:
                break
            time.sleep(BACKOFF * 2 ** (attempt - 1) if attempt else 0)
            error = _curl(url, str(part))
        else:
            so_far = f"{error}, {ATTEMPTS} times; {size} of {published.size} bytes are here"
            raise UserError(f"{url}: {so_far}; accepted: the same command later, or a mirror in D4RL_DATASET_URL")
        digest = file_sha256(part)
        if digest != published.sha256:
            part.unlink()  # another file, or pieces of two
            came = f"what came has sha256 {digest}, expected {published.sha256}"
            raise UserError(f"{url}: {came}; accepted: the same command, which begins anew, or D4RL_DATASET_URL")
        os.replace(part, path)
    return True


def _curl(url: str, part: str) -> str:
    """Append to the part what one connection brings; returns why it ended early, if it did. UserError: no curl."""
    command = ["curl", "--fail", "--location", "--show-error", "--no-buffer", "--continue-at", "-", "--output", part]
    command += ["--connect-timeout", str(TIMEOUT), "--speed-time", str(TIMEOUT), "--speed-limit", "1"]
    bar = ["--progress-bar"] if sys.stderr.isatty() else ["--silent"]
    try:
        done = subprocess.run([*command, *bar, url], stderr=None if sys.stderr.isatty() else subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise UserError("curl is not installed, which fetches files; accepted: a machine that has it") from None
    if done.returncode == 33:  # the server cannot continue a file
        os.unlink(part)
    words = " ".join((done.stderr or "").split()) or f"curl ends with code {done.returncode}"
    return "" if done.returncode == 0 else words
