"""Density of the relative uncertainty error, from the quantiles that a run logs (the right of the paper's Figure 4).

The paper does not define it. Here it is (u after a retraining - u before it) / u before it, on offline transitions that
never train the ensemble, in the last retraining of an epoch (moore/algorithm/diagnostics.py).
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.figures import STYLE, Array, finish, task_grid
from analysis.rows import Study
from analysis.thirds import COLOURS, LINES, THIRDS, logged
from moore.base.errors import UserError

CHANGE = "penalty/relative_change_q"
LEVELS = tuple(range(25, 1000, 50))  # in thousandths: the middles of 20 parts of equal mass
OUTER = 0.01  # share of the points beyond either edge of a panel


def relative_error(study: Study) -> tuple[Figure, str] | None:
    """A density for each third of the epochs, a panel per dataset; None for a study that did not log the quantiles."""
    rows = logged(study, [f"{CHANGE}{level:03}" for level in LEVELS])
    if rows.empty:
        return None
    method = study.main if (rows["method"] == study.main).any() else str(rows["method"].min())
    rows = rows[rows["method"] == method]
    _reject_incomplete(rows, study.name)
    figure, axes = task_grid(study)
    undefined = rows.loc[~np.isfinite(rows["value"]), ["run", "env_steps"]].drop_duplicates()
    rows = rows[np.isfinite(rows["value"])]
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            mine = rows[rows["dataset"] == dataset]
            axis.axvline(0, color="0.3", linewidth=0.8, zorder=1)
            if mine.empty:
                continue
            low, high = (float(np.quantile(mine["value"], q)) for q in (OUTER, 1 - OUTER))
            pad = 0.05 * max(high - low, 1e-9)
            x = np.linspace(low - pad, high + pad, 201)
            for number, name in enumerate(THIRDS):
                points = mine.loc[mine["third"] == number, "value"].to_numpy(float)
                if len(points):
                    style = {"color": COLOURS[number], "label": name}
                    if np.ptp(points) > 0:
                        axis.plot(x, density(points, x), LINES[number], **style)
                    else:  # an ensemble that does not change has all its mass in one point
                        axis.axvline(points[0], linestyle=LINES[number], **style)
            axis.set_xlim(low - pad, high + pad)
            axis.set_ylim(bottom=0)
            axis.locator_params(axis="x", nbins=4)
    finish(figure, axes, "relative uncertainty error (u after a retraining - u before) / u before", "density", THIRDS)
    return figure, figure_captions.relative_error(study, method, OUTER, len(undefined))


def density(points: Array, x: Array) -> Array:
    """Gaussian kernel density [P] of `points` [n] at `x` [P].

    Bandwidth 0.9 min(std, IQR / 1.34) n^(-1/5) (Silverman 1986, eq. 3.31), which single far points hardly widen.
    """
    std = float(points.std(ddof=1))
    spread = min(std, float(scipy.stats.iqr(points)) / 1.34) or std
    kernel = scipy.stats.gaussian_kde(points, bw_method=0.9 * spread * len(points) ** -0.2 / std)
    return np.asarray(kernel(x))


def _reject_incomplete(rows: pd.DataFrame, study: str) -> None:
    """Points have equal mass only if every epoch has all quantiles."""
    counts = rows.groupby(["run", "env_steps"])["metric"].nunique()
    lacking = counts[counts < len(LEVELS)]
    if len(lacking):
        run, step = lacking.index[0]
        raise UserError(
            f"study {study}: run {run} has {lacking.iloc[0]} of the {len(LEVELS)} metrics {CHANGE}* at step {step}"
        )
