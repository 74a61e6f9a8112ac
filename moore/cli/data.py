"""The commands `moore data ...`: what is typed; what they do is in moore/data/commands.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from moore.base.files import DATA_DIR
from moore.data.mismatch import REPLAY_ROWS

DatasetId = tyro.conf.Positional[str]
DatasetIds = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID [ID ...]", help_behavior_hint="")
]
Transitions = Annotated[int | None, tyro.conf.arg(help="size of a self-made set")]
Physics = Annotated[str | None, tyro.conf.arg(help="gymnasium or d4rl")]
DataDir = Annotated[Path, tyro.conf.arg(help="folder of self-made datasets")]


def data_make(
    id: DatasetId,
    transitions: Transitions = None,
    seed: int = 0,
    physics: Physics = None,
    out: Path | None = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Make a self-made dataset, e.g. `moore data make self:hopper-medium --transitions 40000`."""
    from moore.data import commands

    commands.make(id, (transitions, seed, physics), out, data_dir)


def data_describe(
    id: DatasetId,
    transitions: Transitions = None,
    seed: int = 0,
    physics: Physics = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Print sizes, returns, scores, physics and the one-step replay error of a dataset; the options are `make`'s."""
    from moore.data import commands

    commands.describe(id, (transitions, seed, physics), data_dir)


def data_check(id: DatasetId, physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: DataDir = DATA_DIR) -> int:
    """Replay stored states one step, say which physics the rows agree with, and check the file's invariants.

    Exit code 0: nothing is wrong; 1: the rows disagree with the physics that the file records (with --physics: with
    that one; if it records none: with all), or an invariant is broken; 2: bad input.

    Args:
        physics: gymnasium or d4rl; by default every physics of the environment is tried.
        rows: rows to replay, evenly spread.
    """
    from moore.data import commands

    return 0 if commands.check(id, physics, rows, data_dir) else 1


def data_download(ids: DatasetIds = ()) -> None:
    """Fetch D4RL's or Minari's own data, e.g. `moore data download d4rl:hopper-medium-v2 d4rl:hopper-expert-v2`.

    D4RL's ids are d4rl:ENV-QUALITY-v2 with ENV hopper, halfcheetah or walker2d and QUALITY random, medium,
    medium-replay, medium-expert, expert or full-replay: 59 to 475 MB each. A file goes to the folder D4RL_DATASET_DIR
    (by default ~/.d4rl/datasets, like d4rl's own downloads) once its size and sha256 are the published ones. Given
    again, the command goes on where a download broke off; a complete file stays as it is. Licences, mirrors and the
    downloader for minari:NAMESPACE/NAME-vN: moore/data/README.md.
    """
    from moore.data import commands

    commands.download(ids)


def data_export(
    id: DatasetId,
    to: Literal["minari"],
    name: str | None = None,
    transitions: Transitions = None,
    seed: int = 0,
    physics: Physics = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Write a dataset into the local Minari store, e.g. `moore data export self:hopper-medium --to minari`.

    The store is the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets); what it has already is never
    overwritten. Needs `pip install -e '.[minari]'`.

    Args:
        to: the format.
        name: NAMESPACE/NAME-vN in the store; by default moore/ENV/QUALITY-v0 for self:, moore/d4rl/ENV/QUALITY-v2 for
            d4rl:; needed for local:.
    """
    from moore.data import commands

    commands.export(id, name, (transitions, seed, physics), data_dir)


COMMANDS: dict[str, Callable[..., int | None]] = {
    command.__name__.removeprefix("data_"): command
    for command in (data_make, data_describe, data_check, data_download, data_export)
}
