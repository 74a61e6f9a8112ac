"""The online stage in thirds: what the model knew early, in the middle and at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes

from analysis.drawn import drawn_as
from analysis.figures import mean_curve
from analysis.methods import REFERENCES, ordered
from analysis.rows import Study
from analysis.transfer import summarise

THIRDS = ("first third", "middle third", "last third")
COLOURS = seaborn.color_palette("viridis_r", 4)[1:]  # light to dark; its first is too pale
LINES = (":", "--", "-")
FEW = 3  # methods whose thirds are still told apart in one panel


def logged(study: Study, metrics: Sequence[str]) -> pd.DataFrame:
    """Online rows of these metrics of the runs that finished, with a column `third` (0, 1, 2).

    Without runs from scratch: they have no offline data to mix, to forget or to be held out.
    """
    runs, rows = summarise(study), study.rows
    mine = rows["metric"].isin(metrics) & (rows["phase"] == "online") & ~rows["method"].isin(REFERENCES)
    rows = rows[mine]
    rows = rows[rows["run"].isin(runs.loc[runs["finished"], "run"])]
    third = np.ceil(3 * rows["env_steps"].to_numpy(float) / study.online_steps) - 1
    return rows.assign(third=np.clip(third, 0, 2).astype(int))


def shown_methods(study: Study, rows: pd.DataFrame) -> list[str]:
    """The methods of `rows` if they are few, else the study's reference, or the first method if it has no rows."""
    names = ordered(rows["method"])
    return names if len(names) <= FEW else [study.main if study.main in names else names[0]]


def draw_thirds(axis: Axes, study: Study, rows: pd.DataFrame, methods: Sequence[str]) -> None:
    """Means over seeds of `value` at every x in every third, `rows` being those of one dataset with a column x.

    A run counts with its mean over the epochs of the third that have a value. One method: a colour and a 95 % t band
    for each third; several: colours for methods, lines for thirds.
    """
    looks = drawn_as(study)
    for method in methods:
        for number, name in enumerate(THIRDS):
            mine = rows[(rows["method"] == method) & (rows["third"] == number)]
            if mine.empty:
                continue
            per_run = mine.groupby(["run", "x"])["value"].mean().reset_index()
            curve, alone = mean_curve(per_run, "x"), len(methods) == 1
            colour = COLOURS[number] if alone else looks[method].colour
            label = name if alone else f"{looks[method].label}, {name}"
            if alone:
                axis.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            axis.plot(curve.x, curve.mean, LINES[number], color=colour, label=label, marker="o", markersize=2)
