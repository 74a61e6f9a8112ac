"""Paired differences: on one task, and pooled over tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analysis.io.rows import Results
from analysis.stats.compare import pooled
from analysis.stats.intervals import bootstrap_intervals, mean_over_tasks
from analysis.stats.transfer import summarise
from tests.support.studies import flat, make_study
from tests.support.synthetic_studies import TWELVE, study


def small(**changes: Any) -> Results:
    given: dict[str, Any] = {"methods": ("moore", "awac", "sac"), "datasets": TWELVE[:3], "epochs": 0, "diagnosed": ()}
    return study(**(given | changes))


def test_the_pooled_difference_is_a_mean_of_task_means_over_common_seeds() -> None:
    rows = flat("moore", "self:a-low", [10.0, 20.0, 30.0]) + flat("awac", "self:a-low", [11.0, 22.0])
    rows += flat("moore", "self:b-low", [50.0, 60.0]) + flat("awac", "self:b-low", [40.0, 44.0])
    made = make_study(rows)
    found = pooled(made, summarise(made), "awac", "final")
    assert found is not None
    assert found.mean == pytest.approx(((1 + 2) / 2 + (-10 - 16) / 2) / 2)
    assert found.low <= found.mean <= found.high


def test_tasks_that_share_runs_from_scratch_are_resampled_together() -> None:
    """Both tasks subtract from the same runs of sac, so their differences are averaged before the bootstrap."""
    made = small(datasets=TWELVE[:2], seeds=4)
    runs = summarise(made).set_index(["method", "dataset", "seed"])["final"]
    pairs = [[runs["sac", "none:halfcheetah", s] - runs["moore", d, s] for s in range(4)] for d in made.datasets]
    (expected,) = bootstrap_intervals([np.mean(pairs, axis=0)], (mean_over_tasks,), [0, 0])
    assert pooled(made, summarise(made), "sac", "final") == expected
    (apart,) = bootstrap_intervals([np.array(pair) for pair in pairs], (mean_over_tasks,))
    assert apart.half_width != pytest.approx(expected.half_width)
