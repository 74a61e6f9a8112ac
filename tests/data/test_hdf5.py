"""The file format: round trip, and one clear line for every kind of bad file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.cli.main import main
from moore.data.hdf5 import Dataset, dataset_hash, read_dataset, write_dataset
from moore.data.load import load_dataset

ROWS = 12
ARRAYS = ("observations", "next_observations", "actions", "rewards", "infos/qpos", "infos/qvel")


def small_dataset() -> Dataset:
    rng = np.random.default_rng(0)
    terminated, truncated = np.zeros(ROWS, bool), np.zeros(ROWS, bool)
    terminated[4], truncated[8] = True, True
    return Dataset(
        env="hopper",
        obs=rng.normal(size=(ROWS, 11)).astype(np.float32),
        action=rng.uniform(-1, 1, (ROWS, 3)).astype(np.float32),
        reward=rng.normal(size=ROWS).astype(np.float32),
        next_obs=rng.normal(size=(ROWS, 11)).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        qpos=rng.normal(size=(ROWS, 6)),
        qvel=rng.normal(size=(ROWS, 6)),
        metadata={"env": "hopper", "algorithm": "SAC", "seed": 3, "score": 41.5, "env_steps": np.array([10, 20])},
    )


def assert_equal(left: Dataset, right: Dataset) -> None:
    for name in ("obs", "action", "reward", "next_obs", "terminated", "truncated", "qpos", "qvel"):
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "set.hdf5"
    write_dataset(path, small_dataset())
    return path


def test_round_trip_and_schema(path: Path) -> None:
    read = read_dataset(path)
    assert_equal(read, small_dataset())
    assert read.env == "hopper"
    assert read.metadata["algorithm"] == "SAC"
    assert read.metadata["seed"] == 3
    assert read.metadata["score"] == 41.5
    np.testing.assert_array_equal(np.asarray(read.metadata["env_steps"]), [10, 20])
    with h5py.File(path) as file:  # the names that D4RL's own code looks up
        keys = ["actions", "infos", "metadata", "next_observations", "observations", "rewards", "terminals", "timeouts"]
        assert sorted(file) == keys
        assert file["observations"].compression == "gzip"


def test_writing_is_atomic_and_repeatable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    again = path.with_name("again.hdf5")
    write_dataset(again, small_dataset())
    assert again.read_bytes() == before

    with pytest.raises(TypeError):
        write_dataset(path, replace(small_dataset(), metadata={"bad": object()}))  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["again.hdf5", "set.hdf5"]


def test_optional_parts_may_be_missing(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["next_observations"], file["infos"], file["metadata"]
    read = read_dataset(path, "hopper")
    assert read.next_obs is None
    assert read.qpos is None
    assert read.qvel is None
    assert read.metadata == {}


def test_policy_groups_in_metadata_are_skipped(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["metadata/policy/fc0/weight"] = np.zeros((4, 4))
        file["metadata/algorithm2"] = np.bytes_(b"SAC")  # D4RL writes bytes
    metadata = read_dataset(path).metadata
    assert "policy" not in metadata
    assert metadata["algorithm2"] == "SAC"


def set_value(key: str, row: int, value: float) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        values = file[key][()]
        values[row] = value
        file[key][...] = values

    return edit


def put(key: str, values: np.ndarray) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[key]
        file[key] = values

    return edit


def remove(key: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[key]

    return edit


def empty(file: h5py.File) -> None:
    for key in ("observations", "actions", "rewards", "terminals", "timeouts"):
        values = file[key][:0]
        del file[key]
        file[key] = values


def soft_link(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"] = h5py.SoftLink("/nowhere")


def boolean(rows: int) -> np.ndarray:
    return np.zeros(rows, bool)


BAD_FILES: dict[str, tuple[Callable[[h5py.File], None], list[str]]] = {
    "missing key": (remove("rewards"), ["'rewards'", "D4RL v2 schema"]),
    "v0 file": (remove("timeouts"), ["'timeouts'", "D4RL v2 schema"]),
    "group for array": (lambda f: (f.move("rewards", "x"), f.create_group("rewards"))[0], ["'rewards'"]),
    "action width": (put("actions", np.zeros((ROWS, 6), np.float32)), ["'actions'", "[12, 6]", "[rows, 3]"]),
    "qpos width": (put("infos/qpos", np.zeros((ROWS, 9))), ["'infos/qpos'", "[12, 9]", "[rows, 6]"]),
    "flag dtype": (put("terminals", np.zeros(ROWS, np.float32)), ["'terminals'", "float32", "bool"]),
    "text dtype": (put("rewards", np.array([b"a"] * ROWS)), ["'rewards'", "float32"]),
    "zero rows": (empty, ["'observations'", "no rows"]),
    "unequal": (put("rewards", np.zeros(ROWS - 1, np.float32)), ["'rewards'", "11 rows", "12"]),
    "NaN obs": (set_value("observations", 7, np.nan), ["'observations'", "row 7"]),
    "inf reward": (set_value("rewards", 3, np.inf), ["'rewards'", "row 3"]),
    "float64 overflow": (put("rewards", np.full(ROWS, 1e300)), ["'rewards'", "row 0"]),
    "action bound": (set_value("actions", 5, -1.01), ["'actions'", "-1.01", "row 5", "[-1, 1]"]),
    "half the state": (remove("infos/qvel"), ["'infos/qpos'", "'infos/qvel'"]),
    "no env": (remove("metadata/env"), ["metadata/env", "local:hopper:"]),
    "foreign env": (put("metadata/env", "Hopper-v2"), ["Hopper-v2", "halfcheetah"]),  # type: ignore[arg-type]
    "NaN action": (put("actions", np.full((ROWS, 3), np.nan, np.float32)), ["'actions'", "row 0"]),
    "ragged rewards": (
        lambda file: (remove("rewards")(file), file.create_dataset("rewards", (ROWS,), h5py.vlen_dtype(float)))[0],
        ["'rewards'", "object"],
    ),
    "a single number": (put("rewards", np.array(1.0)), ["'rewards'", "[]", "[rows]"]),
    "an empty space": (
        lambda file: (remove("rewards")(file), file.create_dataset("rewards", data=h5py.Empty("f4")))[0],
        ["'rewards'"],
    ),
    "a link to nothing": (soft_link, ["'rewards'"]),
    "metadata is no group": (put("metadata", np.zeros(3)), ["'metadata'"]),
    "env is no text": (put("metadata/env", np.zeros(3)), ["'metadata/env'"]),
}


def refused(text: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the reader and both commands answer `text` with."""
    with pytest.raises(UserError) as caught:
        load_dataset(text)
    for command in ("describe", "check"):
        assert main(["data", command, text]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err == f"moore: {caught.value}\n"
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file(case: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, fragments = BAD_FILES[case]
    with h5py.File(path, "a") as file:
        edit(file)
    content = path.read_bytes()
    line = refused(f"local:{path}", capsys)
    for fragment in [str(path), "accepted", *fragments]:
        assert fragment in line
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["set.hdf5"]


@pytest.mark.parametrize("env", ["walker2d", "pendulum"])
def test_file_of_another_environment(env: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"'metadata/env' is 'hopper', not '{env}'" in refused(f"local:{env}:{path}", capsys)
    write_dataset(path, replace(small_dataset(), metadata={}))
    assert "'observations' has shape [12, 11]; accepted: [rows, " in refused(f"local:{env}:{path}", capsys)
    assert f"naming the environment, as in local:hopper:{path}" in refused(f"local:{path}", capsys)


def test_no_hdf5_file_at_all(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"", b"PK\x03\x04 a zip file", b"version https://git-lfs.github.com/spec/v1\n" * 40):
        path.write_bytes(content)
        assert f"{path}: truncated, damaged or not HDF5" in refused(f"local:{path}", capsys)
    assert f"{path.parent}: no such file" in refused(f"local:{path.parent}", capsys)
    assert f"{path}x: no such file" in refused(f"local:hopper:{path}x", capsys)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere(share: float, path: Path) -> None:
    write_dataset(path, small_dataset())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="truncated, damaged or not HDF5"):
        load_dataset(f"local:{path}")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(ARRAYS), share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_byte_is_never_read_as_data(key: str, share: float, flip: int, path: Path) -> None:
    """Anywhere in the compressed rows: the file is refused, or the byte was padding and the rows are as they were."""
    write_dataset(path, small_dataset())
    with h5py.File(path) as file:
        chunk = file[key].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + int(share * chunk.size)] ^= flip
    path.write_bytes(content)
    try:
        read = load_dataset(f"local:{path}")
    except UserError as error:
        reason = str(error)
    else:
        assert_equal(read, small_dataset())
        return
    assert f"{path}: truncated, damaged or not HDF5" in reason


def test_a_file_name_with_a_colon_is_no_misspelt_id(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.rename(path.with_name("hoper:set.hdf5"))
    monkeypatch.chdir(path.parent)
    assert load_dataset("local:hoper:set.hdf5").env == "hopper"


def test_a_row_with_both_flags_is_read_as_it_is(path: Path) -> None:
    """Gymnasium's time limit sets both; no rule of training is wrong about it, so the file is not refused."""
    both = replace(small_dataset(), truncated=small_dataset().terminated)
    write_dataset(path, both)
    read: Dataset = load_dataset(f"local:{path}")
    assert_equal(read, both)
    assert (read.terminated & read.truncated).sum() == 1


def test_action_at_the_bound_within_rounding_is_fine(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["actions"][0] = 1 + 5e-6
    read_dataset(path)


def test_hash_depends_on_content_only(path: Path) -> None:
    dataset = small_dataset()
    assert dataset_hash(dataset) == dataset_hash(read_dataset(path))
    assert dataset_hash(dataset) == dataset_hash(replace(dataset, metadata={}))
    for name in ("obs", "action", "reward", "next_obs", "terminated", "truncated", "qpos", "qvel"):
        changed = getattr(dataset, name).copy()
        changed[6] = ~changed[6] if changed.dtype == bool else changed[6] + 1
        assert dataset_hash(replace(dataset, **{name: changed})) != dataset_hash(dataset), name
    assert dataset_hash(replace(dataset, env="walker2d")) != dataset_hash(dataset)
    assert dataset_hash(replace(dataset, next_obs=None)) != dataset_hash(dataset)


def test_hash_is_stable() -> None:
    rows = np.arange(2, dtype=np.float32)
    flags = np.array([False, True])
    dataset = Dataset("pendulum", np.tile(rows[:, None], 3), rows[:, None], rows, flags, ~flags)
    # a literal: manifests in git name datasets by it
    assert dataset_hash(dataset) == "58f4e244e3abcab7a059f33b95586efbb9e004ac12ddc2b070423ffa2f8b1d6f"
