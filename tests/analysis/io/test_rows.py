"""Loading and validation: what is wrong with rows is an error of one line."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.io.rows import (
    Cells,
    environment,
    load_progress,
    load_studies,
    load_study,
    quality,
    study_folders,
    validate,
)
from analysis.output.notes import notes
from analysis.output.render import to_markdown
from analysis.output.report import main
from analysis.output.tables import main_table
from tests.support.errors import one_line
from tests.support.studies import GRID, LOW, MEDIUM, ORDER, flat, full_study, make_study, row, run_rows, write_study


def test_loads_what_was_written(tmp_path: Path) -> None:
    study = load_study(write_study(tmp_path / "toy", full_study(2)))
    assert study.name == "toy"
    assert study.datasets == [LOW, MEDIUM]
    assert study.methods == ["half_half", "mbpo", "prioritized", "pure_online", "sac", "uniform"]
    assert (study.online_steps, study.main) == (1000, "prioritized")
    (tmp_path / "toy" / "manifest.json").write_text("{}", encoding="utf-8")
    sparse = load_study(tmp_path / "toy")
    assert (sparse.name, sparse.online_steps) == ("toy", 1000)
    both = [*full_study(1), *flat("moore", LOW, [1.0])]
    assert [make_study(both, reference=name).main for name in ("absent", "uniform")] == ["moore", "uniform"]


def test_an_offline_stage_may_share_method_dataset_and_seed_but_no_online_run_may() -> None:
    """CQL-SAC and Cal-QL have stages of the same name; in a study without online runs the stages are the table's."""
    online = run_rows("uniform", LOW, 0, [1.0, 2.0])
    stage = row("cql", LOW, 0, "offline", 100, "eval/score", 5.0)
    other = {**stage, "run": "cql with another penalty"}
    assert len(make_study([*online, stage, other]).rows) == 4
    one_line(lambda: make_study([stage, other]), "column run: cql self:pendulum-low 0 has several runs")
    frozen = run_rows("cql", LOW, 0, [5.0, 5.0])  # online under the name of its stage's algorithm
    assert make_study([*({**r, "run": "frozen"} for r in frozen), stage, other]).methods == ["cql"]
    one_line(lambda: make_study([*online, {**stage, "run": online[0]["run"]}]), "several owners")


