"""The file format: round trip, one clear line for every kind of bad file, and no half file."""

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from moore.base.errors import UserError
from moore.cli.main import main
from moore.data.hdf5 import Dataset, dataset_hash, read_dataset, write_dataset
from moore.data.load import load_dataset
from tests.support.datasets import BOTH, NONE, TERMINAL, TIMEOUT, random_dataset
from tests.support.errors import one_line
from tests.support.harm import Edit, put, set_value

ROWS = 12
GENERIC = "gymnasium:Hopper-v5"
KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")
DATASET = random_dataset("hopper", [NONE] * 4 + [TERMINAL] + [NONE] * 3 + [TIMEOUT, NONE, BOTH, NONE])
FIELDS = ("obs", "action", "reward", "next_obs", "terminated", "truncated", "qpos", "qvel")


def assert_equal(left: Dataset, right: Dataset) -> None:
    for name in FIELDS:
        assert getattr(left, name).dtype == getattr(right, name).dtype, name
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "set.hdf5"
    write_dataset(path, DATASET)
    return path


def test_round_trip_and_schema(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["metadata/policy/fc0/weight"] = np.zeros((4, 4))  # D4RL has such groups, which are left out
        file["metadata/bytes"] = np.bytes_(b"SAC")
        file["actions"][0] = 1 + 5e-6  # rounding
    read = read_dataset(path)
    assert_equal(replace(read, action=DATASET.action), DATASET)
    np.testing.assert_array_equal(np.asarray(read.metadata.pop("env_steps")), [10, 20])
    assert read.metadata == {"env": "hopper", "algorithm": "SAC", "seed": 3, "score": 41.5, "bytes": "SAC"}
    with h5py.File(path, "a") as file:  # the names that D4RL's own code looks up
        assert sorted(file) == sorted([*KEYS, "infos", "metadata", "next_observations"])
        assert file["observations"].compression == "gzip"
        del file["next_observations"], file["infos"], file["metadata"]  # which may be missing
    read = read_dataset(path, "hopper")
    assert (read.next_obs, read.qpos, read.qvel, read.metadata) == (None, None, None, {})


def test_writing_is_atomic_and_repeatable(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_dataset(path, replace(DATASET, metadata={"bad": object()}))  # type: ignore[dict-item]
    assert path.read_bytes() == before
    write_dataset(path, replace(DATASET, reward=DATASET.reward + 1))
    assert path.read_bytes() != before
    write_dataset(path, DATASET)
    assert path.read_bytes() == before
    (path.parent / "taken").mkdir()
    with pytest.raises(UserError, match="taken: cannot be written"):
        write_dataset(path.parent / "taken", DATASET)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["set.hdf5", "taken"]


FULL = """
import sys
from moore.cli.main import main
from tests.support.harm import no_room
with no_room(4096):
    sys.exit(main(["data", "make", "self:pendulum-random", "--transitions", "2000", "--data-dir", sys.argv[1]]))
"""


def test_no_room(tmp_path: Path) -> None:
    """Breaks if a file that stops growing, as on a full disk, crashes the process, or half of it stays."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "cannot be written" in line
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def empty(file: h5py.File) -> None:
    for key in KEYS:
        put(key, file[key][:0])(file)


BAD_FILES: dict[str, tuple[Edit, list[str]]] = {
    "missing key": (put("rewards", None), ["'rewards'", "D4RL v2 schema"]),
    "v0 file": (put("timeouts", None), ["'timeouts'", "D4RL v2 schema"]),
    "group for array": (lambda f: (f.move("rewards", "x"), f.create_group("rewards")), ["'rewards'"]),
    "action width": (put("actions", np.zeros((ROWS, 6), np.float32)), ["'actions'", "[12, 6]", "[12, 3]"]),
    "qpos width": (put("infos/qpos", np.zeros((ROWS, 9))), ["'infos/qpos'", "[12, 9]", "[12, 6]"]),
    "flag dtype": (put("terminals", np.zeros(ROWS, np.float32)), ["'terminals'", "float32", "bool"]),
    "text dtype": (put("rewards", np.array([b"a"] * ROWS)), ["'rewards'", "float32"]),
    "zero rows": (empty, ["'observations'", "no rows"]),
    "unequal": (put("rewards", np.zeros(ROWS - 1, np.float32)), ["'rewards'", "[11]", "[12]"]),
    "NaN obs": (set_value("observations", 7, np.nan), ["'observations'", "row 7"]),
    "inf reward": (set_value("rewards", 3, np.inf), ["'rewards'", "row 3"]),
    "float64 overflow": (put("rewards", np.full(ROWS, 1e300)), ["'rewards'", "row 0"]),
    "action bound": (set_value("actions", 5, -1.01), ["'actions'", "-1.01", "row 5", "[-1, 1]"]),
    "upper action bound": (set_value("actions", 5, 1 + 2e-5), ["'actions'", "row 5", "[-1, 1]"]),
    "half the state": (put("infos/qvel", None), ["'infos/qpos'", "'infos/qvel'"]),
    "no env": (put("metadata/env", None), ["metadata/env", "local:hopper:"]),
    "foreign env": (put("metadata/env", "Hopper-v2"), ["Hopper-v2", "halfcheetah"]),
    "a single number": (put("rewards", np.array(1.0)), ["'rewards'", "[]", "[12]"]),
    "an empty space": (put("rewards", h5py.Empty("f4")), ["'rewards'"]),
    "a link to nothing": (put("rewards", h5py.SoftLink("/nowhere")), ["'rewards'"]),
    "metadata is no group": (put("metadata", np.zeros(3)), ["'metadata'"]),
    "env is no text": (put("metadata/env", np.zeros(3)), ["'metadata/env'"]),
}


def refused(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the reader and a command answer `text` with."""
    line = one_line(lambda: load_dataset(text), "accepted")
    assert main(["data", "check", text]) == 2
    assert capsys.readouterr() == ("", f"moore: {line}\n")
    return line


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(case: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, fragments = BAD_FILES[case]
    with h5py.File(path, "a") as file:
        edit(file)
    content = path.read_bytes()
    line = refused(f"local:{path}", capsys)
    for fragment in [str(path), *fragments]:
        assert fragment in line
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("spelling", "env"),
    [("hopper", "hopper"), ("Hopper-v5", "hopper"), (np.array([b"hopper"]), "hopper"), (GENERIC, GENERIC)],
)
def test_spellings_of_an_environment(spelling: object, env: str, path: Path) -> None:
    """Breaks if Gymnasium's name, or a text in an array of one, is no name."""
    with h5py.File(path, "a") as file:
        put("metadata/env", spelling)(file)
    assert load_dataset(f"local:{path}").env == env


def test_doubles_and_columns_are_read(path: Path) -> None:
    """Breaks if observations in float64, or rewards and flags [N, 1], give other rows, or none."""
    expected = read_dataset(path)
    with h5py.File(path, "a") as file:
        for key in ("observations", "next_observations"):
            put(key, file[key][()].astype(np.float64))(file)
        for key in ("rewards", "terminals", "timeouts"):
            put(key, file[key][()][:, None])(file)
    assert dataset_hash(read_dataset(path)) == dataset_hash(expected)


def test_file_of_another_environment(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'metadata/env' is 'hopper', not 'pendulum'" in refused(f"local:pendulum:{path}", capsys)
    write_dataset(path, replace(DATASET, metadata={}))
    assert "'observations' has shape [12, 11]; accepted: [12, 3]" in refused(f"local:pendulum:{path}", capsys)
    assert f"naming the environment, as in local:hopper:{path}" in refused(f"local:{path}", capsys)
    assert load_dataset(f"local:hopper:{path}").env == "hopper"


def test_no_hdf5_file_at_all(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (
        path.read_bytes()[:5000],
        b"",
        b"PK\x03\x04 a zip file",
        b"version https://git-lfs.github.com/spec/v1\n" * 40,
    ):
        path.write_bytes(content)
        assert f"{path}: truncated, damaged or not HDF5" in refused(f"local:{path}", capsys)
    path.write_bytes(gzip.compress(b"any"))
    assert "(gzip: gunzip it first)" in refused(f"local:{path}", capsys)
    assert f"{path.parent}: no such file" in refused(f"local:{path.parent}", capsys)
    assert "~nobody-of-this-name/set.hdf5: no such file" in refused("local:~nobody-of-this-name/set.hdf5", capsys)


def test_a_damaged_byte_is_never_read_as_data(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["observations"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="truncated, damaged or not HDF5"):
        load_dataset(f"local:{path}")


def test_hash_depends_on_content_only(path: Path) -> None:
    assert dataset_hash(DATASET) == dataset_hash(read_dataset(path)) == dataset_hash(replace(DATASET, metadata={}))
    for name in FIELDS:
        changed = getattr(DATASET, name).copy()
        changed[6] = ~changed[6] if changed.dtype == bool else changed[6] + 1
        assert dataset_hash(replace(DATASET, **{name: changed})) != dataset_hash(DATASET), name
    assert dataset_hash(replace(DATASET, env="walker2d")) != dataset_hash(DATASET)
    assert dataset_hash(replace(DATASET, next_obs=None)) != dataset_hash(DATASET)
    rows, flags = np.arange(2, dtype=np.float32), np.array([False, True])
    dataset = Dataset("pendulum", np.tile(rows[:, None], 3), rows[:, None], rows, flags, ~flags)
    # a literal: manifests in git name datasets by it
    assert dataset_hash(dataset) == "58f4e244e3abcab7a059f33b95586efbb9e004ac12ddc2b070423ffa2f8b1d6f"
