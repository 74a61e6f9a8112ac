"""Dataset ids: where data comes from, readable in configs and result rows; README.md here lists the sources."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moore.base.errors import UserError
from moore.base.plugins import is_plugin
from moore.base.strict import nearest
from moore.data.d4rl import FILES
from moore.envs.spec import ENVIRONMENTS, GYMNASIUM, find_spec

D4RL_QUALITIES = ("random", "medium", "medium-replay", "medium-expert", "expert", "full-replay")
QUALITIES: dict[str, tuple[str, ...]] = dict.fromkeys(ENVIRONMENTS, D4RL_QUALITIES) | {
    name: (*D4RL_QUALITIES, "low") for name in ("pendulum", "cartpole_swingup")
}
"""Of the self-made sets."""
LISTED = [*(f"self:{env}-{quality}" for env, qualities in QUALITIES.items() for quality in qualities), *FILES]
ACCEPTED = "self:ENV-QUALITY, d4rl:ENV-QUALITY-v2, minari:NAMESPACE/NAME-vN, local:PATH, local:ENV:PATH"
MINARI_NAME = re.compile(r"(?!.*//)(?:[-\w][-\w/]*[-\w]/)?[-\w]+-v\d+", re.ASCII)  # Minari's rule, with a version


@dataclass(frozen=True)
class DatasetId:
    """A valid id, taken apart. env is None where the data names it (minari, local:PATH); quality is None there."""

    text: str
    source: Literal["self", "d4rl", "minari", "local"]
    env: str | None
    quality: str | None
    path: Path | None

    def __str__(self) -> str:
        return self.text


def resolve(text: str) -> DatasetId:
    """Take an id apart; no data is opened. A wrong id is a UserError with the nearest valid one."""
    source, colon, rest = text.partition(":")
    if source == "none":
        raise UserError(f"{text!r} stands for training without a dataset; accepted here: {ACCEPTED}")
    if source == "local" and colon:
        return _local(text, rest)
    if source == "minari" and colon:
        if not MINARI_NAME.fullmatch(rest):
            hint = f"did you mean '{text}-v0'? " if MINARI_NAME.fullmatch(f"{rest}-v0") else ""
            raise UserError(f"{text!r} is no Minari id; {hint}accepted: minari:NAMESPACE/NAME-vN")
        return DatasetId(text, "minari", None, None, None)
    if text not in LISTED:
        hint = nearest(text.lower(), [*LISTED, f"local:{rest}", f"minari:{rest}"])
        raise UserError(f"unknown dataset id {text!r}; {hint}accepted: {ACCEPTED}")
    env, _, quality = rest.partition("-")
    return DatasetId(text, "d4rl" if source == "d4rl" else "self", env, quality.removesuffix("-v2"), None)


def _local(text: str, rest: str) -> DatasetId:
    first, colon, path = rest.partition(":")
    second, another_colon, behind = path.partition(":")
    env = first if colon and first in ENVIRONMENTS else None
    if env is None:
        path, two_parts = rest, f"{first}:{second}"
        if another_colon and (two_parts.startswith(GYMNASIUM) or is_plugin(two_parts)):
            env, path = find_spec(two_parts).name, behind
    file = Path(os.path.expanduser(path))  # Path's own would raise for an unknown user's home
    hint = nearest(first, list(ENVIRONMENTS)) if colon and env is None else ""
    if not path or (hint and not file.exists()):
        raise UserError(f"{text!r} names no file; {hint}accepted: local:PATH, local:ENV:PATH")
    return DatasetId(text, "local", env, None, file)
