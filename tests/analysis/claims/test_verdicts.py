"""Verdicts are right on constructed data, say so when there are none, and rarely raise a false alarm."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.claims.claims import load_claims
from analysis.claims.tables import claims_table, verdicts_table
from analysis.claims.verdicts import (
    CANNOT,
    FAILS,
    HOLDS,
    NO_DATA,
    UNDECIDED,
    Finding,
    check,
    comparisons,
    conjunction,
    distinct,
    judge,
    on_most,
    p_values,
)
from analysis.io.rows import Results
from analysis.output.render import to_markdown
from analysis.stats.intervals import Estimate, estimate
from analysis.stats.transfer import summarise
from tests.support.drawn import sure
from tests.support.studies import LEVELS, LOW, MEDIUM, column, flat, full_study, make_study, named, row, run_rows

MARGIN = 5.0


def verdicts(study: Results) -> dict[str, str]:
    return {f.comparison.name: f.verdict for f in check(study, load_claims())}


def finding(study: Results, name: str) -> Finding:
    (found,) = [f for f in check(study, load_claims()) if f.comparison.name == name]
    return found


def sweep(shifts: dict[str, float], rng: np.random.Generator) -> Results:
    """A sweep of the decay rate: 5 seeds, finals around 80, each value shifted by as much."""
    rows = []
    for method, shift in {"decay_rate-1": 0.0, **shifts}.items():
        rows += flat(method, LOW, list(80 + shift + rng.normal(0, 0.5, 5)))
    return named(rows, "decay_rate-mini", "decay_rate-1")


def test_constructed_effects_are_found() -> None:
    found = verdicts(make_study(full_study(5)))
    assert found.pop("uncertainty falls below its offline level") == NO_DATA  # the offline stage logs none
    assert list(found.values()) == [HOLDS] * 8


@given(st.floats(-50, 50), st.floats(0.01, 50), st.integers(1, 30), st.sampled_from(["above", "below", "within"]))
def test_one_comparison_is_judged_by_its_interval(mean: float, error: float, freedom: int, bound: str) -> None:
    """Without others beside it: whole interval on its side, on the other side, or neither; 90 % in an equivalence."""
    level = 0.05 if bound == "within" else 0.025
    half = scipy.stats.t.ppf(1 - level, freedom) * error
    low, high = mean - half, mean + half
    above = HOLDS if low > MARGIN else FAILS if high < MARGIN else UNDECIDED
    inside, outside = low > -MARGIN and high < MARGIN, low > MARGIN or high < -MARGIN
    within = HOLDS if inside else FAILS if outside else UNDECIDED
    below = {HOLDS: FAILS, FAILS: HOLDS}.get(above, above)
    if min(abs(abs(edge) - MARGIN) for edge in (low, high)) > 1e-6:
        ((_, verdict),) = judge([p_values(Estimate(mean, error, freedom, 5), bound, MARGIN)], [level])
        assert verdict == {"above": above, "below": below, "within": within}[bound]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_most_tasks_are_more_than_half_and_the_opposite_is_the_rest(values: list[float]) -> None:
    """At least u of n effects: p-value (n - u + 1) p_(u). Enough wrong ones leave at most half that are right."""
    n, wrong = len(values), [1 - p for p in values]
    more_than_half = next(u for u in range(1, n + 1) if 2 * u > n)
    leaves_half = next(u for u in range(1, n + 1) if 2 * (n - u) <= n)
    sides = (values, more_than_half), (wrong, leaves_half)
    expected = [min(1, (n - u + 1) * sorted(p)[u - 1]) for p, u in sides]
    assert on_most(list(zip(values, wrong, strict=True))) == pytest.approx(tuple(expected))


@given(st.lists(st.sampled_from([HOLDS, FAILS, UNDECIDED, NO_DATA, CANNOT])))
def test_a_claim_holds_if_all_comparisons_do_that_can_be_tested(found: list[str]) -> None:
    claim, tested = conjunction(found), set(found) - {CANNOT}
    assert (claim == FAILS) == (FAILS in found)
    assert (claim == HOLDS) == (tested == {HOLDS})
    assert (claim == CANNOT) == (bool(found) and not tested)
    assert (claim == NO_DATA) == ((NO_DATA in tested and tested <= {NO_DATA, HOLDS}) or not found)


def test_a_policy_at_the_floor_cannot_drop_and_one_at_the_ceiling_cannot_gain() -> None:
    """J_0 = 1: neither smooth nor dropping by 5 is evidence. On two tasks the other one decides."""
    low = flat("uniform", LOW, [1.0, 1.1, 1.2], j0=1.0)
    assert verdicts(make_study(low))["uniform is smooth"] == CANNOT
    both = make_study(low + flat("uniform", MEDIUM, [60.0, 61.0, 62.0], j0=60.0))
    found = finding(both, "uniform is smooth")
    assert (found.verdict, found.untestable) == (HOLDS, (LOW,))
    assert sure(found.interval).mean == pytest.approx(-1.0)
    assert "-0.1 [-0.3, 0.1], left out" in to_markdown(claims_table(both))
    high = flat("uniform", LOW, [97.0, 97.5, 98.0], j0=97.0) + flat("prioritized", LOW, [98.0, 98.5, 98.7], j0=97.0)
    assert verdicts(make_study(high))["uniform adapts slower"] == CANNOT
    deep = run_rows("half_half", LOW, 0, [50.0, -10.0])  # the floor is where any run was, and 11 points below J_0
    assert verdicts(make_study([*low, *deep]))["uniform is smooth"] == HOLDS


def test_the_fall_below_the_offline_level_is_of_the_run_s_own_stage() -> None:
    """u is 2 where the stage ends and 1, 0.8 or 0.6 where the run does; its first online steps are at 4."""
    rows = []
    for seed, last in enumerate((1.0, 0.8, 0.6)):
        rows += run_rows("moore", LOW, seed, [50.0] * 14)
        rows += [row("moore", LOW, seed, "online", x, "penalty/mean", y) for x, y in ((50, 4.0), (1000, last))]
        rows += [row("mopo", LOW, seed, "offline", u, "penalty/mean", y) for u, y in ((1500, 9.0), (3000, 2.0))]
    study = make_study(rows)
    falls = ("uncertainty falls online", "uncertainty falls below its offline level")
    means = [sure(finding(study, name).interval).mean for name in falls]
    assert means == pytest.approx([1 - 0.8 / 4, 1 - 0.8 / 2])


def test_the_same_runs_under_another_name_are_compared_once() -> None:
    """A part of a study, with another name for the study, the method and the runs."""
    whole = make_study(full_study(5))
    rows = whole.rows[(whole.rows["method"] == "prioritized") & (whole.rows["dataset"] == LOW)]
    other = rows.assign(method="moore", run="other/" + rows["run"])
    part = dataclasses.replace(make_study([]), name="part", rows=other)
    findings = [one for study in (part, whole) for one in check(study, load_claims())]
    fall = [one.study for one in findings if one.comparison.name == "uncertainty falls online"]
    assert fall == ["part", "toy"]
    kept = [one.comparison.name for one in distinct(findings) if one.study == "part"]
    assert kept == ["moore is smooth at the switch"]
    counted = column(verdicts_table([part, whole]), "6.", 0)
    assert counted[1] == "of the same runs, not counted again: part (not enough data)"


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
    assert check(study, load_claims()) == ()
    assert claims_table(study).rows == ()
    cells = [column(verdicts_table([study]), f"{number}.", 0) for number in range(1, 8)]
    assert [parts[0][:23] for parts in cells] == ["not enough data: needs "] * 7


def test_a_sweep_of_the_decay_rate_is_judged_by_equivalence() -> None:
    study = sweep({"decay_rate-0.1": 3.0, "decay_rate-4": -9.8, "decay_rate-10": -30.0}, np.random.default_rng(0))
    assert verdicts(study) == {
        "decay_rate-0.1 ends like decay_rate-1": HOLDS,
        "decay_rate-4 ends like decay_rate-1": UNDECIDED,
        "decay_rate-10 ends like decay_rate-1": FAILS,
        "uncertainty falls online": NO_DATA,  # these rows have none
        "uncertainty falls below its offline level": NO_DATA,
    }
    (far,) = [f for f in check(study, load_claims()) if f.comparison.ours == "decay_rate-10"]
    runs = summarise(study)
    finals = {m: runs[runs["method"] == m].set_index("seed")["final"] for m in ("decay_rate-10", "decay_rate-1")}
    expected = sure(estimate([finals["decay_rate-10"] - finals["decay_rate-1"]]))
    assert far.interval == expected.interval(0.9)
    (said,) = column(verdicts_table([study]), "5.", 0)
    assert said == "decay_rate-mini: does not hold (holds 1, does not hold 1, undecided 1)"
    elsewhere = verdicts(dataclasses.replace(study, name="other-mini"))
    assert [name for name in elsewhere if "ends like" in name] == []
    flat_sweep = sweep({"decay_rate-0.1": 3.0}, np.random.default_rng(0))
    assert column(verdicts_table([flat_sweep]), "5.", 0) == ["decay_rate-mini: holds (1 comparison)"]


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
    assert [(f.comparison.name, list(f.by_task), f.verdict) for f in found] == [
        ("the offline policy of moore collapsed", [random], HOLDS)
    ]
    assert column(verdicts_table([study]), "7.", 0) == ["toy: holds (1 comparison)"]
