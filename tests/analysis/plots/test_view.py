"""What of a study is drawn: chosen methods and tasks, with names, looks and numbers that the choice does not change."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.io.methods import method_label
from analysis.io.rows import SCORE, Results, environment, task_label
from analysis.plots.figures import draw
from analysis.plots.looks import HIGHLIGHTED, highlighted
from analysis.plots.view import GREY, view
from analysis.stats.transfer import summarise
from tests.support.drawn import labels, line
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study
from tests.support.synthetic_studies import TWELVE, scores_only, with_rows


def small(**changes: Any) -> Results:
    return scores_only(0, 1, 4, **({"evaluations": 5} | changes))


def test_names_for_people() -> None:
    ids = ("moore", "prioritized", "cal_ql", "half_half", "decay_rate-0.5", "fixed-0.25", "cap-x5")
    assert [method_label(name) for name in ids] == [
        *("MOORe", "MOORe", "Cal-QL", "half-half", "α = 0.5", "fixed 0.25", "cap ×5")  # noqa: RUF001
    ]
    assert method_label("corl:awac (imported)") == "AWAC (imported, corl)"
    tasks = ("self:halfcheetah-medium-replay", "d4rl:hopper-medium-v2", "minari:mujoco/walker2d/expert-v0")
    assert [task_label(name) for name in tasks] == ["HC-medium-replay", "Hopper-medium", "Walker2d-expert"]


def test_tasks_that_share_a_name_keep_their_ids() -> None:
    versions = ["d4rl:hopper-medium-v0", "d4rl:hopper-medium-v2"]
    assert [*view(small(datasets=versions)).titles.values()] == versions


def test_a_choice_changes_no_line_and_no_look() -> None:
    made = small()
    for wanted, task in ((["awac", "SAC"], TWELVE[0]), (["AWAC", "sac"], task_label(TWELVE[0]))):
        chosen, whole = view(made, methods=wanted, tasks=[task]), view(made)
        assert {name: whole.looks[name] for name in ("awac", "sac")} == chosen.looks
        assert chosen.study.datasets == [TWELVE[0]]
        figure, _ = draw(made, methods=wanted, tasks=[task])
        (axis,) = figure.axes
        panel = next(one for one in draw(made)[0].axes if one.get_title() == axis.get_title())
        assert {"AWAC", "SAC"} < set(labels(figure))
        assert "MOORe" not in labels(figure)
        for name in ("awac", "sac"):
            assert line(axis, name) == line(panel, name)


def test_at_most_six_lines_are_in_colour_the_reference_and_the_best() -> None:
    made = small(methods=[f"variant {i}" for i in range(9)] + ["moore"], seeds=1)
    finals = summarise(made).groupby("method")["final"].mean()
    best = finals.drop("moore").sort_values().index[-5:]
    assert set(highlighted(made)) == {"moore", *best}
    lines = view(made).lines
    assert {name for name, look in lines.items() if look != GREY} == {"moore", *best}
    figure, caption = draw(made)
    assert len([name for name in labels(figure) if name not in ("offline stage", GREY.label)]) == HIGHLIGHTED
    assert f"grey: {', '.join(name for name in lines if name not in ('moore', *best))}" in caption


def test_below_five_seeds_each_is_drawn_and_from_five_on_a_band() -> None:
    for count, chosen, each in ((4, None, True), (5, None, False), (4, False, False), (5, True, True)):
        made = make_study([*flat("uniform", LOW, range(count)), *flat("uniform", MEDIUM, range(count))])
        axis = draw(made, seeds=chosen)[0].axes[0]
        thin = [drawn for drawn in axis.get_lines() if drawn.get_linewidth() == 0.5]
        assert len(thin) == (count if each else 0)
        assert len(axis.collections) == (0 if each else 1)


def test_raw_returns_and_other_axes_show_the_rows_columns() -> None:
    made = make_study(full_study(5))
    rows = made.rows.assign(wall_seconds=made.rows["env_steps"] * (1.0 + made.rows["seed"]))
    returns = rows[rows["metric"] == SCORE].assign(metric="eval/return", value=lambda rows: 10 * rows["value"])
    both = with_rows(made, pd.concat([rows, returns]))
    x, y = line(draw(both)[0].axes[0], "uniform")
    assert np.allclose(line(draw(both, y="return")[0].axes[0], "uniform")[1], np.multiply(y, 10))
    assert line(draw(both, x="updates")[0].axes[0], "uniform") == (np.multiply(x, 2).tolist(), y)
    figure, caption = draw(both, x="wall")
    assert np.allclose(line(figure.axes[0], "uniform")[0], np.multiply(x, 3.0))  # the mean of 1 to 5 seconds a step
    assert "mean time" in caption


def test_a_reference_from_scratch_stays_beside_a_chosen_task() -> None:
    made = small()
    kept = view(made, tasks=[TWELVE[4]]).study
    assert set(kept.rows["dataset"]) == {TWELVE[4], f"none:{environment(TWELVE[4])}"}


@pytest.mark.parametrize("figure", ["forest", "improvement"])
def test_differences_keep_their_reference(figure: str) -> None:
    drawn, _ = draw(small(), figure, methods=["awac"])
    names = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
    assert names == ["AWAC"]
