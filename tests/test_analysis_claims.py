"""Claims decide right on constructed data, say so when they cannot, and rarely raise a false alarm."""

import numpy as np
import pytest

from analysis.claims import (
    INCONCLUSIVE,
    MARGIN,
    NOT_SUPPORTED,
    SUPPORTED,
    check,
    claims,
    claims_table,
    decide,
    difference,
    differences_table,
)
from analysis.render import to_markdown
from analysis.rows import Study
from analysis.stats import Interval, t_interval
from analysis.transfer import summarise
from tests.test_analysis_rows import flat, full_study, make_study, row, run_rows

LOW = "self:pendulum-low"


def verdicts(study: Study) -> dict[str, str]:
    return {finding.claim: finding.verdict for finding in check(study) if finding.dataset == LOW}


def test_constructed_effects_are_found() -> None:
    assert verdicts(make_study(full_study(5))) == {
        "half_half drops at the switch": SUPPORTED,
        "pure_online drops at the switch": SUPPORTED,
        "uniform is smooth": SUPPORTED,
        "uniform adapts slower": SUPPORTED,
        "prioritized ends no worse than uniform": SUPPORTED,
        "prioritized ends no worse than half_half": SUPPORTED,
        "prioritized ends no worse than pure_online": SUPPORTED,
        "uncertainty falls online": SUPPORTED,
    }


def test_constructed_opposites_are_rejected() -> None:
    levels = np.array([50.0, 51.0, 49.0, 50.5, 49.5])
    rows = flat("half_half", LOW, list(levels), j0=50.0) + flat("pure_online", LOW, list(levels), j0=50.0)
    rows += flat("uniform", LOW, list(levels + 5), j0=90.0) + flat("prioritized", LOW, list(levels - 20), j0=50.0)
    for seed in range(5):
        rows += [
            row("prioritized", LOW, seed, "online", x, "penalty/mean", 1 + x / 500 + seed / 100)
            for x in (50, 100, 950, 1000)
        ]
    assert set(verdicts(make_study(rows)).values()) == {NOT_SUPPORTED}


def test_the_numbers_are_those_of_the_paired_difference() -> None:
    ours, theirs = np.array([50.0, 60.0, 70.0]), np.array([48.0, 55.0, 61.0])
    runs = summarise(make_study(flat("prioritized", LOW, list(ours)) + flat("uniform", LOW, list(theirs))))
    assert difference(runs, LOW, "prioritized", "uniform", "final") == t_interval(ours - theirs)


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (6, 9, SUPPORTED, NOT_SUPPORTED),
        (1, 4, NOT_SUPPORTED, SUPPORTED),
        (4, 6, INCONCLUSIVE, INCONCLUSIVE),
        (float("nan"), float("nan"), INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_the_rule(low: float, high: float, above: str, below: str) -> None:
    interval = Interval((low + high) / 2, low, high, 5)
    assert decide(interval, MARGIN) == above
    assert decide(interval, MARGIN, below=True) == below
    assert decide(None, MARGIN) == INCONCLUSIVE


def test_noise_alone_is_no_drop() -> None:
    """No drop, evaluation noise of 4 points: `J_0 - min` is positive on average, the check must not be fooled."""
    rng, alarms, lowest = np.random.default_rng(0), 0, []
    for _ in range(20):
        rows = [r for s in range(5) for r in run_rows("half_half", LOW, s, list(80 + rng.normal(0, 4, 14)))]
        study = make_study(rows)
        alarms += verdicts(study)["half_half drops at the switch"] == SUPPORTED
        lowest += summarise(study)["drop"].tolist()
    assert alarms == 0
    assert np.mean(lowest) > 3


def test_false_alarms_at_the_threshold_are_at_most_the_nominal_rate() -> None:
    """Truth exactly on the threshold: each wrong-side verdict in 2.5 % of studies; 1000 studies, bound at 4 sigma."""
    rng = np.random.default_rng(1)
    calls = [decide(t_interval(MARGIN + rng.normal(0, 10, 5)), MARGIN) for _ in range(1000)]
    bound = 25 + 4 * np.sqrt(1000 * 0.025 * 0.975)
    assert 0 < calls.count(SUPPORTED) < bound
    assert 0 < calls.count(NOT_SUPPORTED) < bound


def test_divergence_and_single_seeds_leave_a_claim_open() -> None:
    rows = [r for s in range(4) for r in run_rows("half_half", LOW, s, [80.0 + s] + [20.0] * 13)]
    assert verdicts(make_study(rows))["half_half drops at the switch"] == SUPPORTED
    lost = run_rows("half_half", LOW, 4, [80.0] + [20.0] * 13, diverged_at=600)
    study = make_study(rows + lost)
    assert verdicts(study)["half_half drops at the switch"] == INCONCLUSIVE
    assert "inconclusive (1 diverged)" in to_markdown(claims_table(study))
    assert verdicts(make_study(rows[:14]))["half_half drops at the switch"] == INCONCLUSIVE


def test_only_claims_about_methods_that_ran_are_checked() -> None:
    study = make_study(flat("decay 0.5", LOW, [50.0, 51.0]))
    assert claims(study) == []
    assert check(study) == []
    assert claims_table(study).rows == ()


def test_tables_of_claims_and_differences() -> None:
    study = make_study(full_study(5))
    shown = to_markdown(claims_table(study))
    assert "2 of 2" in shown
    assert "above 0" in claims_table(study).caption
    table = differences_table(study)
    heads = [heads for heads, _ in table.rows if heads[0] == LOW]
    assert heads == [(LOW, m) for m in ("uniform", "half_half", "pure_online", "sac", "mbpo")]
    value = table.rows[0][1][0].parts[0][1]
    assert isinstance(value, Interval)
    assert value.high < 0  # uniform ends below prioritized
