"""Tables: what a cell says of missing, diverged and unequal seeds, and who is bold."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.claims.tables import claims_table
from analysis.io.rows import Results
from analysis.output import tables
from analysis.output.facts import published_table
from analysis.output.render import MISSING, to_latex, to_markdown
from analysis.output.tables import Cell, Table, differences_table, main_table, transfer_table, transposed
from analysis.plots.figures import draw
from analysis.stats.intervals import Interval, bootstrap, iqm, t_interval
from moore.base.errors import UserError
from tests.support.drawn import sure
from tests.support.method_studies import flat_scores, method_study
from tests.support.studies import LOW, MEDIUM, Row, flat, full_study, make_study, markdown, row, run_rows

BUILT = (main_table, transfer_table, differences_table, claims_table, published_table, draw)


def cell(table: Table, head: str, column: str) -> Cell:
    (cells,) = [cells for heads, cells in table.rows if heads[0] == head]
    return cells[table.columns.index(column)]


def test_a_cell_is_offline_to_online_with_t_half_widths() -> None:
    levels = [60.0, 64.0, 71.0, 66.0, 58.0]
    table = main_table(make_study(flat("prioritized", LOW, levels, j0=40.0)))
    expected = sure(t_interval(levels))
    assert markdown(table, LOW)["prioritized"] == f"40.0 ± 0.0 → **63.8 ± {expected.half_width:.1f}**"


def test_references_stand_beside_every_dataset_of_their_environment_without_offline_part() -> None:
    rows = [row for name in (LOW, MEDIUM, "self:hopper-low") for row in flat("uniform", name, [60.0, 61.0])]
    table = main_table(make_study(rows + flat("sac", "none:pendulum", [20.0, 20.0], j0=1.0)))
    assert table.columns == ("uniform", "sac")
    assert [heads for heads, _ in table.rows][:3] == [("self:hopper-low",), (LOW,), (MEDIUM,)]
    assert markdown(table, LOW)["sac"] == markdown(table, MEDIUM)["sac"] == "20.0 ± 0.0"
    assert markdown(table, "self:hopper-low")["sac"] == MISSING
    assert markdown(table, "mean over 3 tasks")["sac"] == MISSING


def test_fewer_seeds_are_marked() -> None:
    rows = flat("prioritized", LOW, [60.0, 61.0, 62.0]) + flat("uniform", LOW, [50.0, 51.0])
    rows += run_rows("uniform", LOW, 2, [50.0] * 5)
    table = main_table(make_study(rows))
    assert table.seeds == 3
    assert markdown(table, LOW)["uniform"].endswith("<sup>n=2</sup>")
    assert "n=" not in markdown(table, LOW)["prioritized"]
    assert "3 seeds, fewer than the 5" in table.caption


def test_divergence_is_shown_not_averaged_away() -> None:
    rows = flat("prioritized", LOW, [10.0, 11.0]) + flat("uniform", LOW, [90.0])
    rows += run_rows("uniform", LOW, 1, [50.0] * 14, diverged_at=500)
    table = main_table(make_study(rows))
    assert markdown(table, LOW)["uniform"] == "50.0 ± 0.0 → diverged (1/2)"
    assert cell(table, LOW, "prioritized").bold


def test_bold_is_the_best_and_a_dagger_those_that_are_surely_not_much_worse() -> None:
    """Levels that share a large seed effect: the paired difference tells, not the intervals of the two means."""
    effect = np.array([0.0, 20.0, 40.0, 60.0, 80.0])
    rows = flat("prioritized", LOW, list(effect + 15))
    rows += flat("uniform", LOW, list(effect + np.array([12.0, 12.1, 11.9, 12.0, 12.1])))
    rows += flat("half_half", LOW, list(effect + np.array([19.0, 8.0, 16.0, 11.0, 13.0])))
    table = main_table(make_study(rows))
    marks = [(cell(table, LOW, name).bold, cell(table, LOW, name).close) for name in table.columns]
    assert marks == [(True, False), (False, True), (False, False)]
    assert markdown(table, LOW)["uniform"].endswith("†")
    assert r"\textsuperscript{\dag}" in to_latex(table)


def test_runs_at_the_ceiling_have_no_half_width() -> None:
    table = main_table(make_study(flat("prioritized", LOW, [100.0, 99.99, 100.01]) + flat("uniform", LOW, [60.0] * 3)))
    assert markdown(table, LOW)["prioritized"] == "50.0 ± 0.0 → **100.0**"
    assert markdown(table, LOW)["uniform"] == "50.0 ± 0.0 → 60.0 ± 0.0"


def test_nothing_is_bold_with_one_seed() -> None:
    table = main_table(make_study(flat("prioritized", LOW, [90.0]) + flat("uniform", LOW, [10.0])))
    assert "**" not in to_markdown(table)


def test_last_rows_are_mean_and_iqm_over_tasks() -> None:
    low, medium = [10.0, 20.0, 30.0, 70.0], [50.0, 55.0, 65.0, 60.0]
    table = main_table(make_study(flat("uniform", LOW, low) + flat("uniform", MEDIUM, medium)))
    strata = [np.array(low), np.array(medium)]
    _, (lowest,), (highest,) = bootstrap(strata, lambda tasks: np.stack([iqm(tasks)]))
    assert (30 + 50 + 55 + 60) / 4 == 48.75
    assert markdown(table, "IQM over 2 tasks")["uniform"] == f"48.8 [{lowest:.1f}, {highest:.1f}]"
    assert markdown(table, "mean over 2 tasks")["uniform"].startswith("45.0 [")
    assert main_table(make_study(flat("uniform", LOW, low))).aggregates == 0


def test_a_study_without_online_stage_shows_its_last_five_offline_evaluations() -> None:
    rows: list[Row] = []
    for seed, level in enumerate((10.0, 14.0)):
        rows += [row("mopo", LOW, seed, "offline", 100 * k, "eval/score", level if k > 2 else 99.0) for k in range(8)]
    table = main_table(make_study(rows))
    assert markdown(table, LOW)["mopo"] == "12.0 ± 25.4"


def test_transfer_table_counts_the_runs_that_gained_and_the_time_of_those_that_did_not() -> None:
    """25 steps twice, and once the whole budget; no mean of some runs where another one starts too high to gain 10."""
    rows = flat("uniform", LOW, [65.0, 55.0, 66.0]) + flat("sac", "none:pendulum", [90.0, 90.0, 90.0], j0=0.0)
    rows += flat("awac", LOW, [99.0, 99.0], j0=60.0) + run_rows("awac", LOW, 2, [95.0] * 14)
    table = transfer_table(make_study(rows))
    by_method = {heads[1]: cells for heads, cells in table.rows}
    gain = dict(zip(table.columns, by_method["uniform"], strict=True))["steps to J_0 + 10"]
    (_, steps), (_, reached) = gain.parts
    assert isinstance(steps, Interval)
    assert (steps.mean, steps.n, reached) == (pytest.approx((25 + 1000 + 25) / 3), 3, "2 of 3")
    assert by_method["awac"][-1].parts == (("reached", "1 of 3 start above 90"),)
    assert [bool(one.parts) for one in by_method["sac"]] == [False, True, False, False]  # AUC only


@pytest.mark.parametrize("build", BUILT)
def test_two_sources_are_in_no_table_or_figure_together(build: Callable[[Results], object]) -> None:
    both = make_study(flat("moore", "self:hopper-medium", [1.0]) + flat("moore", "d4rl:hopper-medium-v2", [2.0]))
    with pytest.raises(UserError, match="study toy: datasets of d4rl and self together; expected one source"):
        build(both)


def test_a_table_of_many_methods_has_them_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_study(full_study(3))
    narrow = main_table(made)
    monkeypatch.setattr(tables, "WIDE", 5)
    assert main_table(made) == transposed(narrow, "method")
    assert main_table(made).columns == (LOW, MEDIUM, "mean over 2 tasks", "IQM over 2 tasks")


def test_frozen_untrained_and_scratch_methods_have_the_parts_that_mean_something(tmp_path: Path) -> None:
    names = ["moore", "awac", "iql", "td3_bc", "rlpd", "mopo", "sac"]
    levels = {name: [60.0, 60.0] for name in names} | {"mopo": [50.0, 50.0]}
    study = method_study(tmp_path, names, 2, flat_scores(levels), [LOW])
    shown = {name: markdown(main_table(study), name)[LOW] for name in ("mopo", "rlpd", "sac")}
    unmarked = {name: text.replace("**", "").replace("†", "") for name, text in shown.items()}
    assert unmarked == {"mopo": "50.0 ± 0.0 → 50.0 ± 0.0", "rlpd": "50.0 ± 0.0 → 60.0 ± 0.0", "sac": "60.0 ± 0.0"}
    parts = {heads: [bool(cell.parts) for cell in cells] for heads, cells in transfer_table(study).rows}
    assert parts[LOW, "awac"] == [True, True, True, True]
    assert parts[LOW, "rlpd"] == parts[LOW, "sac"] == [False, True, False, False]  # AUC only: there is no switch
