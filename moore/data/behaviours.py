"""The policies that self-made datasets are collected with: per environment, SAC snapshots in training order.

`<env>.npz` holds the snapshots, `<env>.json` beside it says where they come from:

    npz   params float32 [K, P]  flat parameters of MLP((obs_dim, *hidden, 2 * action_dim), "relu")
          hidden int [L]; env_steps int [K]; returns, scores float [K] of the stochastic policy at each snapshot
    json  command, config, git_commit, packages, wall_seconds, curve [[env_steps, return, score], ...], physics,
          "random_steps": length of the uniform exploration at the start, "medium": the snapshot of that quality;
          "expert": the one with the highest score, only where training went on past medium
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moore.base.errors import UserError
from moore.base.files import replacing, write_json

BEHAVIOURS_DIR = Path(__file__).parent / "behaviours"
ARRAYS = {"params": np.float32, "hidden": np.int64, "env_steps": np.int64, "returns": np.float64, "scores": np.float64}


@dataclass(frozen=True)
class Behaviours:
    """K snapshots of one environment's behaviour policy; the fields are those of the module's docstring."""

    env: str
    params: np.ndarray
    hidden: tuple[int, ...]
    env_steps: np.ndarray
    returns: np.ndarray
    scores: np.ndarray
    provenance: dict[str, Any]

    @property
    def medium(self) -> int:
        return int(self.provenance["medium"])

    @property
    def expert(self) -> int | None:
        """Return the index of the snapshot with the highest score; None for a ladder that ends at medium."""
        expert = self.provenance.get("expert")
        return None if expert is None else int(expert)

    @property
    def physics(self) -> str:
        return str(self.provenance["physics"])

    @property
    def sha256(self) -> str:
        """Hash (hex) the policies and where medium is. An expert index may be added without changing it."""
        digest = hashlib.sha256(f"{self.env} {self.hidden} {self.env_steps.tolist()} {self.medium}".encode())
        digest.update(np.ascontiguousarray(self.params).data)
        return digest.hexdigest()


def save_behaviours(behaviours: Behaviours, directory: Path = BEHAVIOURS_DIR) -> None:
    """Write `<env>.npz` and `<env>.json`; the same snapshots give the same bytes."""
    arrays: dict[str, Any] = {key: np.asarray(getattr(behaviours, key), kind) for key, kind in ARRAYS.items()}
    with replacing(directory / f"{behaviours.env}.npz") as file:
        np.savez_compressed(file, **arrays)
    write_json(directory / f"{behaviours.env}.json", behaviours.provenance)


def load_behaviours(env: str, directory: Path = BEHAVIOURS_DIR) -> Behaviours:
    """Load the snapshots of `env`. Raises UserError where there are none (it says which exist) or a file is damaged."""
    archive, provenance = directory / f"{env}.npz", directory / f"{env}.json"
    if not (archive.is_file() and provenance.is_file()):
        existing = sorted(path.stem for path in directory.glob("*.npz") if path.with_suffix(".json").is_file())
        raise UserError(f"no behaviour policies for {env} in {directory}; existing: {', '.join(existing) or 'none'}")
    try:
        # numpy leaves a file open that it opened itself and found damaged
        with np.load(io.BytesIO(archive.read_bytes()), allow_pickle=False) as arrays:
            loaded: dict[str, Any] = {key: arrays[key] for key in ARRAYS}
        loaded["hidden"] = tuple(loaded["hidden"].tolist())
        return Behaviours(env, **loaded, provenance=json.loads(provenance.read_text()))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{archive} or its .json is damaged ({reason}); accepted: files of save_behaviours") from None


def kept_snapshots(count: int, medium: int, expert: int | None, size: int) -> list[int]:
    """Choose which of `count` snapshots to keep: `size` up to medium, as many from there to the end, and the expert."""
    spread = [np.linspace(0, medium, size), np.linspace(medium, count - 1, size)]
    marked = [medium] if expert is None else [medium, expert]
    return np.unique(np.concatenate([*spread, marked]).round().astype(int)).tolist()
