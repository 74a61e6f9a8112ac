"""Who is in an aggregate over tasks."""

import math

import pytest

from analysis.plots.aggregates import aggregates
from analysis.plots.view import view
from analysis.stats.aggregates import profiles, samples
from moore.base.errors import UserError
from tests.support.drawn import sure
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import TWELVE, scores_only, with_rows


def test_a_reference_is_one_stratum_of_its_environment() -> None:
    found = samples(scores_only(0, 1, 4, 5))
    assert [len(found[name].runs) for name in ("moore", "sac")] == [4, 2]
    assert (found["moore"].tasks, found["sac"].tasks) == ([0, 1, 2, 3], [0, 0, 1, 1])


def test_a_diverged_run_takes_its_method_out_and_an_unfinished_one_only_itself() -> None:
    made = scores_only(0, 1, 4, 5)
    rows = made.rows.copy()
    last = rows["env_steps"] == 1000
    rows.loc[last & (rows["run"] == f"awac/{TWELVE[0]}/1"), "value"] = math.nan
    rows = rows[~(last & (rows["run"] == f"moore/{TWELVE[0]}/1"))]
    broken = with_rows(made, rows)
    found = samples(broken)
    assert set(found) == {"moore", "sac"}
    assert [len(runs) for runs in found["moore"].runs] == [3, 2, 3, 3]  # in the order of their names
    drawn = sure(aggregates(view(broken)))
    assert "Without AWAC" in drawn[1]


def test_tasks_evaluated_at_different_steps_have_no_common_curve() -> None:
    made = scores_only(0, 1, 4, 5)
    rows = made.rows
    gone = (rows["method"] == "awac") & (rows["dataset"] == TWELVE[1]) & (rows["env_steps"] == 500)
    with pytest.raises(UserError, match="column env_steps: runs of awac were evaluated at different steps"):
        aggregates(view(with_rows(made, rows[~gone])))


def test_a_profile_starts_below_the_lowest_score_and_ends_above_the_highest() -> None:
    rows = [*flat("moore", "self:a-low", [-40.0, 10.0]), *flat("moore", "self:b-low", [50.0, 120.0])]
    found = profiles(make_study(rows))["moore"]
    assert (found.x[0], found.x[-1]) == (-40, 120)
    assert (found.mean[0], found.mean[-1]) == (0.75, 0.0)  # strictly above, so without the lowest run
    assert found.low.min() >= 0
    assert found.high.max() <= 1