@pytest.mark.parametrize(
    ("offline_runs", "message"),
    [
        ({"uniform/self:pendulum-low/0": "lost"}, "lost has no offline rows"),
        ({"lost": "mopo/self:pendulum-low/0"}, "lost has no online rows"),
        ({"mopo/self:pendulum-low/0": "uniform/self:pendulum-low/0"}, "mopo/self:pendulum-low/0 has no online rows"),
        (["uniform/self:pendulum-low/0"], "expected an object"),
    ],
)
def test_offline_runs_that_are_not_in_the_rows_are_an_error(tmp_path: Path, offline_runs: Any, message: str) -> None:
    folder = write_study(tmp_path / "toy", full_study(1), offline_runs=offline_runs)
    one_line(lambda: load_study(folder), f"toy/manifest.json: offline_runs: {message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "warmup"}, "column phase: warmup"),
        ({"value": "high"}, "column 'value'"),
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
    one_line(lambda: validate(pd.DataFrame(rows, columns=ORDER), "file"), message)


def test_bad_files_are_one_line_errors(tmp_path: Path) -> None:
    one_line(lambda: load_study(tmp_path / "absent"), "no such file")
    folder = write_study(tmp_path / "toy", full_study(1))
    one_line(lambda: load_studies([folder, folder]), "given twice")
    pd.DataFrame(full_study(1)).drop(columns="value").to_parquet(folder / "rows.parquet")
    one_line(lambda: load_study(folder), "toy/rows.parquet: missing column value")
    (folder / "rows.parquet").write_bytes(b"not parquet")
    one_line(lambda: load_study(folder), "not a readable Parquet")
    (folder / "manifest.json").write_text("{", encoding="utf-8")
    one_line(lambda: load_study(folder), "not valid JSON")


def test_environments_and_the_place_of_references() -> None:
    expert, mujoco = "d4rl:hopper-medium-expert-v2", "minari:mujoco/hopper/medium-v0"
    ids = [LOW, expert, "self:idp-medium-replay", "none:hopper", mujoco]
    assert [quality(name) for name in ids] == ["low", "medium-expert", "medium-replay", "", "medium"]
    make_study(full_study(1), configs={"x": {"env": "elsewhere", "dataset": LOW}})  # an id that says it has its say
    assert [environment(name) for name in ids] == ["pendulum", "hopper", "idp", "hopper", "hopper"]
    found = Cells(make_study(full_study(1)).rows)
    assert found.place(LOW, "sac") == "none:pendulum"
    assert found.place(LOW, "uniform") == LOW
    assert found.place("self:hopper-low", "sac") == "self:hopper-low"  # no run from scratch in that environment
    assert set(found[LOW, "sac"]["dataset"]) == {"none:pendulum"}
    assert found["self:hopper-low", "sac"].empty


def test_folders_are_found_by_their_manifest(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "toy", full_study(1))
    (tmp_path / "unfinished").mkdir()
    assert study_folders(tmp_path) == study_folders(tmp_path, ["toy"]) == [folder]


def test_the_environment_of_a_file_is_the_manifests() -> None:
    """Breaks if runs from scratch vanish beside a dataset whose id does not name the environment."""
    own = "local:somewhere/own-data.hdf5"
    rows = flat("moore", own, [50.0, 60.0]) + flat("sac", "none:pendulum", [70.0, 80.0])
    configs = {f"moore/{own}/0": {"env": "pendulum", "dataset": own, "method": "moore", "seed": 0}}
    table = main_table(make_study(rows, configs=configs))
    (cells,) = [cells for heads, cells in table.rows if heads == (own,)]
    assert [bool(cell.parts) for cell in cells] == [True, True]


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Seed 0 has ended, seed 1 is on its way, seed 2 has not evaluated yet."""
    folder = tmp_path / "runs" / "paper-methods-toy"
    for seed, evaluations in enumerate((14, 7, 0)):
        run = folder / "runs" / f"moore-{seed}"
        run.mkdir(parents=True)
        scores = ([50.0] + [80.0 + seed] * 13)[:evaluations]
        rows = [{**one, "run": run.name} for one in run_rows("moore", LOW, seed, scores)]
        pd.DataFrame(rows, columns=ORDER).to_csv(run / "rows.csv", index=False)
    config = {"online": {"epochs": 10, "epoch_steps": 100, "utd_ratio": 2}, "offline": {"updates": 0}}
    ended = {"run": "moore-0", "config": config, "offline_run": "a stage whose rows are not here"}
    (folder / "runs" / "moore-0" / "manifest.json").write_text(json.dumps(ended), encoding="utf-8")
    spec = {"runs": [config | {"eval_episodes": 2}] * 3}
    (folder / "units").mkdir()
    for name, content in {"one.progress": {}, "one.claim": {"host": "here", "since": 1.0}, "one": spec}.items():
        (folder / "units" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_what_has_ended_has_a_score_and_what_has_not_is_named(running: Path) -> None:
    study = load_progress(running)
    assert (study.name, study.online_steps) == ("paper-methods-toy", 1000)
    table = main_table(study)
    assert "→ 80.0" in to_markdown(table)
    assert f"moore {LOW} seed 1 unfinished, last of 1000 steps evaluated: {GRID[6]}" in " ".join(notes(study))
    assert "; 2 episodes in an evaluation" in " ".join(notes(study))
    assert "81" not in to_markdown(table).split("\n\n")[0]


def test_the_budget_is_known_before_any_run_has_ended(running: Path) -> None:
    """Otherwise the run that is furthest would look finished."""
    for seed in (0, 2):
        (running / "runs" / f"moore-{seed}" / "rows.csv").unlink()
    table = main_table(load_progress(running))
    assert "unfinished" in to_markdown(table).split("\n\n")[0]


def test_the_command_prints_the_tables_and_writes_nothing(
    running: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["--progress", str(running)]) == 0
    out = capsys.readouterr().out
    assert "Scores" in out
    assert "Transfer" in out
    assert "Claims" not in out  # nothing is judged before the end
    assert sorted(tmp_path.rglob("*")) == before


def test_other_folders_and_broken_files_are_one_line_errors(
    running: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--progress", str(tmp_path)]) == 2
    assert "no rows yet; expected the folder of a study in progress" in capsys.readouterr().err
    file = running / "runs" / "moore-1" / "rows.csv"
    for text, message in (('a,b\n1,2,3\n"\n', ""), ("a,b\n1,2\n", "; a row has study, method")):
        file.write_text(text, encoding="utf-8")
        one_line(lambda: load_progress(running), f"rows.csv: not rows of a run{message}")
    for other in running.rglob("rows.csv"):
        other.write_text("", encoding="utf-8")
    one_line(lambda: load_progress(running), "no rows yet")
