"""What is wrong with rows is an error of one line or a visible gap, never a quiet average."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis.claims.claims import load_claims
from analysis.claims.tables import claims_table
from analysis.claims.tables import main as claims_main
from analysis.claims.verdicts import UNDECIDED, check
from analysis.io.rows import Results, split_by_source
from analysis.output.facts import published_table
from analysis.output.html import main as html_main
from analysis.output.notes import notes
from analysis.output.pages import main as pages_main
from analysis.output.render import to_markdown
from analysis.output.report import main as report_main
from analysis.output.tables import Table, differences_table, main_table, transfer_table
from analysis.stats.intervals import t_interval
from moore.base.errors import UserError
from tests.support.studies import GRID, ORDER, Row, flat, make_study, row, run_rows, write_study

LOW, MEDIUM = "self:pendulum-low", "self:pendulum-medium"
COMMANDS: list[Callable[[list[str]], int]] = [claims_main, html_main, pages_main, report_main]
TABLES: list[Callable[[Results], Table]] = [
    main_table, transfer_table, differences_table, claims_table, published_table,
]  # fmt: skip


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What every command says about the results in `folder`, in one line and with exit code 2."""
    said = set()
    for command in COMMANDS:
        assert command(["--results", str(folder)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        said.add(captured.err)
    assert len(said) == 1
    return said.pop()


def test_a_run_that_was_logged_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = flat("prioritized", LOW, [1.0, 2.0])
    again = [{**r, "run": f"{r['run']}-again"} for r in run_rows("prioritized", LOW, 1, [9.0] * 14)]
    folder = write_study(tmp_path / "toy", rows + again)
    assert refused(tmp_path, capsys) == (
        f"error: {folder / 'rows.parquet'}: column run: prioritized {LOW} 1 has several runs\n"
    )


def test_the_same_rows_twice_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = flat("prioritized", LOW, [1.0, 2.0])
    write_study(tmp_path / "toy", [*rows, rows[3]])
    assert f"eval/score twice in run prioritized/{LOW}/0 at step {GRID[3]}" in refused(tmp_path, capsys)


def test_two_folders_of_one_study_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0]))
    write_study(tmp_path / "copy", flat("prioritized", LOW, [1.0, 2.0]), study="toy")
    assert "study toy: given twice" in refused(tmp_path, capsys)


def test_a_half_written_parquet_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0])) / "rows.parquet"
    whole = file.read_bytes()
    for size in (0, 3, 4, len(whole) // 2, len(whole) - 5, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert f"{file}: not a readable Parquet file" in refused(tmp_path, capsys)


def test_two_sources_are_in_no_table_together() -> None:
    both = make_study(flat("moore", "self:hopper-medium", [1.0]) + flat("moore", "d4rl:hopper-medium-v2", [2.0]))
    for build in TABLES:
        with pytest.raises(UserError, match="study toy: datasets of d4rl and self together; expected one source"):
            build(both)
    for part in split_by_source(both):
        assert main_table(part).rows


def test_missing_seeds_are_left_out_of_pairs_and_shown() -> None:
    """Seeds 0 to 4 against seeds 2 to 6: only 2, 3 and 4 are pairs."""
    ours, theirs = [80.0, 81.0, 82.0, 83.0, 84.0], [70.0, 72.0, 71.0, 70.0, 73.0]
    rows = flat("moore", LOW, ours)
    rows += [r for seed, y in enumerate(theirs, 2) for r in run_rows("awac", LOW, seed, [50.0] + [y] * 13)]
    study = make_study(rows, configs={}, offline_runs={})
    expected = t_interval([82.0 - 70.0, 83.0 - 72.0, 84.0 - 71.0])
    findings = {f.comparison.name: f for f in check(study, load_claims())}
    assert findings["moore ends no worse than awac"].interval == expected
    assert findings["moore ends no worse than awac"].used == {
        (f"{method}/{LOW}/{seed}", "eval/score"): 14 for method in ("moore", "awac") for seed in (2, 3, 4)
    }
    assert "<sup>n=3</sup>" in to_markdown(differences_table(study))
    assert "<sup>n=3</sup>" in to_markdown(claims_table(study))


def test_nan_scores_are_a_diverged_run_in_every_table() -> None:
    nan = float("nan")
    rows = flat("moore", LOW, [80.0, 81.0]) + flat("awac", LOW, [10.0, 11.0])
    rows += run_rows("moore", LOW, 2, [50.0, 60.0, 70.0] + [nan] * 11)
    study = make_study(rows, configs={}, offline_runs={})
    table = main_table(study)
    assert "diverged (1/3)" in to_markdown(table)
    assert f"moore {LOW} seed 2 diverged after step 50" in " ".join(notes(study))
    findings = {f.comparison.name: f for f in check(study, load_claims())}
    assert findings["moore ends no worse than awac"].verdict == UNDECIDED
    assert findings["moore ends no worse than awac"].diverged == 1
    assert "nan" not in to_markdown(claims_table(study)) + to_markdown(differences_table(study))


def test_a_method_without_a_name_in_the_suite_is_shown_like_the_others() -> None:
    study = make_study(flat("prioritized", LOW, [80.0, 81.0]) + flat("somebody's", LOW, [90.0, 91.0]))
    for table in (main_table(study), transfer_table(study), differences_table(study)):
        assert "somebody's" in to_markdown(table)
    assert "90.5" in to_markdown(main_table(study))


def test_a_study_that_is_unknown_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0]))
    for command in (claims_main, html_main, report_main):
        assert command(["tou", "--results", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"error: {tmp_path}: no study tou; found toy\n"


def test_rows_of_an_unknown_metric_change_nothing() -> None:
    rows = flat("prioritized", LOW, [80.0, 81.0])
    more: list[Row] = [row("prioritized", LOW, 0, "online", 100, "eval/scores", 1e9)]
    assert to_markdown(main_table(make_study(rows + more))) == to_markdown(main_table(make_study(rows)))
    assert list(pd.DataFrame(rows).columns) == ORDER
