"""The one on-disk format: the HDF5 schema of the D4RL v2 locomotion files, checked when read, atomic when written.

README.md here lists its arrays (from D4RL's scripts/generation/mujoco/collect_data.py and fix_qpos_qvel.py). Any
float is read, and [N, 1] as [N].
"""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from moore.base.errors import UserError
from moore.base.files import replacing
from moore.envs.env_spec import EnvSpec
from moore.envs.spec import ENVIRONMENTS, GYMNASIUM, find_spec

ACTION_TOLERANCE = 1e-5  # float32 rounding of actions at the bound

MIXED = "it does not say which rows are terminals, after which nothing comes, and which timeouts; "
REMEDIES = {  # what a file has instead -> what helps
    "done": f"'done': {MIXED}",
    "dones": f"'dones': {MIXED}",
    "episode_0": "Minari's main_data.hdf5 is read from its store, as minari:NAMESPACE/NAME-vN; ",
}

MetadataValue = str | int | float | np.ndarray


@dataclass(frozen=True)
class Dataset:
    """N environment steps of one environment in the order they were taken, names as in the rest of the suite.

    obs, next_obs [N, obs_dim]; action [N, action_dim] in environment units; reward [N]: float32.
    terminated, truncated [N]: bool (the file's terminals and timeouts).
    qpos [N, nq], qvel [N, nv]: float64, before the action. metadata: scalars and one-dimensional arrays.
    next_obs, qpos and qvel are None where a file lacks them.
    """

    env: str
    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_obs: np.ndarray | None = None
    qpos: np.ndarray | None = None
    qvel: np.ndarray | None = None
    metadata: dict[str, MetadataValue] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.obs)


_ARRAYS: dict[str, tuple[str, type, str]] = {
    # Dataset field -> key in the file, type in memory, the fact of an environment that is its width
    "obs": ("observations", np.float32, "obs_dim"),
    "action": ("actions", np.float32, "action_dim"),
    "reward": ("rewards", np.float32, ""),
    "terminated": ("terminals", bool, ""),
    "truncated": ("timeouts", bool, ""),
    "next_obs": ("next_observations", np.float32, "obs_dim"),
    "qpos": ("infos/qpos", np.float64, "state_dim"),
    "qvel": ("infos/qvel", np.float64, "state_dim"),
}
_REQUIRED = list(_ARRAYS)[:5]


