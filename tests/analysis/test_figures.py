"""Figures: the same bytes twice, a page of twelve tasks, the axis with the switch, bad rows, the closed form."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.io.methods import MOORE, ordered
from analysis.io.rows import split_by_source
from analysis.output.notes import notes
from analysis.plots.curves import learning_curves
from analysis.plots.diagnostics import online_share, penalty
from analysis.plots.figures import DRAWINGS, drawings, save
from analysis.plots.looks import LOOKS, looks
from analysis.plots.style import OFFLINE_WIDTH, offline_x, short
from analysis.stats.diagnostics import Schedule, closed_form, schedule
from moore.base.errors import UserError
from tests.support.studies import flat, full_study, make_study, run_rows
from tests.support.synthetic_studies import METHODS, TWELVE, study, sweep

LOW = "self:pendulum-low"


def labels(figure: Figure) -> list[str]:
    return [entry.get_text() for entry in figure.legends[0].get_texts()]


def test_bytes_are_the_same_on_two_calls(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(learning_curves(make_study(full_study(2)))[0], tmp_path / name / "curves", "text")
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    assert sorted(file.suffix for file in (tmp_path / "a").iterdir()) == [".md", ".pdf", ".png"]
    pdf = (tmp_path / "a" / "curves.pdf").read_bytes()
    assert b"CreationDate" not in pdf
    assert b"/Type3" not in pdf
    assert b"/Type 3" not in pdf


def test_panels_lines_legend_and_units() -> None:
    figure, caption = learning_curves(make_study(full_study(3)))
    assert [axis.get_title() for axis in figure.axes] == [LOW, "self:pendulum-medium"]
    assert labels(figure) == ["offline stage", "prioritized", "uniform", "half_half", "pure_online", "sac", "mbpo"]
    texts = " ".join(text.get_text() for text in figure.findobj() if hasattr(text, "get_text"))
    assert "environment steps" in texts
    assert "gradient updates" in texts
    assert "score (0-100)" in texts
    assert "3 seeds" in caption


def test_lines_are_means_over_seeds_and_offline_ends_at_the_switch() -> None:
    study = make_study(full_study(3))
    figure, _ = learning_curves(study)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    offline_steps = np.asarray(lines["offline stage"].get_xdata(), dtype=float)
    assert offline_steps[0] == -OFFLINE_WIDTH * 1000
    assert offline_steps[-1] == 0
    rows = study.rows.query("method == 'uniform' and dataset == @LOW and metric == 'eval/score'")
    expected = rows.groupby("env_steps")["value"].mean()
    np.testing.assert_allclose(np.asarray(lines["uniform"].get_ydata(), dtype=float), expected)
    np.testing.assert_allclose(np.asarray(lines["uniform"].get_xdata(), dtype=float), expected.index)
    np.testing.assert_allclose(offline_x(np.array([0.0, 50.0, 100.0]), 100, 800), [-200, -100, 0])


def test_a_diverged_run_is_its_own_line_and_not_in_the_mean() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0]) + run_rows("uniform", LOW, 2, [0.0] * 14, diverged_at=500)
    made = make_study(rows)
    figure, _ = learning_curves(made)
    mean, own, cross = (line for line in figure.axes[0].get_lines() if len(np.atleast_1d(line.get_xdata())) != 2)
    assert np.asarray(mean.get_ydata(), dtype=float)[-1] == 61.0
    assert len(np.asarray(mean.get_xdata())) == 14
    assert np.asarray(own.get_xdata(), dtype=float)[-1] == 400
    assert cross.get_marker() == "x"
    assert "uniform self:pendulum-low seed 2 diverged after step 400" in " ".join(notes(made))


def test_no_figure_is_cut_to_the_shortest_run() -> None:
    """One run stops at 500 of 1000 steps, one offline stage at 1500 of 3000 updates: the means still reach the end."""
    last = {"online": 1000, "offline": 1500}  # in updates; an online run makes two a step
    rows = [r for r in full_study(3) if r["seed"] != 2 or r["updates"] <= last[r["phase"]]]
    study = make_study(rows)
    for drawn in (learning_curves(study), online_share(study), penalty(study)):
        assert drawn is not None
        lines = {line.get_label(): np.asarray(line.get_xdata(), dtype=float) for line in drawn[0].axes[0].get_lines()}
        assert lines["uniform"][-1] == 1000
    offline = {line.get_label(): line for line in learning_curves(study)[0].axes[0].get_lines()}["offline stage"]
    assert np.asarray(offline.get_xdata(), dtype=float)[-1] == 0


def test_runs_evaluated_at_different_steps_are_an_error() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0])
    del rows[5]
    with pytest.raises(UserError, match="evaluated at different steps"):
        learning_curves(make_study(rows))


def test_a_wild_band_does_not_flatten_the_lines() -> None:
    rows = flat("uniform", LOW, [0.0, 4000.0], j0=2000.0) + flat("prioritized", LOW, [1990.0, 2010.0], j0=2000.0)
    low, high = learning_curves(make_study(rows))[0].axes[0].get_ylim()
    assert high < 5000  # the t band of two runs reaches 25 000
    assert low < 0 < 2000 < high


@pytest.fixture(scope="module")
def twelve() -> Figure:
    """The paper's tasks and all of the suite's methods."""
    return learning_curves(study(METHODS, TWELVE, seeds=2, epochs=0, diagnosed=()))[0]


def test_twelve_tasks_and_all_methods_stand_in_the_papers_order(twelve: Figure) -> None:
    qualities = ("medium-expert", "medium-replay", "medium", "random")
    titles = [axis.get_title().replace("\n", "-") for axis in twelve.axes]
    assert titles == [f"d4rl:{env}-{q}-v2" for env in ("halfcheetah", "walker2d", "hopper") for q in qualities]
    places = [(round(axis.get_position().y0, 3), round(axis.get_position().x0, 3)) for axis in twelve.axes]
    assert len({y for y, _ in places}) == 3
    assert len({x for _, x in places}) == 4
    assert labels(twelve) == ["offline stage", *METHODS]
    for axis in twelve.axes:
        drawn = {str(line.get_label()) for line in axis.get_lines()}
        assert set(METHODS) | {"offline stage"} <= drawn
    width, height = twelve.get_size_inches()
    assert width <= 6.75  # the text of a page
    assert height < 9.0


def test_a_method_without_runs_on_a_dataset_is_named_not_forgotten() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0]) + flat("awac", "self:pendulum-medium", [60.0])
    made = make_study(rows)
    figure, _ = learning_curves(made)
    missing = f"uniform on self:pendulum-medium (0 of 2), awac on {LOW} (0 of 2), awac on self:pendulum-medium (1 of 2)"
    assert f"Fewer runs than seeds: {missing}." in notes(made)
    assert labels(figure) == ["uniform", "awac"]


def test_a_nan_score_is_a_diverged_run_and_a_gap_in_other_metrics_is_seen() -> None:
    rows = full_study(2)
    for entry in rows:
        if (entry["method"], entry["metric"], entry["env_steps"], entry["seed"]) == ("uniform", "penalty/mean", 500, 0):
            entry["value"] = float("nan")
        if (entry["method"], entry["metric"], entry["env_steps"], entry["seed"]) == ("half_half", "eval/score", 600, 1):
            entry["value"] = float("nan")
    study = make_study(rows)
    assert f"half_half {LOW} seed 1 diverged after step 500" in " ".join(notes(study))
    drawn = penalty(study)
    assert drawn is not None
    lines = {line.get_label(): line for line in drawn[0].axes[0].get_lines()}
    y = np.asarray(lines["uniform"].get_ydata(), dtype=float)
    assert np.isnan(y).tolist() == [False] * 4 + [True] + [False] * 5  # not cut, not bridged


def test_an_unknown_method_has_a_look_and_a_place_in_the_legend() -> None:
    rows = flat("uniform", LOW, [60.0, 62.0]) + flat("somebody's", LOW, [50.0, 52.0])
    assert labels(learning_curves(make_study(rows))[0]) == ["uniform", "somebody's"]


def test_one_seed_has_lines_without_a_band() -> None:
    figure, caption = learning_curves(make_study(flat("uniform", LOW, [60.0])))
    assert "mean over 1 seed with" in caption
    (band,) = figure.axes[0].collections
    edges = np.concatenate([np.asarray(path.vertices) for path in band.get_paths()] or [np.empty((0, 2))])
    assert not len(edges)


def test_a_study_without_an_online_stage_has_no_figures() -> None:
    rows = [entry for entry in full_study(2) if entry["phase"] == "offline"]
    assert list(drawings(make_study(rows, online_steps=None))) == []


def test_sources_never_share_a_figure() -> None:
    both = make_study(flat("uniform", LOW, [1.0, 2.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0, 3.0]))
    with pytest.raises(UserError, match="datasets of d4rl and self"):
        learning_curves(both)
    for part in split_by_source(both):
        assert len(learning_curves(part)[0].axes) == 1


def test_every_figure_that_the_rows_allow_is_drawn_and_repeats_its_bytes(tmp_path: Path) -> None:
    """The figures that the synthetic study of the report's test lacks are saved twice here, the others there."""
    made = study(("moore", "sac"), TWELVE[:2], seeds=2, evaluations=5)
    assert [name for name, _, _ in drawings(made)] == list(DRAWINGS)
    one = study(("moore",), TWELVE[:1], seeds=2, evaluations=5)
    for name in ("uncertainty_error", "model_error", "calibration", "rank_correlation"):
        for folder in ("a", "b"):
            drawn = DRAWINGS[name](one)
            assert drawn is not None
            save(drawn[0], tmp_path / folder / name, drawn[1])
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
        assert file.suffix != ".pdf" or b"/Type3" not in file.read_bytes()


