"""The commands `moore data ...`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from moore.base.errors import UserError
from moore.base.files import DATA_DIR
from moore.data.mismatch import REPLAY_ROWS

DatasetId = tyro.conf.Positional[str]
DatasetIds = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID [ID ...]", help_behavior_hint="")
]
DataDir = Annotated[Path, tyro.conf.arg(help="folder of self-made datasets")]


def data_make(
    id: DatasetId,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Make a self-made dataset unless it is there, e.g. `moore data make self:hopper-medium --transitions 40000`.

    Args:
        transitions: environment steps; by default the environment's.
        physics: gymnasium or d4rl; by default the environment's.
    """
    from moore.data.hdf5 import dataset_hash
    from moore.data.ids import resolve
    from moore.data.load import load_dataset
    from moore.data.make import find_recipe

    if (named := resolve(id)).source != "self":
        raise UserError(f"{id} is not made here; accepted: self:ENV-QUALITY")
    path = data_dir / find_recipe(str(named.env), str(named.quality), transitions, seed, physics).file_name
    cached, begin = path.is_file(), time.monotonic()
    dataset = load_dataset(id, data_dir, transitions=transitions, seed=seed, physics=physics)
    how = "cached" if cached else f"made in {time.monotonic() - begin:.1f} s"
    print(f"{id}: {len(dataset)} rows in {path} ({how}, sha256 {dataset_hash(dataset)[:16]})")


def data_check(id: DatasetId, physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: DataDir = DATA_DIR) -> int:
    """Print sizes, returns and scores of a dataset, with which physics its rows agree, and whether the file is sound.

    Exit code 0: nothing is wrong; 1: the rows disagree with the physics that the file records (with --physics: with
    that one; if it records none: with all), or an invariant is broken; 2: bad input.

    Args:
        physics: gymnasium or d4rl; by default every physics of the environment is tried.
        rows: rows to replay, evenly spread.
    """
    from moore.data.check import check_dataset
    from moore.data.describe import describe
    from moore.data.hdf5 import dataset_hash
    from moore.data.load import load_dataset

    dataset = load_dataset(id, data_dir)
    found = check_dataset(dataset, physics, rows)
    print(describe(dataset, found, f"{id} (sha256 {dataset_hash(dataset)[:16]})"))
    return 1 if found.faults else 0


def data_download(ids: DatasetIds = ()) -> None:
    """Fetch D4RL's own data, e.g. `moore data download d4rl:hopper-medium-v2 d4rl:hopper-expert-v2`.

    D4RL's ids are d4rl:ENV-QUALITY-v2 with ENV hopper, halfcheetah or walker2d and QUALITY random, medium,
    medium-replay, medium-expert, expert or full-replay: 59 to 475 MB each. A file goes to the folder D4RL_DATASET_DIR
    (by default ~/.d4rl/datasets, like d4rl's own downloads) once its size and sha256 are the published ones. Given
    again, the command goes on where a download broke off; a complete file stays as it is. D4RL_DATASET_URL names a
    mirror. Minari has a command of its own, `minari download`.
    """
    from moore.data.d4rl import expected_path
    from moore.data.download import download_d4rl
    from moore.data.ids import resolve

    accepted = "accepted: d4rl:ENV-QUALITY-v2"
    if not ids:
        raise UserError(f"no dataset id given; {accepted}")
    for dataset_id in map(resolve, ids):  # all of them before anything is fetched
        if dataset_id.source != "d4rl":
            raise UserError(f"{dataset_id} is not a download; {accepted}")
    for id in ids:
        done = "downloaded" if download_d4rl(id) else "complete already"
        print(f"{id}: in {expected_path(id)} ({done})", flush=True)


COMMANDS: dict[str, Callable[..., int | None]] = {
    command.__name__.removeprefix("data_"): command for command in (data_make, data_check, data_download)
}
