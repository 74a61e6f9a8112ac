"""Tables: what a cell says of missing, diverged and unequal seeds, who is bold, and four equal outputs."""

import csv
import io
import re

import numpy as np
import pytest
from rich.console import Console

from analysis.output.notes import notes
from analysis.output.render import MISSING, interval_text, to_csv, to_latex, to_markdown, to_rich
from analysis.output.tables import Cell, Table, main_table, transfer_table
from analysis.stats.intervals import Interval, bootstrap_intervals, iqm, t_interval
from tests.support.studies import Row, flat, full_study, make_study, row, run_rows

LOW, MEDIUM = "self:pendulum-low", "self:pendulum-medium"


def cell(table: Table, head: str, column: str) -> Cell:
    (cells,) = [cells for heads, cells in table.rows if heads[0] == head]
    return cells[table.columns.index(column)]


def text(table: Table, head: str, column: str) -> str:
    """The Markdown text of one cell."""
    lines = [line for line in to_markdown(table).splitlines() if line.startswith(f"| {head} ")]
    return lines[0].strip("| ").split(" | ")[1 + table.columns.index(column)]


def test_a_cell_is_offline_to_online_with_t_half_widths() -> None:
    levels = [60.0, 64.0, 71.0, 66.0, 58.0]
    table = main_table(make_study(flat("prioritized", LOW, levels, j0=40.0)))
    expected = t_interval(levels)
    assert expected is not None
    assert text(table, LOW, "prioritized") == f"40.0 ± 0.0 → **63.8 ± {expected.half_width:.1f}**"


def test_references_stand_beside_every_dataset_of_their_environment_without_offline_part() -> None:
    rows = (
        flat("uniform", LOW, [60.0, 61.0])
        + flat("uniform", MEDIUM, [60.0, 61.0])
        + flat("uniform", "self:hopper-low", [1.0, 2.0])
    )
    table = main_table(make_study(rows + flat("sac", "none:pendulum", [20.0, 20.0], j0=1.0)))
    assert table.columns == ("uniform", "sac")
    assert [heads for heads, _ in table.rows][:3] == [("self:hopper-low",), (LOW,), (MEDIUM,)]
    assert text(table, LOW, "sac") == text(table, MEDIUM, "sac") == "20.0 ± 0.0"
    assert text(table, "self:hopper-low", "sac") == MISSING
    assert text(table, "mean over 3 tasks", "sac") == MISSING


def test_fewer_seeds_are_marked_and_a_lost_run_is_named() -> None:
    rows = flat("prioritized", LOW, [60.0, 61.0, 62.0]) + flat("uniform", LOW, [50.0, 51.0])
    rows += run_rows("uniform", LOW, 2, [50.0] * 5)
    study = make_study(rows)
    table = main_table(study)
    assert table.seeds == 3
    assert text(table, LOW, "uniform").endswith("<sup>n=2</sup>")
    assert "n=" not in text(table, LOW, "prioritized")
    assert "uniform self:pendulum-low seed 2 unfinished" in " ".join(notes(study))
    assert "3 seeds, fewer than the 5" in table.caption


def test_divergence_is_shown_not_averaged_away() -> None:
    rows = flat("prioritized", LOW, [10.0, 11.0]) + flat("uniform", LOW, [90.0])
    rows += run_rows("uniform", LOW, 1, [50.0] * 14, diverged_at=500)
    study = make_study(rows)
    table = main_table(study)
    assert text(table, LOW, "uniform") == "50.0 ± 0.0 → diverged (1/2)"
    assert cell(table, LOW, "prioritized").bold
    assert "uniform self:pendulum-low seed 1 diverged after step 400" in " ".join(notes(study))


def test_bold_follows_the_paired_difference_not_the_means() -> None:
    """Levels that share a large seed effect: the paired interval separates methods whose own intervals overlap."""
    seed_effect = np.array([0.0, 20.0, 40.0, 60.0, 80.0])
    rows = flat("prioritized", LOW, list(seed_effect + 5)) + flat(
        "uniform", LOW, list(seed_effect + np.array([0.0, 0.1, -0.1, 0.0, 0.1]))
    )
    rows += flat("half_half", LOW, list(seed_effect + np.array([9.0, -2.0, 6.0, 1.0, 3.0])))
    table = main_table(make_study(rows))
    assert [cell(table, LOW, name).bold for name in ("prioritized", "uniform", "half_half")] == [True, False, True]


def test_nothing_is_bold_with_one_seed() -> None:
    table = main_table(make_study(flat("prioritized", LOW, [90.0]) + flat("uniform", LOW, [10.0])))
    assert "**" not in to_markdown(table)


def test_last_rows_are_mean_and_iqm_over_tasks() -> None:
    low, medium = [10.0, 20.0, 30.0, 70.0], [50.0, 55.0, 65.0, 60.0]
    table = main_table(make_study(flat("uniform", LOW, low) + flat("uniform", MEDIUM, medium)))
    expected = bootstrap_intervals([low, medium], (iqm,))[0]
    assert expected.mean == pytest.approx((30 + 50 + 55 + 60) / 4)
    assert text(table, "IQM over 2 tasks", "uniform") == f"48.8 [{expected.low:.1f}, {expected.high:.1f}]"
    assert text(table, "mean over 2 tasks", "uniform").startswith("45.0 [")
    assert main_table(make_study(flat("uniform", LOW, low))).aggregates == 0


