"""Sweeps: which number methods differ in."""

from typing import Any

from analysis.plots.figures import draw
from analysis.stats.sweeps import sweeps
from tests.support.synthetic_studies import NAMES, RATES, TWELVE, sweep, variants, with_rows


def test_a_sweep_is_found_from_configs_and_from_axes_alike() -> None:
    (found,) = sweeps(sweep(epochs=0))
    assert (found.key, found.reference, found.factors) == ("sampling.decay_rate", "decay_rate-1", False)
    assert dict(found.values) == dict(zip(NAMES, RATES, strict=True))
    assert list(found.values) == NAMES  # ascending, not by the letters of the names
    axes = {name: {"sampling.decay_rate": rate} for name, rate in zip(NAMES, RATES, strict=True)}
    assert sweeps(sweep(epochs=0, axes=axes, configs={})) == [found]


def test_any_number_may_be_swept_and_none_but_numbers() -> None:
    (found,) = sweeps(sweep("rollout.length", (1, 5, 10)))
    assert (found.key, found.name, found.symbol) == ("rollout.length", "length", "length")
    names = ("max_std", "ensemble_std", "max_deviation")
    assert sweeps(variants({name: {"penalty.uncertainty": name} for name in names})) == []
    assert sweeps(variants({str(value): {"dynamics.fresh": value} for value in (True, False, 2)})) == []


def test_two_values_or_a_second_difference_are_no_sweep() -> None:
    assert sweeps(variants({"a": {"rollout.length": 1}, "b": {"rollout.length": 2}})) == []
    both = {str(h): {"rollout.length": h, "real_ratio": 0.05 * (1 + (h == 3))} for h in (1, 2, 3)}
    assert sweeps(variants(both)) == []


def test_one_study_may_hold_several_sweeps_around_its_reference() -> None:
    """As in a study of budgets: every variant changes one number of the base."""
    base: dict[str, Any] = {"rollout.length": 5, "online.utd_ratio": 20}
    settings: dict[str, dict[str, Any]] = {
        "moore": base,
        **{f"length-{h}": base | {"rollout.length": h} for h in (1, 10)},
        **{f"updates-{n}": base | {"online.utd_ratio": n} for n in (10, 40)},
    }
    found = sweeps(variants(settings))
    assert [(s.key, list(s.values.values())) for s in found] == [
        ("online.utd_ratio", [10, 20, 40]),
        ("rollout.length", [1, 5, 10]),
    ]
    assert {s.reference for s in found} == {"moore"}
    figure, _ = draw(variants(settings), "sweep")
    assert [axis.get_xlabel() for axis in figure.axes] == ["utd ratio", "length"]


def test_factors_of_what_a_task_has_are_values_too() -> None:
    axes = {f"coef-x{f:g}": {"penalty.coef": f"x{f:g}"} for f in (0.5, 1, 2)}
    (found,) = sweeps(variants({name: {} for name in axes}, axes=axes, reference="coef-x1"))
    assert found.factors
    assert [found.text(method) for method in found.values] == ["×0.5", "×1", "×2"]  # noqa: RUF001


def test_a_value_that_depends_on_the_task_is_no_sweep() -> None:
    made = variants({f"length-{h}": {"rollout.length": h} for h in (1, 5, 10)}, datasets=TWELVE[:2])
    assert len(sweeps(made)) == 1
    made.manifest["configs"][f"length-10/{TWELVE[1]}/0"]["rollout"]["length"] = 12
    assert sweeps(with_rows(made, made.rows)) == []  # an object of its own: what was found is kept
