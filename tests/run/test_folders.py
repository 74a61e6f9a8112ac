"""Folders of runs: which are finished, and what becomes of those of other settings or other data."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

import moore.run.folders
from moore.base.errors import UserError
from moore.data.hdf5 import write_dataset
from moore.data.make import find_recipe
from moore.run.collect import collect
from moore.run.folders import is_finished, read_manifest, set_aside_other_data
from moore.run.local import run_study
from moore.run.units import UnitProcess
from moore.studies.identity import run_id
from tests.support.resume_units import table_of, train, write_study


def test_an_edited_study_has_no_rows_of_the_old_one(tmp_path: Path) -> None:
    """Breaks if runs of settings that are no longer in the study, still in its folder, reach the table."""
    root = tmp_path / "runs"
    old = write_study(tmp_path, prioritized={}, uniform={"sampling": {"model_batches": "uniform"}})
    train(old, root)
    assert set(table_of(old, root)["method"]) == {"mopo", "prioritized", "uniform"}
    new = write_study(tmp_path, prioritized={"sampling": {"decay_rate": 3.0}})
    (unit,) = (UnitProcess(new.name, runs, root, "cpu") for runs in new.cohorts())
    assert not unit.finished()
    assert not unit.missing_stages()  # they are the same
    train(new, root)
    table = table_of(new, root)
    assert {name for name in table["run"] if not name.startswith("offline-")} == {run_id(run) for run in new.runs}
    fresh = tmp_path / "fresh"
    train(new, fresh)
    pd.testing.assert_frame_equal(table, table_of(new, fresh), check_exact=True)
    assert len(list((root / new.name / "runs").iterdir())) == 2 + 4 + 2  # the old ones are still there


def test_other_data_under_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if rows of other data stand for the data that is there, are lost, or all data is read each time."""
    file, root = tmp_path / "own.hdf5", tmp_path / "runs"
    write_dataset(file, find_recipe("pendulum", "random", 400).make())
    study = write_study(tmp_path, f"local:{file}")
    train(study, root)
    folder = root / study.name
    old = table_of(study, root)

    def aside(reads: bool) -> list[str]:
        with monkeypatch.context() as patch:
            if not reads:
                patch.setattr(moore.run.folders, "run_dataset", lambda *_: pytest.fail("reads a file it knows"))
            return set_aside_other_data(folder, study.runs, root)

    assert aside(reads=False) == []
    os.utime(file, (1, 1))  # copied or touched: another time, the same content
    assert aside(reads=True) == []
    assert aside(reads=False) == []

    write_dataset(file, find_recipe("pendulum", "random", 400, seed=1).make())
    kept = {path.name: (path / "rows.csv").read_bytes() for path in (folder / "runs").iterdir()}
    (note,) = aside(reads=True)
    assert note.startswith(f"local:{file} is not what 4 runs and offline stages were trained on; they start again")
    moved = {
        path.name.rpartition("-")[0]: (path / "rows.csv").read_bytes() for path in (folder / "other-data").iterdir()
    }
    assert moved == kept
    assert not any(UnitProcess(study.name, runs, root, "cpu").finished() for runs in study.cohorts())
    train(study, root)
    fresh = tmp_path / "fresh"
    train(study, fresh)
    new = table_of(study, root)
    pd.testing.assert_frame_equal(new, table_of(study, fresh), check_exact=True)
    assert not new.equals(old)

    # a file that changes while units start gives the study two kinds of data
    manifest = folder / "runs" / run_id(study.runs[0]) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(UserError, match="changed while it was trained on; accepted: the same command again"):
        collect(study, root, root / "results", "a test")


def test_what_a_kill_left_of_finished_runs(tmp_path: Path) -> None:
    """Breaks if checkpoints stay for ever whose process was killed after its last manifest."""
    study, root = write_study(tmp_path), tmp_path / "runs"
    train(study, root)
    folder, (runs,) = root / study.name / "checkpoints", study.cohorts()
    name = UnitProcess(study.name, runs, root, "cpu").name
    for left in (f"{name}.online", f"{name}2.online"):
        (folder / left).mkdir()
        (folder / left / "1.pt").write_text("")
    run_study(study, root, [{}])
    assert [path.name for path in folder.iterdir()] == [f"{name}2.online"]


def test_finished_means_manifest_and_rows_of_this_run(tmp_path: Path) -> None:
    """Breaks if a run without its rows counts as finished, or one of other settings as this one."""
    study, root = write_study(tmp_path), tmp_path / "runs"
    train(study, root)
    run = study.runs[0]
    folder = root / study.name / "runs" / run_id(run)
    content = (folder / "rows.csv").read_bytes()
    assert is_finished(folder, run)
    for harmed in (content[:-1], content + b"x", b""):
        (folder / "rows.csv").write_bytes(harmed)
        assert not is_finished(folder, run)
    (folder / "rows.csv").unlink()
    assert not is_finished(folder, run)
    (folder / "rows.csv").write_bytes(content)
    manifest = read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest)[:-1])
    assert not is_finished(folder, run)
    del manifest["config"]["agent"]["tau"], manifest["rows_bytes"]  # as of a version that did not have them
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert is_finished(folder, run)
    manifest["config"]["agent"]["gamma"] = 0.5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"is of another run: agent\.gamma is 0\.5 there and 0\.99 here; accepted"):
        is_finished(folder, run)
