"""Dataset ids: where data comes from, readable in a config and in every result row.

self:<env>-<quality>       made here from shipped behaviour policies, e.g. self:hopper-medium-replay
d4rl:<env>-<quality>-v2    D4RL's own file, found in D4RL_DATASET_DIR (default ~/.d4rl/datasets); never downloaded
local:PATH                 any file in the D4RL v2 schema whose metadata/env names the environment
local:<env>:PATH           the same for a file without metadata
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moore.data.make import QUALITIES
from moore.envs.spec import ENVIRONMENTS
from moore.errors import UserError

D4RL_ENVS = ("hopper", "halfcheetah", "walker2d")
D4RL_QUALITIES = ("random", "medium", "medium-replay", "medium-expert", "expert", "full-replay")
ACCEPTED = "self:ENV-QUALITY, d4rl:ENV-QUALITY-v2, local:PATH, local:ENV:PATH"


@dataclass(frozen=True)
class DatasetId:
    """A valid id, taken apart. env is None for a local file that names its own; quality is None for local files."""

    text: str
    source: Literal["self", "d4rl", "local"]
    env: str | None
    quality: str | None
    path: Path | None

    def __str__(self) -> str:
        return self.text


def resolve(text: str) -> DatasetId:
    """Take an id apart; nothing is opened. A wrong id is a UserError with the nearest valid one."""
    source, colon, rest = text.partition(":")
    if source == "none":
        raise UserError(f"{text!r} stands for training without a dataset; accepted here: {ACCEPTED}")
    if source == "local" and colon:
        return _local(text, rest)
    if text not in _valid_ids():
        close = difflib.get_close_matches(text, _valid_ids(), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"unknown dataset id {text!r}; {hint}accepted: {ACCEPTED}")
    env, _, quality = rest.partition("-")
    if source == "d4rl":
        return DatasetId(text, "d4rl", env, quality.removesuffix("-v2"), None)
    return DatasetId(text, "self", env, quality, None)


def _local(text: str, rest: str) -> DatasetId:
    first, colon, path = rest.partition(":")
    env = first if colon and first in ENVIRONMENTS else None
    if env is None:
        path = rest
    if not path:
        raise UserError(f"{text!r} names no file; accepted: local:PATH, local:ENV:PATH")
    return DatasetId(text, "local", env, None, Path(path).expanduser())


def _valid_ids() -> list[str]:
    own = [f"self:{env}-{quality}" for env, qualities in QUALITIES.items() for quality in qualities]
    return own + [f"d4rl:{env}-{quality}-v2" for env in D4RL_ENVS for quality in D4RL_QUALITIES]
