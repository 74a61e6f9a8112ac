"""What tells whether a dataset is still the one that runs were trained on, without reading it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from moore.data.d4rl import expected_path, file_stamp
from moore.data.ids import resolve
from moore.data.load import self_path
from moore.data.minari import store_entry


def data_identity(text: str, data_dir: Path, transitions: int | None = None, physics: str | None = None) -> str:
    """A text that changes whenever the content of a dataset may have: a self-made set's recipe, else sizes and times.

    Raises UserError for an id of which there is no dataset, OSError for a file that is gone.
    """
    dataset = resolve(text)
    if dataset.source == "self":
        return self_path(dataset, data_dir, transitions, physics=physics).stem
    if dataset.source == "minari":
        folder = store_entry(text)
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
        stamps = [[path.relative_to(folder).as_posix(), file_stamp(path)] for path in files]
    else:
        path = expected_path(text) if dataset.source == "d4rl" else dataset.path
        assert path is not None
        stamps = [[path.name, file_stamp(path)]]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
