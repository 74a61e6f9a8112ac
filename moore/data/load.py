"""From a dataset id to its rows; self-made sets are generated on first use and kept."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

from moore.base.files import DATA_DIR
from moore.base.lock import locked
from moore.data.d4rl import d4rl_path, expected_path
from moore.data.hdf5 import Dataset, read_dataset, write_dataset
from moore.data.ids import resolve
from moore.data.make import find_recipe
from moore.data.minari import load_minari, store_entry


def load_dataset(
    text: str,
    data_dir: Path = DATA_DIR,
    *,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
) -> Dataset:
    """Load the dataset with id `text`; nothing is downloaded. Raises UserError for a wrong id, a missing or bad file.

    transitions, seed and physics choose among self-made sets (defaults: see `find_recipe`), which are cached in
    `data_dir`; other sources are what they are.
    """
    dataset_id = resolve(text)
    if dataset_id.source == "self":
        recipe = find_recipe(str(dataset_id.env), str(dataset_id.quality), transitions, seed, physics)
        path = data_dir / recipe.file_name
        if not path.is_file():
            with locked(path.with_name(f".{path.name}.lock"), text, math.inf):  # many processes may need it at once
                if not path.is_file():
                    write_dataset(path, recipe.make())
        return read_dataset(path, dataset_id.env)
    if dataset_id.source == "d4rl":
        dataset = read_dataset(d4rl_path(dataset_id.text), dataset_id.env)
        return replace(dataset, metadata={**dataset.metadata, "physics": "d4rl"})
    if dataset_id.source == "minari":
        return load_minari(text)
    assert dataset_id.path is not None
    return read_dataset(dataset_id.path, dataset_id.env)


def data_identity(text: str, transitions: int | None = None, physics: str | None = None) -> str:
    """Make a text that changes whenever the content of a dataset may have, without reading it.

    It is the recipe of a self-made set, a hash of sizes (bytes) and times of last change (ns) of other files.
    Raises UserError for an id of which there is no dataset, OSError for a file that is gone.
    """
    dataset = resolve(text)
    if dataset.source == "self":
        recipe = find_recipe(str(dataset.env), str(dataset.quality), transitions, physics=physics)
        return recipe.file_name.removesuffix(".hdf5")
    if dataset.source == "minari":
        folder = store_entry(text)
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    else:
        files = [dataset.path or expected_path(text)]
        folder = files[0].parent
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    stamps = [[name, {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}] for name, stat in stats]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