def test_at_most_four_panels_in_a_row() -> None:
    rows = [r for i in range(5) for r in flat("uniform", f"self:task{i}-medium", [50.0, 51.0])]
    figure, _ = learning_curves(make_study(rows))
    tops = [round(axis.get_position().y0, 3) for axis in figure.axes]
    assert len(tops) == 5
    assert tops.count(tops[0]) == 4


def test_the_closed_form_is_the_papers_table() -> None:
    """Shares at t = 1, 10, 20, 50, 100 for N_off = 1e6, S = 1000, decay rate 1, and one half at sqrt(N_off / S)."""
    t = np.array([1.0, 10, 20, 50, 100])
    shares = closed_form(1000 * t, t, 1.0, 1_000_000)
    np.testing.assert_allclose(shares, [0.001, 0.0909, 0.2857, 0.714, 0.909], atol=1e-3)
    half = np.sqrt(1000.0)
    assert closed_form(1000 * half, half, 1.0, 1_000_000) == pytest.approx(0.5)


def test_share_figure_draws_the_closed_form_where_the_manifest_allows_it() -> None:
    study = make_study(full_study(2))
    assert schedule(study, "prioritized", LOW) == Schedule(1.0, 1.0, 100, 100, 4000)
    drawn = online_share(study)
    assert drawn is not None
    assert "closed form" in labels(drawn[0])
    line = next(line for line in drawn[0].axes[0].get_lines() if line.get_label() == "closed form")
    assert np.asarray(line.get_ydata(), dtype=float)[-1] == pytest.approx(100 * 100 / (100 * 100 + 4000))
    unknown = online_share(make_study(full_study(2), config={}, datasets={}))
    assert unknown is not None
    assert "closed form" not in labels(unknown[0])
    assert "None for" in unknown[1]


