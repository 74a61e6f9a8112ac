"""Transfer metrics against a slow literal transcription of their definitions, by hand, and in invariants."""

import math
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.stats.transfer import METRICS, problems, score_range, summarise, transfer_metrics
from tests.support.studies import GRID, LOW, make_study, run_rows

BUDGET = 1000
scores = st.lists(st.floats(-20, 120), min_size=len(GRID), max_size=len(GRID))


def literally(points: list[tuple[float, float]], budget: float) -> dict[str, float]:
    """The definitions, one loop each."""
    out = dict.fromkeys(METRICS, math.nan)
    finished = points[-1][0] >= budget
    after = [(x, y) for x, y in points if x > 0]
    if finished:
        last = [y for _, y in after][-5:]
        out["final"] = sum(last) / len(last)
        width = min(5, len(after))
        means = [sum(y for _, y in after[i : i + width]) / width for i in range(len(after) - width + 1)]
        out["late_drop"] = max(means) - out["final"]
    quarter = [y for x, y in after if x <= budget / 4]
    if quarter and points[-1][0] >= budget / 4:
        out["quarter"] = quarter[-1]
    if points[0][0] != 0:
        return out
    j0 = out["j0"] = points[0][1]
    early = [(x, y) for x, y in after if x <= budget / 10]
    if early and points[-1][0] >= budget / 10:
        out["early_drop"] = j0 - sum(y for _, y in early) / len(early)
    if finished:
        area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))
        out["auc"] = area / budget
        out["auc_gain"] = area / budget - j0
        out["regret"] = 100 - area / budget
        if j0 <= 90:
            reached = [x for x, y in after if y >= j0 + 10]
            out["gained"] = 1 if reached else 0
            out["steps_to_gain"] = reached[0] if reached else budget
    return out


@settings(max_examples=150, deadline=None)
@given(scores, st.integers(1, len(GRID)), st.booleans())
def test_equals_the_literal_definitions(values: list[float], length: int, with_j0: bool) -> None:
    points = list(zip(GRID, values, strict=True))[0 if with_j0 else 1 : max(length, 2)]
    steps, y = np.array([x for x, _ in points], dtype=float), np.array([y for _, y in points])
    ours, expected = transfer_metrics(steps, y, BUDGET), literally([(float(x), v) for x, v in points], BUDGET)
    assert set(ours) == set(METRICS)
    for metric in METRICS:
        np.testing.assert_allclose(ours[metric], expected[metric], rtol=1e-9, atol=1e-9, err_msg=metric)


def test_the_scale_of_a_task_reaches_as_far_as_any_run_on_its_environment() -> None:
    rows = run_rows("uniform", LOW, 0, [50.0, -20.0, math.inf]) + run_rows("sac", "none:pendulum", 0, [0.0, 103.0])
    made = make_study(rows + run_rows("uniform", "self:hopper-low", 0, [10.0, 20.0]))
    assert score_range(made, [LOW]) == (-20.0, 103.0)
    assert score_range(made, ["self:hopper-low"]) == (0.0, 100.0)


def test_diverged_and_unfinished_runs_are_listed_and_have_no_final_score() -> None:
    rows = run_rows("uniform", LOW, 0, [50.0] * 14)
    rows += run_rows("uniform", LOW, 1, [50.0] * 14, diverged_at=300)
    rows += run_rows("uniform", LOW, 2, [50.0] * 10)
    rows += run_rows("uniform", LOW, 3, [50.0] * 8 + [math.nan] * 6)
    runs = summarise(make_study(rows))
    assert runs["diverged"].tolist() == [False, True, False, True]
    assert runs["finished"].tolist() == [True, False, False, False]
    assert runs["last_step"].tolist() == [1000, 200, 600, 400]
    assert runs["final"].notna().tolist() == [True, False, False, False]
    listed = problems(runs, 1000)
    assert listed == [
        "uniform self:pendulum-low seed 1 diverged after step 200",
        "uniform self:pendulum-low seed 2 unfinished, last of 1000 steps evaluated: 600",
        "uniform self:pendulum-low seed 3 diverged after step 400",
    ]


def test_an_unfinished_run_is_seen_without_a_budget_in_the_manifest() -> None:
    rows = run_rows("uniform", LOW, 0, [50.0] * 14) + run_rows("uniform", LOW, 1, [50.0] * 9)
    assert summarise(make_study(rows, online_steps=None))["finished"].tolist() == [True, False]
