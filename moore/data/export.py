"""Writes a dataset into the local Minari store, where every program that reads Minari finds it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from moore.base.errors import UserError
from moore.data.check import broken_rows, episode_bounds
from moore.data.hdf5 import Dataset, dataset_hash
from moore.data.ids import MINARI_NAME, DatasetId
from moore.data.make import Progress
from moore.data.minari import EXPORT_KEY, import_minari, minari_store, reason
from moore.envs.env_spec import EnvSpec
from moore.envs.spec import find_spec

D4RL_CODE = "https://github.com/Farama-Foundation/D4RL"


def minari_name(dataset_id: DatasetId, name: str | None) -> str:
    """Choose the name to export under; by default moore/ENV/QUALITY-v0 for a self-made set, moore/d4rl/ENV/QUALITY-v2.

    Raises UserError for a name that Minari would not take, that the store has already, for a local file without a
    name, and for what is in the store anyway.
    """
    if dataset_id.source == "minari":
        raise UserError(f"{dataset_id} is in Minari's store; accepted: self:, d4rl: and local: ids")
    if name is None and dataset_id.source == "local":
        raise UserError(f"--name: needed for {dataset_id}; accepted: NAMESPACE/NAME-vN, e.g. mine/hopper/medium-v0")
    if name is None:
        folder, version = ("moore", 0) if dataset_id.source == "self" else ("moore/d4rl", 2)
        name = f"{folder}/{dataset_id.env}/{dataset_id.quality}-v{version}"
    if not MINARI_NAME.fullmatch(name):
        raise UserError(f"--name: {name!r} is not accepted; expected NAMESPACE/NAME-vN of letters, digits, - and _")
    store = minari_store(str(dataset_id))
    if (store / name).exists():
        raise UserError(_exists(name, store))
    return name


def export_minari(dataset: Dataset, dataset_id: DatasetId, name: str, progress: Progress | None = None) -> Path:
    """Write `dataset` under `name` (see `minari_name`); returns its folder, which appears complete or not at all.

    An episode of ours becomes one of Minari's; where the stored next observation is not the next row's, another
    begins. The last step of every episode has a flag, `truncated` where a recording was cut. The env_spec is that of
    the Gymnasium environment closest to ours, the reference scores are ours.

    Raises UserError for a dataset without next observations, and where the store cannot be written.
    """
    minari = import_minari(str(dataset_id))
    from minari.dataset.minari_storage import MinariStorage
    from minari.namespace import create_namespace, list_local_namespaces

    if dataset.next_obs is None:
        raise UserError(
            f"{dataset_id}: no 'next_observations', and a Minari episode ends with one; accepted: a file that has them"
        )
    spec, store = find_spec(dataset.env), minari_store(str(dataset_id))
    if not spec.gym_id:
        raise UserError(f"{dataset_id}: Gymnasium has no {spec.name}, by which Minari names it; accepted: another")
    target, namespace, scores = store / name, name.rpartition("/")[0], spec.reference_scores
    metadata: dict[str, Any] = {"dataset_id": name, "minari_version": minari.__version__}
    metadata |= {} if scores is None else {"ref_min_score": scores.random, "ref_max_score": scores.reference}
    try:
        with tempfile.TemporaryDirectory(dir=store, prefix=".moore-") as folder:  # Minari skips hidden folders
            staged = Path(folder) / "dataset"
            staged.mkdir()
            storage = MinariStorage.new(
                staged / "data", *_spaces(spec), gymnasium.spec(spec.gym_id), data_format="hdf5"
            )
            storage.update_metadata(metadata | _provenance(dataset, dataset_id, spec))
            storage.update_episodes(_episodes(dataset, dataset.next_obs, progress))
            if namespace and namespace not in list_local_namespaces():
                create_namespace(namespace)
            os.rename(staged, target)  # fails where something has appeared in the meantime
    except OSError as error:
        if target.exists():
            raise UserError(_exists(name, store)) from None
        raise UserError(
            f"{dataset_id}: cannot be written to Minari's store {store} ({error.strerror or reason(error)}); accepted:"
            " a folder with space that you may write to, in MINARI_DATASETS_PATH"
        ) from None
    return target


def _exists(name: str, store: Path) -> str:
    return f"--name: {store} has {name!r} already, nothing is overwritten; accepted: another name or version"


def _spaces(spec: EnvSpec) -> tuple[gymnasium.Space[Any], gymnasium.Space[Any]]:
    """Make the spaces of gymnasium.make(spec.gym_id), which prints warnings for some models."""
    action_space = gymnasium.spaces.Box(-spec.action_high, spec.action_high, (spec.action_dim,), np.float32)
    if spec.obs_high is not None:
        high = np.array(spec.obs_high, dtype=np.float32)
        return gymnasium.spaces.Box(-high, high, dtype=np.float32), action_space
    return gymnasium.spaces.Box(-np.inf, np.inf, (spec.obs_dim,), np.float64), action_space


def _provenance(dataset: Dataset, dataset_id: DatasetId, spec: EnvSpec) -> dict[str, Any]:
    """Fill Minari's fields about origin. Of a local file neither path nor text is copied: it may be personal."""
    facts, fields = dataset.metadata, {}
    record = {"source": "local" if dataset_id.source == "local" else str(dataset_id), "sha256": dataset_hash(dataset)}
    origin = "converted by moore from a local file in the D4RL v2 schema"
    if dataset_id.source == "self":
        origin = f"made by `{facts['command']}` of moore, commit {facts['git_commit']}"
        fields = {"author": {"moore"}, "algorithm_name": facts["algorithm"]}
    elif dataset_id.source == "d4rl":
        origin = f"D4RL's {str(dataset_id).removeprefix('d4rl:')} (CC BY 4.0, arXiv 2004.07219), converted by moore"
        fields = {"author": {"D4RL"}, "code_permalink": D4RL_CODE}
    dynamics = "The physics was not recorded."
    if "physics" in facts:
        record["physics"] = str(facts["physics"])
        dynamics = f"Recorded with physics {facts['physics']}."
        if facts["physics"] == "d4rl":
            dynamics += f" That is D4RL's v2 tasks (MuJoCo 2.1.0), not {spec.gym_id}."
    if dataset.qpos is not None:
        dynamics += " infos/qpos and infos/qvel: the simulator's state before each action, NaN after the last one."
    return {**fields, "description": f"{len(dataset)} steps of {dataset.env}, {origin}. {dynamics}", EXPORT_KEY: record}


def _episodes(dataset: Dataset, next_obs: np.ndarray, progress: Progress | None) -> Iterator[Any]:
    """Yield Minari's EpisodeBuffer of every episode, made when it is asked for."""
    from minari.data_collector import EpisodeBuffer

    starts, ends = episode_bounds(dataset)
    broken = broken_rows(dataset)
    assert broken is not None
    ends = np.union1d(ends, broken + 1)
    starts = np.append(0, ends[:-1])
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        rows = slice(start, end)
        truncated = dataset.truncated[rows].copy()
        truncated[-1] |= not dataset.terminated[end - 1]
        infos = {}
        if dataset.qpos is not None and dataset.qvel is not None:
            for key, states in (("qpos", dataset.qpos[rows]), ("qvel", dataset.qvel[rows])):
                infos[key] = np.append(states, np.full_like(states[:1], np.nan), axis=0)
        yield EpisodeBuffer(
            observations=np.append(dataset.obs[rows], next_obs[end - 1 : end], axis=0),
            actions=dataset.action[rows],
            rewards=dataset.reward[rows],
            terminations=dataset.terminated[rows],
            truncations=truncated,
            infos=infos,
        )
        if progress is not None:
            progress(end, len(dataset))
