"""The tables of a study that runs or was killed: half a line is lost at most, and nothing unfinished looks finished."""

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.io.rows import load_progress
from analysis.output.notes import notes
from analysis.output.render import to_markdown
from analysis.output.report import main
from analysis.output.tables import main_table
from moore.base.errors import UserError
from tests.support.studies import GRID, LOW, ORDER, Row, run_rows

NAMES = {seed: f"moore-{seed}" for seed in range(3)}


def text_of(rows: list[Row]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([ORDER, *([r[key] for key in ORDER] for r in rows)])
    return out.getvalue()


def rows_of(seed: int, evaluations: int) -> list[Row]:
    return [{**r, "run": NAMES[seed]} for r in run_rows("moore", LOW, seed, [50.0] + [80.0 + seed] * (evaluations - 1))]


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """Seed 0 has ended, seed 1 is on its way, seed 2 has not evaluated yet."""
    folder = tmp_path / "runs" / "paper-methods-toy"
    for seed, evaluations in ((0, 14), (1, 7), (2, 0)):
        run = folder / "runs" / NAMES[seed]
        run.mkdir(parents=True)
        (run / "rows.csv").write_text(text_of(rows_of(seed, evaluations)[:evaluations]), encoding="utf-8")
    config = {"online": {"epochs": 10, "epoch_steps": 100, "utd_ratio": 2}, "offline": {"updates": 0}}
    ended = {"run": NAMES[0], "config": config, "offline_run": "a stage whose rows are not here"}
    (folder / "runs" / NAMES[0] / "manifest.json").write_text(json.dumps(ended), encoding="utf-8")
    (folder / "units").mkdir()
    (folder / "units" / "one.progress.json").write_text("{}", encoding="utf-8")
    (folder / "units" / "one.claim.json").write_text('{"host": "here", "since": 1.0}', encoding="utf-8")
    runs = [config | {"eval_episodes": 2}] * 3
    (folder / "units" / "one.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
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
        (running / "runs" / NAMES[seed] / "rows.csv").unlink()
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
    (running / "runs" / NAMES[1] / "rows.csv").write_text('a,b\n1,2,3\n"\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rows.csv: not rows of a run") as error:
        load_progress(running)
    assert "\n" not in str(error.value)
    (running / "runs" / NAMES[1] / "rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows.csv: not rows of a run; a row has study, method"):
        load_progress(running)
    for seed in NAMES:
        (running / "runs" / NAMES[seed] / "rows.csv").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="no rows yet"):
        load_progress(running)
