"""Sweeps: which number methods differ in, how they are drawn by it, and what they came to."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from analysis.io.rows import Results
from analysis.output.notes import notes
from analysis.plots.comparisons import sweep_plot
from analysis.plots.curves import learning_curves
from analysis.plots.figures import drawings
from analysis.plots.looks import drawn_as
from analysis.stats.intervals import t_interval
from analysis.stats.sweeps import sweeps
from analysis.stats.transfer import summarise
from tests.support.synthetic_studies import RATES, TWELVE, study, sweep

NAMES = [f"decay_rate-{rate:g}" for rate in RATES]


def variants(settings: dict[str, dict[str, Any]], **changes: Any) -> Results:
    """One dataset, two seeds, scores only."""
    given: dict[str, Any] = {"datasets": TWELVE[:1], "seeds": 2, "epochs": 0, "diagnosed": ()}
    return study(list(settings), settings=settings, **(given | changes))


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
    figures = [name for name, _, _ in drawings(variants(settings))]
    assert figures[-2:] == ["sweep_utd_ratio", "sweep_length"]


def test_factors_of_what_a_task_has_are_values_too() -> None:
    axes = {f"coef-x{f:g}": {"penalty.coef": f"x{f:g}"} for f in (0.5, 1, 2)}
    (found,) = sweeps(variants({name: {} for name in axes}, axes=axes, reference="coef-x1"))
    assert found.factors
    assert [found.text(method) for method in found.values] == ["×0.5", "×1", "×2"]  # noqa: RUF001


def test_a_value_that_depends_on_the_task_is_no_sweep() -> None:
    made = variants({f"length-{h}": {"rollout.length": h} for h in (1, 5, 10)}, datasets=TWELVE[:2])
    (found,) = sweeps(made)
    configs = made.manifest["configs"]
    configs[f"length-10/{TWELVE[1]}/0"]["rollout"]["length"] = 12
    assert found
    assert sweeps(Results(made.name, made.rows, {**made.manifest, "configs": configs})) == []


def lightness(colour: tuple[float, float, float]) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


def test_a_sweeps_curves_go_from_light_to_dark_and_are_named_by_value() -> None:
    made = sweep(epochs=0, diagnosed=())
    looks = drawn_as(made)
    assert list(looks) == NAMES
    shades = [lightness(look.colour) for look in looks.values()]
    assert all(a > b + 0.01 for a, b in pairwise(shades))
    labels = ["α = 0.1", "α = 0.25", "α = 0.5", "α = 1 (reference)", "α = 2", "α = 4", "α = 10"]  # noqa: RUF001
    assert [look.label for look in looks.values()] == labels
    figure, _ = learning_curves(made)
    assert "Light to dark: `sampling.decay_rate` from 0.1 to 10, in the reference 1." in notes(made)
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["offline stage", *labels]


def test_a_product_of_two_axes_has_colours_for_one_and_lines_for_the_other() -> None:
    points = [(a, b) for a in ("constant", "linear", "adaptive") for b in ("max", "mean")]
    axes = {f"{a}-{b}": {"schedule": a, "uncertainty": b} for a, b in points}
    looks = drawn_as(variants({name: {} for name in axes}, axes=axes))
    assert len({looks[f"{a}-max"].colour for a, _ in points}) == 3
    assert looks["linear-max"].colour == looks["linear-mean"].colour
    assert {looks[name].line for name in axes if name.endswith("-max")} == {"-"}
    assert {looks[name].line for name in axes if name.endswith("-mean")} == {"--"}


def points(axis: Axes, label: str) -> tuple[list[float], list[float], list[float]]:
    """x, mean and half-widths of the error bars with this label."""
    (bars,) = (c for c in axis.containers if isinstance(c, ErrorbarContainer) and c.get_label() == label)
    segments = bars.lines[2][0].get_segments()
    halves = [float(segment[1][1] - segment[0][1]) / 2 for segment in segments]
    x, y = (np.asarray(values, dtype=float).tolist() for values in bars.lines[0].get_data())
    return x, y, halves


def test_a_sweep_shows_means_and_t_intervals_at_the_values() -> None:
    made = sweep(epochs=0, diagnosed=(), seeds=4)
    figure, caption = sweep_plot(made, sweeps(made)[0])
    runs = summarise(made)
    assert len(figure.axes) == 2
    for axis, dataset in zip(figure.axes, made.datasets, strict=True):
        assert axis.get_xscale() == "log"
        assert [text.get_text() for text in axis.get_xticklabels()] == ["0.1", "0.25", "0.5", "1", "2", "4", "10"]
        for label, metric in (("final score", "final"), ("worst drop", "worst_drop")):
            x, y, halves = points(axis, label)
            mine = [runs[(runs["dataset"] == dataset) & (runs["method"] == name)][metric] for name in NAMES]
            intervals = [t_interval(values) for values in mine]
            assert x == list(RATES)
            np.testing.assert_allclose(y, [i.mean for i in intervals if i], rtol=1e-9)
            np.testing.assert_allclose(halves, [i.half_width for i in intervals if i], rtol=1e-6)
    assert "`sampling.decay_rate`" in caption


def test_a_sweep_with_zero_keeps_it_on_the_axis_and_a_stopped_run_is_named() -> None:
    made = sweep("penalty.coef", (0.0, 0.5, 1.0, 2.0), epochs=0, diagnosed=(), seeds=2)
    rows = made.rows
    lost = (rows["method"] == "coef-2") & (rows["seed"] == 1) & (rows["env_steps"] > 300)
    short = Results(made.name, rows[~lost].reset_index(drop=True), made.manifest)
    figure, _ = sweep_plot(short, sweeps(short)[0])
    axis = figure.axes[0]
    low, high = axis.get_xlim()
    assert axis.get_xscale() == "symlog"
    assert low < 0 < 2 < high
    assert [text.get_text() for text in axis.texts] == ["1 of 2\nstopped"]
    assert "coef-2 d4rl:halfcheetah-medium-expert-v2 seed 1 unfinished" in " ".join(notes(short))


@pytest.mark.parametrize("reference", ["decay_rate-1", "decay_rate-4"])
def test_the_manifests_reference_wins(reference: str) -> None:
    made = sweep(epochs=0, diagnosed=(), reference=reference)
    assert made.main == reference
    assert sweeps(made)[0].reference == reference
    assert sweep(epochs=0, diagnosed=(), reference="not here").main == "prioritized"
