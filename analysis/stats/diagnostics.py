"""Numbers behind the diagnostic figures: the closed form of the online share, thirds of the online stage, densities.

The metrics and their definitions are those of moore/algorithm/diagnostics.py. The relative uncertainty error (the right
of the paper's Figure 4) has no definition there; here it is (u after a retraining - u before it) / u before it, on
offline transitions that never train the ensemble, in the last retraining of an epoch.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.io.methods import REFERENCES, ordered
from analysis.io.rows import PHASES, Results
from analysis.io.settings import SCHEDULE, values
from analysis.stats.intervals import Array
from analysis.stats.transfer import summarise
from moore.base.errors import UserError

PENALTY, EDGES = "penalty/mean", ("penalty/q20", "penalty/q80")
MEDIAN = "penalty/q50"  # of u; rows from before it was logged have the mean alone
OPEN_LOOP, COVERAGE, RANKS = "model/open_loop_error_", "model/coverage_", "model/error_rank_correlation"
STEPS, NOMINAL = range(1, 11), (50, 80, 90, 95)
CHANGE = "penalty/relative_change_q"
LEVELS = tuple(range(25, 1000, 50))  # in thousandths: the middles of 20 parts of equal mass
FEW = 2  # methods whose thirds are still told apart in one panel


def closed_form(
    steps: npt.ArrayLike, epochs: npt.ArrayLike, decay_rate: float, offline_size: int, exponent: float = 1.0
) -> Array:
    """Compute the online share of a prioritised draw after n = `steps` steps in epoch t = `epochs` (from 1), broadcast.

    n / (n + N_off f^e) with the paper's priority f = 1 / (α t) of offline transitions (eq. 3 and 4) and PER's exponent
    e; at the end of an epoch, where n = S t, and e = 1 it is α S t² / (α S t² + N_off).
    """
    n, priority = np.asarray(steps, dtype=float), 1 / (decay_rate * np.asarray(epochs, dtype=float))
    return np.asarray(n / (n + offline_size * priority**exponent))


def expected_share(study: Results, method: str, dataset: str) -> tuple[Array, Array] | None:
    """Compute the steps at the end of every epoch [T] and the expected online share of its prioritised draws [T].

    The ensemble is trained and rollouts start every φ steps, so an epoch's share is a mean over its retrainings, or
    that of its end without φ. None where the manifest does not state α, S (in steps) and N_off.
    """
    known = (values(study, method, key, dataset) for key in SCHEDULE)
    rate, exponent, epoch_steps, interval = ([*several, None][0] for several in known)
    size = study.manifest.get("datasets", {}).get(dataset, {}).get("transitions")
    if not all(isinstance(value, (int, float)) and value > 0 for value in (rate, epoch_steps, size)):
        return None
    ends, every = np.arange(epoch_steps, study.online_steps + 1, epoch_steps), min(interval or epoch_steps, epoch_steps)
    steps = ends[:, None] - epoch_steps + np.arange(every, epoch_steps + 1, every)
    share = closed_form(steps, np.arange(1, len(ends) + 1)[:, None], rate, size, exponent or 1.0)
    return ends.astype(float), share.mean(axis=1)


def logged(study: Results, metrics: Sequence[str]) -> pd.DataFrame:
    """Select the online rows of these metrics of finished runs, with a column `third` (0, 1, 2) of the online stage.

    Without runs from scratch: they have no offline data to mix, to forget or to be held out.
    """
    runs, rows = summarise(study), pd.concat([study.select(metric) for metric in metrics])
    runs = runs[runs["finished"] & ~runs["method"].isin(REFERENCES)]
    rows = rows[rows["run"].isin(runs["run"])]
    third = np.ceil(3 * rows["env_steps"].to_numpy(float) / study.online_steps) - 1
    return rows.assign(third=np.clip(third, 0, 2).astype(int))


def centre(study: Results) -> str:
    """Name the metric that a figure of u draws: the median where both stages logged it, else the mean.

    The mean follows the upper tail of u: it often lies above its own 80 % quantile.
    """
    means, medians = ([p for p in PHASES if len(study.select(name, p))] for name in (PENALTY, MEDIAN))
    return MEDIAN if medians and set(medians) >= set(means) else PENALTY


def uncertainty_falls(study: Results) -> pd.DataFrame:
    """Return 1 - (mean u of the last 10 % of the online steps) / (an earlier mean u), for every run with both.

    Columns: `uncertainty_fall` against the first 10 % of the online steps, `uncertainty_fall_offline` against the last
    10 % of the updates of the offline stage that the run starts from, which is the paper's Figure 4.
    """
    online, offline, share = study.select(PENALTY), study.select(PENALTY, "offline"), 0.1
    ends = offline[offline["updates"] > (1 - share) * offline.groupby("run")["updates"].transform("max")]
    last, first, before = (
        rows.groupby("run")["value"].mean()
        for rows in (
            online[online["env_steps"] > (1 - share) * study.online_steps],
            online[online["env_steps"] <= share * study.online_steps],
            ends,
        )
    )
    before = last.index.to_series().map(study.manifest.get("offline_runs", {})).map(before)
    falls = {"uncertainty_fall": first, "uncertainty_fall_offline": before}
    return pd.DataFrame({name: 1 - last / level.where(level > 0) for name, level in falls.items()})


def numbered(study: Results, prefix: str, numbers: Sequence[int]) -> pd.DataFrame:
    """Select the `logged` rows of the metrics `prefix`N, with N as column x."""
    rows = logged(study, [f"{prefix}{number}" for number in numbers])
    return rows.assign(x=rows["metric"].str.removeprefix(prefix).astype(int))


def shown_methods(study: Results, rows: pd.DataFrame) -> list[str]:
    """Name the methods of `rows` if they are few, else the study's reference, or the first method without its rows."""
    names = ordered(rows["method"])
    return names if len(names) <= FEW else [study.main if study.main in names else names[0]]


def relative_changes(study: Results) -> tuple[pd.DataFrame, int]:
    """Select the quantiles of the relative uncertainty error that the reference, or else one method, logged.

    Returns the finite rows, and the number of epochs of a run with others. Points have equal mass only if every epoch
    has all quantiles: UserError if not.
    """
    rows = logged(study, [f"{CHANGE}{level:03}" for level in LEVELS])
    method = study.main if (rows["method"] == study.main).any() else rows["method"].min()
    rows = rows[rows["method"] == method]
    counts = rows.groupby(["run", "env_steps"])["metric"].nunique()
    lacking = counts[counts < len(LEVELS)]
    if len(lacking):
        run, step = lacking.index[0]
        raise UserError(
            f"study {study.name}: run {run} has {lacking.iloc[0]} of the {len(LEVELS)} metrics {CHANGE}* at step {step}"
        )
    finite = np.isfinite(rows["value"])
    return rows[finite], len(rows.loc[~finite, ["run", "env_steps"]].drop_duplicates())


def density(points: Array, x: Array) -> Array:
    """Estimate the Gaussian kernel density [P] of `points` [n] at `x` [P].

    Bandwidth 0.9 min(std, IQR / 1.34) n^(-1/5) (Silverman 1986, eq. 3.31), which single far points hardly widen.
    """
    std = float(points.std(ddof=1))
    width = 0.9 * (min(std, float(np.subtract(*np.quantile(points, [0.75, 0.25]))) / 1.34) or std) * len(points) ** -0.2
    return np.exp(-0.5 * ((x[:, None] - points) / width) ** 2).mean(axis=1) / (width * math.sqrt(2 * math.pi))