def test_aggregates_are_missing_when_a_task_diverged() -> None:
    rows = flat("uniform", LOW, [10.0, 20.0]) + flat("uniform", MEDIUM, [10.0, 20.0])
    rows += run_rows("uniform", LOW, 2, [50.0] * 14, diverged_at=500)
    assert text(main_table(make_study(rows)), "IQM over 2 tasks", "uniform") == MISSING


def test_a_study_without_online_stage_shows_its_last_five_offline_evaluations() -> None:
    rows: list[Row] = []
    for seed, level in enumerate((10.0, 14.0)):
        rows += [row("mopo", LOW, seed, "offline", 100 * k, "eval/score", level if k > 2 else 99.0) for k in range(8)]
    table = main_table(make_study(rows))
    assert text(table, LOW, "mopo") == "12.0 ± 25.4"


def test_notes_state_scale_date_cost_episodes_commit_and_command() -> None:
    said = " ".join(notes(make_study(full_study(5))))
    facts = ["scale mini", "2026-01-02", "0.50 CPU h", "10 episodes", "0123456789", "`make it_all`"]
    assert [fact for fact in facts if fact not in said] == []
    dirty = make_study(full_study(2), git_commit="0123456789abcdef-dirty", machine="4 cores")
    assert "0.50 CPU h on 4 cores, commit 0123456789-dirty" in notes(dirty)[0]
    bare = make_study(full_study(5), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert "None" not in " ".join(notes(bare))


def test_notes_name_the_datasets_that_were_recorded_in_another_physics() -> None:
    rows = flat("uniform", LOW, [10.0, 20.0])
    assert "physics" not in " ".join(notes(make_study(rows)))  # a manifest from before it was recorded
    assert "physics" not in " ".join(notes(make_study(rows, physics_mismatch=[])))
    numbers = {"run_physics": "gymnasium", "median": 0.013, "p99": 0.097, "max": 0.39}
    entries = [{"dataset": name, "dataset_physics": "d4rl", **numbers} for name in (LOW, MEDIUM)]
    caption = " ".join(notes(make_study(rows, physics_mismatch=entries)))
    assert f"{LOW} was recorded with physics d4rl; its runs have gymnasium." in caption
    assert "one step differs by median 1.3e-02, p99 9.7e-02, max 3.9e-01" in caption
    assert MEDIUM not in caption


def test_an_offline_stage_that_diverged_is_named() -> None:
    rows = flat("uniform", LOW, [10.0, 20.0])
    rows.append(row("mopo", LOW, 2, "offline", 500, "diverged", 1.0))
    assert "Offline stage diverged: self:pendulum-low seed 2." in notes(make_study(rows))


def test_transfer_table_counts_the_runs_that_gained() -> None:
    rows = flat("uniform", LOW, [65.0, 55.0, 66.0]) + flat("sac", "none:pendulum", [90.0, 90.0, 90.0], j0=0.0)
    table = transfer_table(make_study(rows))
    by_method = {heads[1]: cells for heads, cells in table.rows}
    gain = dict(zip(table.columns, by_method["uniform"], strict=True))["steps to J_0 + 10"]
    assert gain.seeds == 2
    assert interval_text(gain.parts[0][1], 0) == "25 ± 0"  # type: ignore[arg-type]
    shown = [bool(one.parts) for one in by_method["sac"]]
    assert shown == [False, False, True, False]  # AUC only


def test_markdown_latex_csv_and_terminal_carry_the_same_numbers() -> None:
    table = main_table(make_study(full_study(5)))
    latex, markdown = to_latex(table), to_markdown(table).split("\n\n")[0]
    number = r"-?\d+\.\d"
    body = latex[latex.index("toprule") :]
    assert re.findall(number, body) == re.findall(number, markdown)
    stream = io.StringIO()
    Console(file=stream, width=250).print(to_rich(table, 250))
    assert re.findall(number, stream.getvalue().split("Normalised")[0]) == re.findall(number, markdown)
    parsed = list(csv.DictReader(io.StringIO(to_csv(table))))
    first = [line for line in parsed if line["column"] == "prioritized" and line["dataset"] == LOW]
    assert [line["part"] for line in first] == ["offline", "online"]
    assert all(line["value"] in markdown for line in parsed)


def test_latex_is_escaped_and_booktabs() -> None:
    missing = flat("pure_online", "self:hopper-low", [1.0, 2.0])
    latex = to_latex(main_table(make_study(full_study(5) + missing)))
    assert "& -- &" in latex
    assert latex.count(r"\midrule") == 2
    assert r"half\_half" in latex
    assert not re.search(r"(?<!\\)[%]", latex)
    assert not set(latex) & set("→±≥" + MISSING)


def test_numbers_have_fixed_decimals_and_no_negative_zero() -> None:
    assert interval_text(Interval(-0.04, -0.06, 0.02, 3), 1, brackets=True) == "0.0 [-0.1, 0.0]"
    assert interval_text(Interval(3.14159, float("nan"), float("nan"), 1)) == "3.1"


def test_a_narrow_terminal_shows_every_cell_whole() -> None:
    """Breaks if a table that is too wide for the terminal loses or folds cells."""
    table = main_table(make_study(full_study(5)))
    stream = io.StringIO()
    Console(file=stream, width=70).print(to_rich(table, 70))
    wide = io.StringIO()
    Console(file=wide, width=250).print(to_rich(table, 250))
    body = wide.getvalue().split("Normalised")[0]
    for text in re.findall(r"-?\d+\.\d ± \d+\.\d → -?\d+\.\d ± \d+\.\d", body):
        assert text in stream.getvalue()
