"""Verdicts are right on constructed data, say so when there are none, and rarely raise a false alarm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.claims.claims import load_claims
from analysis.claims.tables import claims_table, verdicts_table
from analysis.claims.verdicts import FAILS, HOLDS, NO_DATA, UNDECIDED, check, comparisons, conjunction, decide
from analysis.io.rows import Results
from analysis.output.render import to_markdown
from analysis.stats.intervals import Interval, t_interval
from analysis.stats.transfer import summarise
from tests.support.studies import LEVELS, LOW, column, flat, full_study, make_study, named, row, run_rows

NAN = float("nan")
MARGIN = 5.0


def verdicts(study: Results) -> dict[str, str]:
    return {f.comparison.name: f.verdict for f in check(study, load_claims()) if f.dataset == LOW}


def sweep(shifts: dict[str, float], rng: np.random.Generator) -> Results:
    """A sweep of the decay rate: 5 seeds, finals around 80, each value shifted by as much."""
    rows = []
    for method, shift in {"decay_rate-1": 0.0, **shifts}.items():
        rows += flat(method, LOW, list(80 + shift + rng.normal(0, 0.5, 5)))
    return named(rows, "decay_rate-mini", "decay_rate-1")


def test_constructed_effects_are_found() -> None:
    assert verdicts(make_study(full_study(5))) == {
        "half_half drops at the switch": HOLDS,
        "pure_online drops at the switch": HOLDS,
        "uniform is smooth": HOLDS,
        "uniform adapts slower": HOLDS,
        "prioritized ends no worse than uniform": HOLDS,
        "prioritized ends no worse than half_half": HOLDS,
        "prioritized ends no worse than pure_online": HOLDS,
        "uncertainty falls online": HOLDS,
    }


def test_constructed_opposites_are_rejected() -> None:
    levels = np.array(LEVELS)
    rows = flat("half_half", LOW, list(levels), j0=50.0) + flat("pure_online", LOW, list(levels), j0=50.0)
    rows += flat("uniform", LOW, list(levels + 5), j0=90.0) + flat("prioritized", LOW, list(levels - 20), j0=50.0)
    for seed in range(5):
        rows += [
            row("prioritized", LOW, seed, "online", x, "penalty/mean", 1 + x / 500 + seed / 100)
            for x in (50, 100, 950, 1000)
        ]
    assert set(verdicts(make_study(rows)).values()) == {FAILS}


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "within"),
    [
        (6, 9, HOLDS, FAILS, FAILS),
        (1, 4, FAILS, HOLDS, HOLDS),
        (4, 6, UNDECIDED, UNDECIDED, UNDECIDED),
        (-4, 4, FAILS, HOLDS, HOLDS),
        (-6, 4, FAILS, HOLDS, UNDECIDED),
        (-9, 9, UNDECIDED, UNDECIDED, UNDECIDED),
        (-9, -6, FAILS, HOLDS, FAILS),
        (-5, 4, FAILS, HOLDS, UNDECIDED),  # a margin must lie outside of the interval
        (5, 9, UNDECIDED, UNDECIDED, FAILS),
        (NAN, NAN, NO_DATA, NO_DATA, NO_DATA),
    ],
)
def test_the_rule(low: float, high: float, above: str, below: str, within: str) -> None:
    interval = Interval((low + high) / 2, low, high, 5)
    assert [decide(interval, bound, MARGIN) for bound in ("above", "below", "within")] == [above, below, within]
    assert decide(None, "above", MARGIN) == NO_DATA


@given(st.floats(-50, 50), st.floats(0.01, 50), st.floats(0.1, 20))
def test_an_equivalence_is_two_one_sided_tests(middle: float, half: float, margin: float) -> None:
    """Within ±margin exactly if it lies above -margin and below +margin."""
    interval = Interval(middle, middle - half, middle + half, 5)
    both = [decide(interval, "above", -margin), decide(interval, "below", margin)]
    assert (decide(interval, "within", margin) == HOLDS) == (both == [HOLDS, HOLDS]) or interval.high == margin


def test_the_interval_of_an_equivalence_is_that_of_two_t_tests_at_five_percent() -> None:
    rng, outcomes = np.random.default_rng(2), []
    hypothesis = next(one for claim in load_claims() for one in claim.hypotheses if one.test == "equivalence")
    for _ in range(200):
        sample = rng.normal(rng.uniform(-15, 15), 6, 5)
        inside = [
            scipy.stats.ttest_1samp(sample, -hypothesis.threshold, alternative="greater").pvalue < 0.05,
            scipy.stats.ttest_1samp(sample, hypothesis.threshold, alternative="less").pvalue < 0.05,
        ]
        verdict = decide(t_interval(sample, hypothesis.confidence), hypothesis.bound, hypothesis.threshold)
        assert (verdict == HOLDS) == all(inside)
        outcomes.append(all(inside))
    assert {True, False} == set(outcomes)


@given(st.lists(st.sampled_from([HOLDS, FAILS, UNDECIDED, NO_DATA])))
def test_a_claim_holds_on_a_task_if_all_comparisons_do(found: list[str]) -> None:
    claim = conjunction(found)
    assert (claim == FAILS) == (FAILS in found)
    assert (claim == HOLDS) == (bool(found) and set(found) == {HOLDS})
    assert (claim == NO_DATA) == ((NO_DATA in found and set(found) <= {NO_DATA, HOLDS}) or not found)


def test_noise_alone_is_no_drop() -> None:
    """No drop, evaluation noise of 4 points: `J_0 - min` is positive on average, the check must not be fooled."""
    rng, alarms, lowest = np.random.default_rng(0), 0, []
    for _ in range(20):
        rows = [r for s in range(5) for r in run_rows("half_half", LOW, s, list(80 + rng.normal(0, 4, 14)))]
        study = make_study(rows)
        alarms += verdicts(study)["half_half drops at the switch"] == HOLDS
        lowest += summarise(study)["drop"].tolist()
    assert alarms == 0
    assert np.mean(lowest) > 3


def test_false_alarms_at_the_threshold_are_at_most_the_nominal_rate() -> None:
    """Truth exactly on the threshold: each wrong-side verdict in 2.5 % of studies; 1000 studies, bound at 4 sigma."""
    rng = np.random.default_rng(1)
    calls = [decide(t_interval(MARGIN + rng.normal(0, 10, 5)), "above", MARGIN) for _ in range(1000)]
    bound = 25 + 4 * np.sqrt(1000 * 0.025 * 0.975)
    assert 0 < calls.count(HOLDS) < bound
    assert 0 < calls.count(FAILS) < bound


def test_divergence_leaves_a_claim_open_and_one_seed_is_not_enough() -> None:
    rows = [r for s in range(4) for r in run_rows("half_half", LOW, s, [80.0 + s] + [20.0] * 13)]
    assert verdicts(make_study(rows))["half_half drops at the switch"] == HOLDS
    lost = run_rows("half_half", LOW, 4, [80.0] + [20.0] * 13, diverged_at=600)
    study = make_study(rows + lost)
    assert verdicts(study)["half_half drops at the switch"] == UNDECIDED
    assert "undecided (1 diverged)" in to_markdown(claims_table(study))
    assert verdicts(make_study(rows[:14]))["half_half drops at the switch"] == NO_DATA


def test_only_claims_about_methods_that_ran_are_checked() -> None:
    study = make_study(flat("decay 0.5", LOW, [50.0, 51.0]))
    assert comparisons(study, load_claims()) == []
    assert check(study, load_claims()) == []
    assert claims_table(study).rows == ()
    cells = [column(verdicts_table([study]), f"{number}.", 0) for number in range(1, 8)]
    assert all(part.startswith("not enough data: needs ") for parts in cells for part in parts)


def test_a_sweep_of_the_decay_rate_is_judged_by_equivalence() -> None:
    study = sweep({"decay_rate-0.1": 3.0, "decay_rate-4": -9.8, "decay_rate-10": -30.0}, np.random.default_rng(0))
    assert verdicts(study) == {
        "decay_rate-0.1 ends like decay_rate-1": HOLDS,
        "decay_rate-4 ends like decay_rate-1": UNDECIDED,
        "decay_rate-10 ends like decay_rate-1": FAILS,
        "uncertainty falls online": NO_DATA,  # these rows have none
    }
    (far,) = [f for f in check(study, load_claims()) if f.comparison.ours == "decay_rate-10"]
    runs = summarise(study)
    finals = {m: runs[runs["method"] == m].set_index("seed")["final"] for m in ("decay_rate-10", "decay_rate-1")}
    assert far.interval == t_interval(finals["decay_rate-10"] - finals["decay_rate-1"], 0.9)
    assert column(verdicts_table([study]), "5.", 0) == ["decay_rate-mini: holds on 0 of 1 task, does not hold on 1"]
    elsewhere = verdicts(dataclasses.replace(study, name="other-mini"))
    assert [name for name in elsewhere if "ends like" in name] == []
    flat_sweep = sweep({"decay_rate-0.1": 3.0}, np.random.default_rng(0))
    assert column(verdicts_table([flat_sweep]), "5.", 0) == ["decay_rate-mini: holds on 1 of 1 task"]


@pytest.mark.parametrize(("gain", "verdict"), [(2.0, HOLDS), (20.0, FAILS), (5.0, UNDECIDED)])
def test_a_penalty_that_holds_the_policy_back_shows_when_it_is_switched_off(gain: float, verdict: str) -> None:
    rows = flat("constant-max_std", LOW, LEVELS)
    rows += flat("zero_online-max_std", LOW, [y + gain + 0.1 * i for i, y in enumerate(LEVELS, -2)])
    found = verdicts(named(rows, "penalty-mini", "constant-max_std"))
    assert found["zero_online-max_std ends no better than constant-max_std"] == verdict


def test_a_collapse_is_looked_for_on_random_datasets_only() -> None:
    random = "self:hopper-random"
    rows = flat("moore", random, [30.0, 31.0, 32.0], j0=1.0) + flat("moore", LOW, [30.0, 31.0, 32.0], j0=1.0)
    rows += flat("awac", random, [30.0, 31.0, 32.0], j0=20.0)
    study = make_study(rows, configs={}, offline_runs={})
    found = [f for f in check(study, load_claims()) if f.comparison.claim.key == "random_collapses"]
    assert [(f.comparison.name, f.dataset, f.verdict) for f in found] == [
        ("the offline policy of moore collapsed", random, HOLDS)
    ]
    assert column(verdicts_table([study]), "7.", 0) == ["toy: holds on 1 of 1 task"]
