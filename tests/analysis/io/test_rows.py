"""Loading and validation: what is wrong with rows is an error of one line."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.io.rows import (
    Cells,
    environment,
    load_studies,
    load_study,
    quality,
    split_by_source,
    study_folders,
    validate,
)
from analysis.output.tables import main_table
from moore.base.errors import UserError
from tests.support.studies import LOW, MEDIUM, ORDER, flat, full_study, make_study, row, run_rows, write_study


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


def test_loads_what_was_written(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "toy", full_study(2)))
    assert study.name == "toy"
    assert study.datasets == [LOW, MEDIUM]
    assert study.methods == ["half_half", "mbpo", "prioritized", "pure_online", "sac", "uniform"]
    assert (study.online_steps, study.main) == (1000, "prioritized")
    both = [*full_study(1), *flat("moore", LOW, [1.0])]
    assert [make_study(both, reference=name).main for name in ("absent", "uniform")] == ["moore", "uniform"]


def test_an_offline_stage_may_share_method_dataset_and_seed_but_no_online_run_may() -> None:
    """CQL-SAC and Cal-QL have stages of the same name; in a study without online runs the stages are the table's."""
    online = run_rows("uniform", LOW, 0, [1.0, 2.0])
    stage = row("cql", LOW, 0, "offline", 100, "eval/score", 5.0)
    other = {**stage, "run": "cql with another penalty"}
    assert len(make_study([*online, stage, other]).rows) == 4
    with pytest.raises(UserError, match="column run: cql self:pendulum-low 0 has several runs"):
        make_study([stage, other])
    frozen = run_rows("cql", LOW, 0, [5.0, 5.0])  # online under the name of its stage's algorithm
    assert make_study([*({**r, "run": "frozen"} for r in frozen), stage, other]).methods == ["cql"]
    with pytest.raises(UserError, match="several owners"):
        make_study([*online, {**stage, "run": online[0]["run"]}])


@pytest.mark.parametrize(
    ("offline_runs", "message"),
    [
        ({"uniform/self:pendulum-low/0": "lost"}, "offline_runs: lost has no offline rows"),
        ({"lost": "mopo/self:pendulum-low/0"}, "offline_runs: lost has no online rows"),
        ({"mopo/self:pendulum-low/0": "uniform/self:pendulum-low/0"}, "offline_runs: mopo/.* has no online rows"),
        (["uniform/self:pendulum-low/0"], "offline_runs: expected an object"),
    ],
)
def test_offline_runs_that_are_not_in_the_rows_are_an_error(tmp_path: Path, offline_runs: Any, message: str) -> None:
    folder = write_study(tmp_path / "toy", full_study(1), offline_runs=offline_runs)
    with pytest.raises(UserError, match=rf"toy/manifest.json: {message}") as error:
        load_study(folder)
    assert "\n" not in str(error.value)


def test_sparse_manifest_is_enough(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "toy", full_study(2))
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    study = load_study(folder)
    assert (study.name, study.online_steps) == ("toy", 1000)


@pytest.mark.parametrize("column", ORDER)
def test_a_missing_column_is_named_with_the_file(tmp_path: Path, column: str) -> None:
    folder = write_study(tmp_path / "toy", full_study(1))
    pd.DataFrame(full_study(1)).drop(columns=column).to_parquet(folder / "rows.parquet")
    with pytest.raises(UserError, match=rf"toy/rows.parquet: missing column {column}") as error:
        load_study(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "warmup"}, "column phase: warmup"),
        ({"value": "high"}, "could not convert .*column 'value'"),
        ({"seed": None}, "column 'seed'"),
        ({"method": None}, "column method: empty"),
        ({"run": "another"}, "column run: prioritized self:pendulum-low 0 has several runs"),
        ({"seed": 1}, "column run: prioritized/self:pendulum-low/0 has several owners"),
        ({"env_steps": 0, "updates": 0}, "eval/score twice"),
    ],
)
def test_bad_rows_are_one_line_errors(change: dict[str, Any], message: str) -> None:
    rows = run_rows("prioritized", LOW, 0, [1.0, 2.0, 3.0])
    rows[-1] = {**rows[-1], **change}
    with pytest.raises(UserError, match=message) as error:
        validate(pd.DataFrame(rows, columns=ORDER), "file")
    assert "\n" not in str(error.value)


def test_bad_files_are_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_study(tmp_path / "absent")
    folder = write_study(tmp_path / "toy", full_study(1))
    with pytest.raises(UserError, match="given twice"):
        load_studies([folder, folder])
    (folder / "rows.parquet").write_bytes(b"not parquet")
    with pytest.raises(UserError, match="not a readable Parquet"):
        load_study(folder)
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        load_study(folder)


def test_environments_and_the_place_of_references() -> None:
    ids = [LOW, "d4rl:hopper-medium-v2", "none:hopper", "minari:mujoco/hopper/medium-v0"]
    make_study(full_study(1), configs={"x": {"env": "elsewhere", "dataset": LOW}})  # an id that says it has its say
    assert [environment(name) for name in ids] == ["pendulum", "hopper", "hopper", "hopper"]
    found = Cells(make_study(full_study(1)).rows)
    assert found.place(LOW, "sac") == "none:pendulum"
    assert found.place(LOW, "uniform") == LOW
    assert found.place("self:hopper-low", "sac") == "self:hopper-low"  # no run from scratch in that environment
    assert set(found[LOW, "sac"]["dataset"]) == {"none:pendulum"}
    assert found["self:hopper-low", "sac"].empty


def test_sources_never_share_a_study() -> None:
    rows = flat("uniform", "self:hopper-medium", [1.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0])
    rows += flat("sac", "none:hopper", [3.0])
    parts = split_by_source(make_study(rows))
    assert [part.datasets for part in parts] == [["d4rl:hopper-medium-v2"], ["self:hopper-medium"]]
    assert all("sac" in part.methods for part in parts)


def test_quality_of_an_id() -> None:
    ids = (
        "d4rl:hopper-medium-expert-v2",
        "self:idp-medium-replay",
        "minari:mujoco/hopper/medium-v0",
        "none:hopper",
    )
    assert [quality(name) for name in ids] == ["medium-expert", "medium-replay", "medium", ""]


def test_folders_are_found_by_their_manifest(results: Path) -> None:
    (results / "unfinished").mkdir()
    assert study_folders(results) == [results / "toy"]
    assert study_folders(results, ["toy"]) == [results / "toy"]


def test_the_environment_of_a_file_is_the_manifests() -> None:
    """Breaks if runs from scratch vanish beside a dataset whose id does not name the environment."""
    own = "local:somewhere/own-data.hdf5"
    rows = flat("moore", own, [50.0, 60.0]) + flat("sac", "none:pendulum", [70.0, 80.0])
    configs = {f"moore/{own}/0": {"env": "pendulum", "dataset": own, "method": "moore", "seed": 0}}
    table = main_table(make_study(rows, configs=configs))
    (cells,) = [cells for heads, cells in table.rows if heads == (own,)]
    assert [bool(cell.parts) for cell in cells] == [True, True]