def dataset_hash(dataset: Dataset) -> str:
    """Hash (sha256, hex) the environment's name and every array; metadata, file name and compression do not enter."""
    digest = hashlib.sha256(dataset.env.encode())
    for name, (key, _, _) in _ARRAYS.items():
        values = getattr(dataset, name)
        if values is not None:
            digest.update(f"{key} {values.dtype.str} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write `dataset`, whole or not at all, always the same bytes. Raises UserError where `path` cannot be written."""
    content = io.BytesIO()  # in memory: a full disk in the middle of a file crashes HDF5
    with h5py.File(content, "w") as file:
        for name, (key, _, _) in _ARRAYS.items():
            values = getattr(dataset, name)
            if values is not None:
                file.create_dataset(key, data=values, compression="gzip", shuffle=True)
        for name, value in dataset.metadata.items():
            file[f"metadata/{name}"] = value
    with replacing(path) as target:
        target.write(content.getbuffer())


def read_dataset(path: Path, env: str | None = None) -> Dataset:
    """Read and check a file; env: the environment that it is for, by default its metadata/env.

    Raises UserError, one line naming file, key and what is accepted, for a file that is unreadable or not HDF5, a
    missing key, a wrong dtype, and as `check_arrays` does.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; accepted: an HDF5 file in the D4RL v2 schema")
    try:
        with h5py.File(path, "r") as file:
            metadata = _read_metadata(file, path)
            spec = _environment(path, metadata, env)
            arrays = {name: _read_array(file, path, name, spec) for name in _ARRAYS}
    except (OSError, RuntimeError, KeyError) as error:  # truncation shows at opening, a damaged chunk at reading
        reason = str(error).splitlines()[0].strip("'\"")
        if "signature" in reason:
            with path.open("rb") as other:
                reason = "gzip: gunzip it first" if other.read(2) == b"\x1f\x8b" else reason
        raise UserError(f"{path}: truncated, damaged or not HDF5 ({reason}); accepted: a complete HDF5 file") from None
    if (arrays["qpos"] is None) != (arrays["qvel"] is None):
        raise UserError(f"{path}: only one of 'infos/qpos' and 'infos/qvel'; accepted: both or none")
    dataset = Dataset(env=spec.name, metadata=metadata, **arrays)  # type: ignore[arg-type]  # required ones are there
    check_arrays(str(path), dataset)
    return dataset


def check_arrays(where: str, dataset: Dataset) -> None:
    """Raise UserError, beginning with `where`, for no rows, a wrong shape, NaN, infinity or an action out of bounds."""
    spec, rows = find_spec(dataset.env), np.shape(dataset.obs)[:1]
    if rows == (0,):
        raise UserError(f"{where}: 'observations' has no rows; accepted: at least one")
    for name, (key, _, size) in _ARRAYS.items():
        values = getattr(dataset, name)
        if values is None:
            continue
        shape = (*rows, getattr(spec, size)) if size else rows
        if values.shape != shape:
            accepted = f"{list(shape)}, as many rows as 'observations', for {spec.name}"
            raise UserError(f"{where}: {key!r} has shape {list(values.shape)}; accepted: {accepted}")
        lowest, highest = float(values.min()), float(values.max())  # no mask of an array is held beside it
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            row = np.argwhere(~np.isfinite(values))[0][0]
            raise UserError(f"{where}: {key!r} is NaN or infinite, first in row {row}; accepted: finite numbers")
        bound = np.float32(spec.action_high * (1 + ACTION_TOLERANCE))
        if name == "action" and max(-lowest, highest) > bound:
            row, column = np.argwhere(np.abs(values) > bound)[0]
            accepted = f"[-{spec.action_high:g}, {spec.action_high:g}] for {spec.name}"
            raise UserError(f"{where}: 'actions' has {values[row, column]:g}, first in row {row}; accepted: {accepted}")


def keys(path: Path) -> list[str]:
    """List what is at the top of a file. Raises UserError for a file that is not HDF5."""
    try:
        with h5py.File(path, "r") as file:
            return list(file)
    except OSError as error:
        raise UserError(f"{path}: damaged or not HDF5 ({error}); accepted: a complete HDF5 file") from None


def _environment(path: Path, metadata: dict[str, MetadataValue], env: str | None) -> EnvSpec:
    recorded = metadata.get("env")
    if env is not None:
        if isinstance(recorded, str) and recorded in ENVIRONMENTS and recorded != env:
            raise UserError(f"{path}: 'metadata/env' is {recorded!r}, not {env!r}; accepted: a file made for {env}")
        return find_spec(env)
    if recorded is None:
        raise UserError(f"{path}: no 'metadata/env'; accepted: naming the environment, as in local:hopper:{path}")
    recorded = {spec.gym_id: name for name, spec in ENVIRONMENTS.items() if spec.gym_id}.get(str(recorded), recorded)
    if not isinstance(recorded, str) or not (recorded in ENVIRONMENTS or recorded.startswith(GYMNASIUM)):
        accepted = f"{', '.join(ENVIRONMENTS)}, {GYMNASIUM}ID"  # no plugin: a file must not choose what is imported
        raise UserError(f"{path}: 'metadata/env' is {recorded!r}; accepted: {accepted}")
    return find_spec(recorded)


def _read_metadata(file: h5py.File, path: Path) -> dict[str, MetadataValue]:
    """Read the scalars and vectors directly under metadata/; D4RL's copies of its policy (groups) are left out."""
    group = file.get("metadata", {})
    if isinstance(group, h5py.Dataset):
        raise UserError(f"{path}: 'metadata' is an array; accepted: a group of named values")
    metadata: dict[str, MetadataValue] = {}
    for key, entry in group.items():
        if isinstance(entry, h5py.Dataset) and entry.shape is not None and entry.ndim <= 1:
            value = entry[()]
            if entry.ndim and value.dtype.kind in "SO" and value.size == 1:
                value = value[0]  # a text in an array of one
            text = isinstance(value, bytes)
            metadata[key] = value.decode("utf-8", "replace") if text else value if np.ndim(value) else value.item()
    return metadata


def _read_array(file: h5py.File, path: Path, name: str, spec: EnvSpec) -> np.ndarray | None:
    """Read one array in the dtype of `Dataset`, or None for an optional key that is missing."""
    key, dtype, size = _ARRAYS[name]
    entry = file.get(key)
    if name not in _REQUIRED and (entry is None or getattr(spec, size) is None):
        return None
    if not isinstance(entry, h5py.Dataset) or entry.shape is None:
        schema = ", ".join(_ARRAYS[other][0] for other in _REQUIRED)
        remedy = next((text for other, text in REMEDIES.items() if other in file), "")
        raise UserError(f"{path}: no array {key!r}; {remedy}accepted: the D4RL v2 schema ({schema})")
    if entry.dtype.kind != ("b" if dtype is bool else "f"):
        accepted = "bool" if dtype is bool else "float32 or 64"
        raise UserError(f"{path}: {key!r} has dtype {entry.dtype}; accepted: {accepted}")
    values = np.asarray(entry.astype(dtype)[()])  # HDF5 converts while it reads: no array is held twice
    return values[:, 0] if not size and values.shape[1:] == (1,) else values
