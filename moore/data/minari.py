"""Datasets of the local Minari store, `minari:<namespace>/<name>-v<N>`, converted to the project's own rows.

A dataset belongs to the environment that its env_spec names, as `gymnasium.make` gives it: other rewards, limits or
models, and wrappers that change numbers, make another task.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec as GymSpec

from moore.base.errors import UserError
from moore.base.strict import nearest
from moore.data.collect import Rows, join
from moore.data.hdf5 import Dataset, MetadataValue, check_arrays
from moore.envs.env_spec import EnvSpec
from moore.envs.gymnasium_rules import TERMINATED
from moore.envs.spec import ENVIRONMENTS, GYMNASIUM, find_spec

GYM_IDS = {spec.gym_id: spec.name for spec in ENVIRONMENTS.values() if spec.gym_id} | {
    "Hopper-v4": "hopper",
    "HalfCheetah-v4": "halfcheetah",
    "Walker2d-v4": "walker2d",
    **{gym_id: GYMNASIUM + gym_id for gym_id in TERMINATED},
}
# not v5's: both pay the alive bonus on the terminal step too, Walker2d-v4 has other feet; a physics that no run has
OWN_PHYSICS = ("Hopper-v4", "Walker2d-v4")
RENDERING = ("render_mode", "width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom")
PASSIVE_WRAPPERS = ("RecordEpisodeStatistics", "RecordVideo")


def load_minari(text: str) -> Dataset:
    """Load the dataset with id `text` from the local store.

    Raises UserError as `store_entry` and `check_arrays` do, for damaged files and an environment that is none of ours.
    """
    folder = store_entry(text)
    import minari  # which is there

    try:
        source: Any = minari.load_dataset(text.removeprefix("minari:"))
        spec, gym_id, recorded = _environment(text, source), source.env_spec.id, source.storage.metadata
        parts = [_episode_rows(spec, episode) for episode in source.iterate_episodes()]
        rows = sum(len(part["obs"]) for part in parts)
        if rows != source.total_steps or rows == 0:
            raise ValueError(f"{rows} steps in its episodes, {source.total_steps} in its metadata")
    except UserError:
        raise
    except Exception as error:  # of its readers, each with errors of its own
        words = f"{folder} is damaged or of an unknown Minari version ({reason(error)})"
        raise UserError(f"{text}: {words}; accepted: a complete dataset, after deleting that folder") from None
    metadata: dict[str, MetadataValue] = {"env": spec.name, "gym_id": gym_id, "source": text}
    physics = gym_id if gym_id in OWN_PHYSICS else "gymnasium"
    metadata |= {"minari_version": source.minari_version, "physics": physics}
    if "algorithm_name" in recorded:
        metadata["algorithm"] = str(recorded["algorithm_name"])
    stored = set.intersection(*(set(part) for part in parts))  # states count if every episode has them
    dataset = Dataset(spec.name, metadata=metadata, **join([{key: part[key] for key in stored} for part in parts]))
    check_arrays(text, dataset)
    return dataset


def store_entry(text: str) -> Path:
    """Find the folder of a dataset in the local store: MINARI_DATASETS_PATH, by default ~/.minari/datasets.

    Raises UserError if it is not there, listing what is, and where Minari is not installed or its store cannot be made.
    """
    try:
        from minari import storage

        store, name = storage.get_dataset_path(), text.removeprefix("minari:")
    except ImportError as error:
        words = f"needs the package minari ({reason(error)})"
        raise UserError(f"{text}: {words}; accepted: pip install -e '.[minari]'") from None
    except OSError as error:  # it makes the folder
        words = f"no Minari store in {error.filename!r} ({error.strerror})"
        raise UserError(f"{text}: {words}; accepted: a folder you may write to in MINARI_DATASETS_PATH") from None
    if not (store / name / "data").is_dir():
        found = (path.parents[1].relative_to(store).as_posix() for path in store.rglob("data/metadata.json"))
        existing = sorted(entry for entry in found if not entry.startswith("."))
        hint = nearest(text, [f"minari:{entry}" for entry in existing])
        has = f"{hint}it has: {', '.join(existing) or 'nothing'}"
        accepted = f"one of these, another MINARI_DATASETS_PATH, or `minari download {name}`"
        raise UserError(f"{text}: not in Minari's store {store}; {has}; accepted: {accepted}")
    return store / name


def _environment(text: str, source: Any) -> EnvSpec:
    """Find which of our environments the dataset is of; UserError if none, or if it was changed on the way."""
    gym_spec: GymSpec | None = source.env_spec
    if gym_spec is None or gym_spec.id not in GYM_IDS:
        given = "no environment" if gym_spec is None else gym_spec.id
        raise UserError(f"{text}: recorded with {given}; accepted: {', '.join(GYM_IDS)}")
    changes = [f"{key}={value!r}" for key, value in gym_spec.kwargs.items() if key not in RENDERING]
    changes += [wrapper.name for wrapper in gym_spec.additional_wrappers if wrapper.name not in PASSIVE_WRAPPERS]
    if changes:
        changed = f"{gym_spec.id} changed by {', '.join(changes)}"
        raise UserError(f"{text}: recorded with {changed}; accepted: the environment as gymnasium.make gives it")
    return find_spec(GYM_IDS[gym_spec.id])


def _episode_rows(spec: EnvSpec, episode: Any) -> Rows:
    """Convert the T rows of an episode. Raises ValueError for an array of another length or kind.

    A fall at the time limit, which has both flags, is `terminated` here; a last step without flags was cut.
    """
    steps = len(episode.rewards)
    terminated = np.array(episode.terminations, bool)
    truncated = np.array(episode.truncations, bool) & ~terminated
    truncated[-1] = not terminated[-1]
    with np.errstate(over="ignore"):  # too large for float32: reported as infinite
        obs = np.asarray(episode.observations, np.float32)
        rows = {
            "obs": obs[:-1],
            "action": np.asarray(episode.actions, np.float32),
            "reward": np.asarray(episode.rewards, np.float32),
            "next_obs": obs[1:],
            "terminated": terminated,
            "truncated": truncated,
        }
    infos: dict[str, Any] = episode.infos or {}
    if all(np.shape(infos.get(key, ())) == (steps + 1, spec.state_dim) for key in ("qpos", "qvel")):
        rows |= {key: np.asarray(infos[key][:-1], np.float64) for key in ("qpos", "qvel")}
    for name, values in rows.items():
        if len(values) != steps:
            raise ValueError(f"episode {episode.id} has {steps} rewards, {len(values)} entries of {name}")
    return rows


def reason(error: Exception) -> str:
    """Give the first line of an error's text, or its type's name."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
