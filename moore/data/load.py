"""From a dataset id to its rows; self-made sets are generated on first use and kept."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

from moore.base.errors import UserError
from moore.base.files import DATA_DIR
from moore.base.lock import locked
from moore.data.behaviours import BEHAVIOURS_DIR
from moore.data.d4rl import d4rl_path, expected_path
from moore.data.hdf5 import Dataset, read_dataset, write_dataset
from moore.data.ids import DatasetId, resolve
from moore.data.make import make_self_dataset, recipe_hash
from moore.data.minari import load_minari, store_entry
from moore.envs.spec import find_spec


def load_dataset(
    text: str,
    data_dir: Path = DATA_DIR,
    *,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    behaviours_dir: Path = BEHAVIOURS_DIR,
) -> Dataset:
    """Load the dataset with id `text`.

    transitions, seed and physics choose among self-made sets (defaults: see `make_self_dataset`), which are cached in
    `data_dir`; other sources are what they are.
    metadata["physics"] of a D4RL file is set to "d4rl"; the file must be there and the published one, nothing is
    downloaded. Raises UserError for a wrong id, a missing or bad file.
    """
    dataset_id = resolve(text)
    if dataset_id.source == "self":
        path = self_path(dataset_id, data_dir, transitions, seed, physics, behaviours_dir)
        if not path.is_file():
            assert dataset_id.env is not None and dataset_id.quality is not None  # noqa: PT018
            with locked(path.with_name(f".{path.name}.lock"), text, math.inf):  # many processes may need it at once
                if not path.is_file():
                    made = make_self_dataset(
                        dataset_id.env, dataset_id.quality, transitions, seed, physics, behaviours_dir
                    )
                    write_dataset(path, made)
        return read_dataset(path, dataset_id.env)
    if dataset_id.source == "d4rl":
        dataset = read_dataset(d4rl_path(dataset_id.text), dataset_id.env)
        return replace(dataset, metadata={**dataset.metadata, "physics": "d4rl"})
    if dataset_id.source == "minari":
        return load_minari(text)
    assert dataset_id.path is not None
    return read_dataset(dataset_id.path, dataset_id.env)


def self_path(
    dataset_id: DatasetId,
    data_dir: Path,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    behaviours_dir: Path = BEHAVIOURS_DIR,
) -> Path:
    """Name the file that a self-made set is cached in; the name carries a hash of all that determines the content."""
    env, quality = dataset_id.env, dataset_id.quality
    if dataset_id.source != "self" or env is None or quality is None:
        raise UserError(f"{dataset_id} is not made here; accepted: self:ENV-QUALITY")
    spec = find_spec(env)
    transitions = spec.default_transitions if transitions is None else transitions
    key = recipe_hash(env, quality, transitions, seed, physics or spec.default_physics, behaviours_dir)
    return data_dir / f"{env}-{quality}-{key[:16]}.hdf5"


def data_identity(text: str, data_dir: Path, transitions: int | None = None, physics: str | None = None) -> str:
    """Make a text that changes whenever the content of a dataset may have, without reading it.

    It is the recipe of a self-made set, a hash of sizes (bytes) and times of last change (ns) of other files.
    Raises UserError for an id of which there is no dataset, OSError for a file that is gone.
    """
    dataset = resolve(text)
    if dataset.source == "self":
        return self_path(dataset, data_dir, transitions, physics=physics).stem
    if dataset.source == "minari":
        folder = store_entry(text)
        files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    else:
        files = [dataset.path or expected_path(text)]
        folder = files[0].parent
    stats = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    stamps = [[name, {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}] for name, stat in stats]
    return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]
