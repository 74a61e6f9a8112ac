"""D4RL's MuJoCo v2 files: their table, where they are kept, and whether a file is the published one.

The package d4rl is not imported: it needs mujoco_py. Its folder is shared, so what it fetched is not fetched again.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from moore.base.errors import UserError


class PublishedFile(NamedTuple):
    """A file as its authors published it."""

    name: str
    size: int  # bytes
    sha256: str


# bytes and sha256: tensorflow_datasets/d4rl/d4rl_mujoco_*/checksums.tsv in tensorflow/datasets
_TABLE = """
halfcheetah_random-v2         237338037  25407aef85b5d16c0f36b4149341edb4acc6a9e88c1db529b2de19e7464874ba
halfcheetah_medium-v2         237727262  41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0
halfcheetah_medium_replay-v2   59448533  48d494a4770c11f48260736dec090b78bdca8375647ed4d24bfa5b6610c7f683
halfcheetah_medium_expert-v2  474567252  015db75dae5bbe8e94029b71fa0bafc2073365df0c94744e71031189f3f79c06
halfcheetah_expert-v2         237464597  d9fe53bb994eb1e20a99b4fa3412cd76a1bb7966a7ff55e0fcbdd6081bd2965f
halfcheetah_full_replay-v2    291381762  27fdf7ea86e5a2cbd24d611ae9e703c86ec2e8e52823abc69dd9af6afb3a36c0
hopper_random-v2              152525345  63103ef7059db4c0819bd054f4e83ff339030b50bcdb46bdbe50385f234b5054
hopper_medium-v2              152756557  5bdf1bc4a713c82941de44633df669b36c89850b652a25985166796d25cf71a0
hopper_medium_replay-v2        75854457  e121c5f7c9857a307baa9edc6a2c3b48e85fedb9ac316ecddd0f48ca7ef4e39b
hopper_medium_expert-v2       304537315  9d51ad87f8c905be3880d84c6140bcdb7fbf39a19e046a237f238ba34fec9e26
hopper_expert-v2              152427435  01aa219a5f8eea5e639eccdc636ec2bf40e317159a95cf4bf6e985f16909941b
hopper_full_replay-v2         187998921  56baf95963c51c1e964049a974566c50ba80f289390565523e60c0ba83e0982e
walker2d_random-v2            216109364  4e863bb6090cf4a461548bd470564b32f1ae5b32ef3085f816b2ede7f092e7fa
walker2d_medium-v2            232254996  cf00f43add04c17fdfc2958dd581dea0851b2e5bedbe6fda073758a8f841aeda
walker2d_medium_replay-v2      86323963  e75de96a4f77acf7d4e0d6fdf0d7ccb177c26c44bb4388e4fd99f543ccfa18db
walker2d_medium_expert-v2     462197079  6b8d7f868c45bbaedf460be797fb7271b46dee6ebe45fe7a64319f2005b59a04
walker2d_expert-v2            230567195  2985dc3d436a8baa10e8f43f946fe1d7c6337a4e4fbc65def70618093b18c59a
walker2d_full_replay-v2       285115514  f2720f9d27b2acef6ec9a7d9ad3b80b6c2078ad4467cee668a81e3b3c80bcf2a
"""

FILES = {
    f"d4rl:{stem.replace('_', '-')}": PublishedFile(f"{stem}.hdf5", int(size), digest)
    for stem, size, digest in map(str.split, _TABLE.strip().splitlines())
}
"""By dataset id, e.g. d4rl:hopper-medium-v2."""


D4RL_RETURNS = {
    "halfcheetah": {"medium": 4770.3, "expert": 10656.0},
    "hopper": {"medium": 1422.1, "expert": 3511.0},
    "walker2d": {"medium": 2852.0, "expert": 4920.5},
}
"""Mean episode returns of D4RL's v2 sets, as its authors gave them to those of a decision transformer."""


def d4rl_path(dataset_id: str) -> Path:
    """Find the file of `dataset_id`, one of FILES. Raises UserError where it is missing or not the published one."""
    path = expected_path(dataset_id)
    if not os.path.isfile(path):  # False, unlike Path.is_file, where the folder cannot be looked into
        fetching = f"`moore data download {dataset_id}`, or another folder in D4RL_DATASET_DIR"
        raise UserError(f"{dataset_id}: no file {path}; accepted: {fetching}")
    check_published(dataset_id, path)
    return path


def expected_path(dataset_id: str) -> Path:
    """Name the path where d4rl keeps the file: in D4RL_DATASET_DIR, by default ~/.d4rl/datasets."""
    return named_folder("D4RL_DATASET_DIR", "~/.d4rl/datasets") / FILES[dataset_id].name


def named_folder(variable: str, default: str) -> Path:
    """Return the folder that an environment variable names, or its default."""
    return Path(os.path.expanduser(os.environ.get(variable) or default))  # Path's own raises for an unknown user's home


def check_published(dataset_id: str, path: Path) -> None:
    """Raise UserError, saying expected and got, unless `path` has the published size and sha256; the file stays."""
    expected = f"{FILES[dataset_id].size} bytes, sha256 {FILES[dataset_id].sha256}"
    try:
        got = f"{path.stat().st_size} bytes, sha256 {file_sha256(path)}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); accepted: a file you may read") from None
    if got != expected:
        env = dataset_id.removeprefix("d4rl:").partition("-")[0]
        found = f"{path} is not D4RL's file: expected {expected}, got {got}"
        accepted = f"to move it away and `moore data download {dataset_id}`, or local:{env}:{path} for it as it is"
        raise UserError(f"{dataset_id}: {found}; accepted: {accepted}")


def file_sha256(path: Path) -> str:
    """Hash a file's bytes (sha256, hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
