"""Paired differences: on one task, and pooled over tasks."""

import numpy as np
import pytest

from analysis.stats.compare import cells, difference, pooled
from analysis.stats.intervals import estimate, t_interval
from analysis.stats.transfer import summarise
from tests.support.drawn import sure
from tests.support.studies import flat, make_study, run_rows
from tests.support.synthetic_studies import scores_only


def test_the_pooled_difference_is_a_mean_of_task_means_over_common_seeds() -> None:
    rows = flat("moore", "self:a-low", [10.0, 20.0, 30.0]) + flat("awac", "self:a-low", [11.0, 22.0])
    rows += flat("moore", "self:b-low", [50.0, 60.0]) + flat("awac", "self:b-low", [40.0, 44.0])
    made = make_study(rows)
    found = sure(pooled(made, "awac", "final"))
    assert found.mean == pytest.approx(((1 + 2) / 2 + (-10 - 16) / 2) / 2)
    assert found.low <= found.mean <= found.high


def test_a_paired_difference_uses_common_seeds_only() -> None:
    rows = [*flat("moore", "self:a-low", [10.0, 20.0, 30.0])]
    for seed, level in ((2, 28.0), (0, 8.0), (1, 19.0), (4, 5.0)):
        rows += run_rows("awac", "self:a-low", seed, [50.0] + [level] * 13)
    assert difference(cells(make_study(rows)), "self:a-low", "moore", "awac", "final") == t_interval([2.0, 1.0, 2.0])


def test_tasks_that_share_runs_from_scratch_are_one_stratum() -> None:
    """Both tasks subtract from the same runs of sac, so their differences are averaged before they are tested."""
    made = scores_only(0, 1, seeds=4)
    runs = summarise(made).set_index(["method", "dataset", "seed"])["final"]
    pairs = [[runs["sac", "none:halfcheetah", s] - runs["moore", d, s] for s in range(4)] for d in made.datasets]
    expected, apart = sure(estimate([np.mean(pairs, axis=0)])), sure(estimate([np.array(pair) for pair in pairs]))
    found = sure(pooled(made, "sac", "final"))
    assert [found.mean, found.half_width] == pytest.approx([expected.mean, expected.interval().half_width])
    assert apart.error != pytest.approx(expected.error)