def test_penalty_figure_has_a_band_of_one_method_and_none_without_rows() -> None:
    drawn = penalty(make_study(full_study(2)))
    assert drawn is not None
    assert "`prioritized`" in drawn[1]
    assert len(drawn[0].axes[0].collections) >= 1
    assert penalty(make_study(flat("uniform", LOW, [1.0, 2.0]))) is None
    assert online_share(make_study(flat("uniform", LOW, [1.0, 2.0]))) is None


def seen(methods: Iterable[str], first: str = "") -> dict[str, tuple[object, str]]:
    """Colour and line of every method."""
    return {name: (look.colour, look.line) for name, look in looks(methods, first).items()}


def test_looks_are_fixed_per_method_and_differ() -> None:
    few, many = seen(["uniform", "sac"]), seen([*LOOKS, "decay 0.5", "decay 10"])
    assert few["uniform"] == many["uniform"]
    assert few["sac"] == many["sac"]
    assert many.pop(MOORE) == many["prioritized"]  # one method under two names
    assert len(set(many.values())) == len(many)
    assert ordered(["sac", "decay 10", "decay 0.5", "uniform", "uniform"]) == [
        "uniform",
        "decay 0.5",
        "decay 10",
        "sac",
    ]


@pytest.mark.parametrize("count", [4, 20, 40])
def test_variants_without_a_fixed_look_differ_and_the_first_looks_like_moore(count: int) -> None:
    names = [f"variant {i}" for i in range(count)]
    drawn = seen(names, "variant 3")
    assert len(set(drawn.values())) == count
    if count <= 20:
        assert drawn["variant 3"] == seen([MOORE])[MOORE]
    beside = seen([*names, *LOOKS], "variant 3")
    assert {name: beside[name] for name in LOOKS} == seen(LOOKS)
    assert len({beside[name] for name in [*names, *LOOKS]}) == count + len(LOOKS) - 1  # MOORe has two names


def test_the_legend_has_columns_that_are_alike() -> None:
    figure, _ = learning_curves(sweep(seeds=2, epochs=0, diagnosed=(), datasets=TWELVE[:4]))
    assert len(labels(figure)) == 8
    columns = {round(entry.get_window_extent().x0) for entry in figure.legends[0].get_texts()}
    assert len(columns) in (4, 8)


def test_ticks_are_short() -> None:
    assert [short(value) for value in (0, 500, 2500, 100_000, 1_500_000)] == ["0", "500", "2.5k", "100k", "1.5M"]
