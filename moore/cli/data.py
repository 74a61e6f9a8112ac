"""The commands `moore data ...`: what is typed; what they do is in moore/data/commands.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from moore.base.files import DATA_DIR
from moore.data.mismatch import REPLAY_ROWS

DatasetIds = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID [ID ...]", help_behavior_hint="")
]


def data_make(
    id: tyro.conf.Positional[str],
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    out: Path | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Make a self-made dataset, e.g. `moore data make self:hopper-medium --transitions 40000`."""
    from moore.data import commands

    commands.make(id, (transitions, seed, physics), out, data_dir)


def data_describe(
    id: tyro.conf.Positional[str],
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Print sizes, returns, scores, physics and the one-step replay error of a dataset; the options are `make`'s."""
    from moore.data import commands

    commands.describe(id, (transitions, seed, physics), data_dir)


def data_check(
    id: tyro.conf.Positional[str], physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: Path = DATA_DIR
) -> int:
    """Replay stored states one step, say which physics the rows agree with, and check the file's invariants.

    Exit code 0: nothing is wrong; 1: the rows disagree with the physics that the file records (with --physics: with
    that one; if it records none: with all), or an invariant is broken; 2: bad input.

    Args:
        physics: gymnasium or d4rl; by default every physics of the environment is tried.
        rows: rows to replay, evenly spread.
        data_dir: folder of self-made datasets.
    """
    from moore.data import commands

    return 0 if commands.check(id, physics, rows, data_dir) else 1


def data_download(ids: DatasetIds = ()) -> None:
    """Fetch D4RL's or Minari's own data, e.g. `moore data download d4rl:hopper-medium-v2 d4rl:hopper-expert-v2`.

    D4RL's ids are d4rl:ENV-QUALITY-v2 with ENV hopper, halfcheetah or walker2d and QUALITY random, medium,
    medium-replay, medium-expert, expert or full-replay: 59 to 475 MB each. A file goes to the folder D4RL_DATASET_DIR
    (by default ~/.d4rl/datasets, like d4rl's own downloads) once its size and sha256 are the published ones; a complete
    one stays as it is. Given again, the command goes on where a download broke off. D4RL_DATASET_URL names the base URL
    of a mirror.

    An id minari:NAMESPACE/NAME-vN is left to Minari's own downloader, which needs `pip install 'minari[hf]'` and puts
    it into the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets).

    D4RL (Fu et al., arXiv 2004.07219) has its datasets under CC BY 4.0 and its code under Apache-2.0.

    Args:
        ids: what to fetch.
    """
    from moore.data import commands

    commands.download(ids)


def data_export(
    id: tyro.conf.Positional[str],
    to: Literal["minari"],
    name: str | None = None,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Write a dataset into the local Minari store, e.g. `moore data export self:hopper-medium --to minari`.

    The store is the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets); what it has already is never
    overwritten. Needs `pip install -e '.[minari]'`.

    Args:
        id: a self:, d4rl: or local: id.
        to: the format.
        name: NAMESPACE/NAME-vN in the store; by default moore/ENV/QUALITY-v0 for self:, moore/d4rl/ENV/QUALITY-v2 for
            d4rl:; needed for local:.
        transitions: size of a self-made set, as in `moore data make`.
        seed: of a self-made set.
        physics: of a self-made set.
        data_dir: folder of self-made datasets.
    """
    from moore.data import commands

    commands.export(id, name, (transitions, seed, physics), data_dir)


COMMANDS: dict[str, Callable[..., int | None]] = {
    "make": data_make,
    "describe": data_describe,
    "check": data_check,
    "download": data_download,
    "export": data_export,
}
