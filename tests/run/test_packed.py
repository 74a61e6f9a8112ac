"""Runs trained on one machine and collected on another: what is packed, what arrives, what is refused."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moore.algorithm.config import from_mapping
from moore.base.errors import UserError
from moore.cli.main import main
from moore.run.packed import unpack
from moore.run.stop import STOPPED
from moore.run.units import study_units
from moore.studies.axes import merge
from moore.studies.study import Study
from tests.support.resume_units import RUN, rows, run_to_end, table_of, write_study, write_unit

LOW, MEDIUM = "self:pendulum-low", "self:pendulum-medium"


def test_what_one_machine_trains_another_collects(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Breaks if a run or a stage is lost on the way, comes twice or is half there, or time that is up is a failure."""
    study = write_study(tmp_path, uniform={"sampling": {"start_states": "uniform"}})
    words = [str(tmp_path / "study.yaml"), "--scale", str(tmp_path / "scale.yaml")]
    there, here, file = tmp_path / "there", tmp_path / "here", tmp_path / "rows.tgz"
    call = ["study", "train", *words, "--root", str(there), "--pack", str(file), "--minutes"]
    assert main([*call, "1e-9"]) == STOPPED
    assert "0 of 2 runs are finished" in capfd.readouterr().out
    assert main([*call, "5"]) == 0
    assert "2 of 2 runs are finished" in capfd.readouterr().out
    assert unpack(file, here) == {study.name: (4, 0)}
    assert main(["study", "import", str(file), "--root", str(here)]) == 0
    assert f"{study.name}: 0 runs and offline stages imported, 4" in capfd.readouterr().out
    pd.testing.assert_frame_equal(table_of(study, here), table_of(study, there))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=r"rows\.tgz: "):
        unpack(file, tmp_path / "half")
    assert not (tmp_path / "half").exists()


def holding(name: str) -> bytes:
    """An archive of one empty file of this name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", holding("../runs/x/rows.csv"), holding("s/runs/x/rows.csv")],
    ids=["empty", "text", "outside", "no manifest"],  # archives hold the time: two workers would give two names
)
def test_what_is_no_file_of_runs_is_refused(content: bytes, tmp_path: Path) -> None:
    """Breaks if rows without a manifest are taken for a run, or one can write outside of the root."""
    file = tmp_path / "rows.tgz"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"rows\.tgz: "):
        unpack(file, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_gpu_takes_the_datasets_of_an_environment_together(tmp_path: Path) -> None:
    """Breaks if units on a GPU have few runs, or a run depends on which datasets are trained beside it."""
    runs = [
        from_mapping(merge(RUN, {"dataset": dataset, "seed": seed}), "test")
        for dataset in (LOW, MEDIUM)
        for seed in (0, 1)
    ]
    study = Study("tiny", "tiny", runs)
    (together,) = study_units(study, tmp_path, "cuda")
    assert len(together.runs) == 4
    apart = study_units(study, tmp_path / "apart", "cpu")
    assert together.cost == sum(unit.cost for unit in apart)  # by which time left is told
    assert [len(unit.runs) for unit in apart] == [2, 2]
    run_to_end(write_unit(tmp_path / "together", runs))
    for unit in apart:
        unit.write_spec()
        run_to_end(unit.spec_path)
    one, two = rows(tmp_path / "together"), rows(tmp_path / "apart")
    keys = ["run", "phase", "env_steps", "updates", "metric"]
    pd.testing.assert_frame_equal(one[keys], two[keys])
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-3, atol=1e-3)
