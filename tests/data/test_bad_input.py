"""Bad datasets through every door: exit code 2 and one line that names the file or id and what is accepted."""

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
from moore.data.hdf5 import Dataset, write_dataset
from moore.data.load import load_dataset
from tests.data.test_hdf5 import BAD_FILES, ROWS, assert_equal, put, remove, small_dataset

ARRAYS = ("observations", "next_observations", "actions", "rewards", "infos/qpos", "infos/qvel")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "set.hdf5"
    write_dataset(path, small_dataset())
    return path


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


def soft_link(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"] = h5py.SoftLink("/nowhere")


MORE_BAD_FILES: dict[str, tuple[Callable[[h5py.File], None], list[str]]] = {
    "NaN action": (put("actions", np.full((ROWS, 3), np.nan, np.float32)), ["'actions'", "row 0"]),
    "NaN qpos": (put("infos/qpos", np.full((ROWS, 6), np.nan)), ["'infos/qpos'", "row 0"]),
    "-inf next": (put("next_observations", np.full((ROWS, 11), -np.inf)), ["'next_observations'", "row 0"]),
    "integer rewards": (put("rewards", np.ones(ROWS, int)), ["'rewards'", "int64", "float32"]),
    "complex rewards": (put("rewards", np.ones(ROWS, complex)), ["'rewards'", "complex128"]),
    "ragged rewards": (
        lambda file: (remove("rewards")(file), file.create_dataset("rewards", (ROWS,), h5py.vlen_dtype(float)))[0],
        ["'rewards'", "object"],
    ),
    "numeric flags": (put("timeouts", np.zeros(ROWS, np.int8)), ["'timeouts'", "int8", "bool"]),
    "a single number": (put("rewards", np.array(1.0)), ["'rewards'", "[]", "[rows]"]),
    "an empty space": (
        lambda file: (remove("rewards")(file), file.create_dataset("rewards", data=h5py.Empty("f4")))[0],
        ["'rewards'"],
    ),
    "a link to nothing": (soft_link, ["'rewards'"]),
    "other observations only": (put("observations", np.zeros((ROWS, 17), np.float32)), ["'observations'", "[12, 17]"]),
    "metadata is no group": (put("metadata", np.zeros(3)), ["'metadata'"]),
    "env is no text": (put("metadata/env", np.zeros(3)), ["'metadata/env'"]),
}


@pytest.mark.parametrize("case", [*BAD_FILES, *MORE_BAD_FILES])
def test_bad_file(case: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit, fragments = (BAD_FILES | MORE_BAD_FILES)[case]
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


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("self:hopper-medum", ["'self:hopper-medum'", "did you mean 'self:hopper-medium'?"]),
        ("self:hopper", ["did you mean 'self:hopper-"]),
        ("d4rl:hopper-medium-v3", ["did you mean 'd4rl:hopper-medium-v2'?"]),
        ("d4rl:hopper_medium-v2", ["did you mean 'd4rl:hopper-medium-v2'?"]),
        ("locl:set.hdf5", ["did you mean 'local:set.hdf5'?"]),
        ("Local:set.hdf5", ["did you mean 'local:set.hdf5'?"]),
        ("local:hoper:set.hdf5", ["'local:hoper:set.hdf5'", "did you mean 'local:hopper:set.hdf5'?"]),
        ("local:Hopper-v2:set.hdf5", ["did you mean 'local:hopper:set.hdf5'?"]),
        ("local:~nobody-of-this-name/set.hdf5", ["~nobody-of-this-name/set.hdf5: no such file"]),
        ("local:", ["names no file"]),
        ("set.hdf5", ["unknown dataset id 'set.hdf5'", "local:PATH"]),
        ("", ["unknown dataset id ''", "local:PATH"]),
    ],
)
def test_misspelt_ids(text: str, fragments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(text, capsys)
    for fragment in fragments:
        assert fragment in line


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


def test_a_refused_file_is_read_once_it_is_sound(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same file, sound again, is described: nothing of it was remembered or changed."""
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    refused(f"local:{path}", capsys)
    path.write_bytes(content)
    assert main(["data", "describe", f"local:{path}"]) == 0
    assert f"{ROWS}: 1 terminated, 1 truncated" in capsys.readouterr().out
