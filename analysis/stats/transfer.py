"""What one run did after the switch: final score and transfer metrics, defined here and nowhere else.

Notation: x_0 < x_1 < ... are the environment steps of a run's online evaluations, y_i the scores there (0-100
normalised), B the online budget. J_0 = y at x = 0. A metric is NaN wherever it is undefined, never a guess:

    j0             J_0; NaN without an evaluation at x = 0
    final          mean of the last five y with x > 0 (of all of them in a run with fewer); NaN for an unfinished run
    quarter        y at the last x <= B / 4, x > 0; NaN if the run ended before that
    late_drop      the highest mean of five y in a row, x > 0, - final: what a run lost again, not the luck of a single
                   evaluation; NaN for an unfinished run
    early_drop     J_0 - mean{y : 0 < x <= B / 10}; NaN if the run ended inside that window. A mean: the lowest of many
                   noisy evaluations lies below J_0 for every policy, a frozen one as well
    auc            (1 / b) * integral of y over 0 <= x <= b by trapezoids, b = the last evaluation at or before B: a
                   mean over *steps*, since evaluations are denser early; NaN for an unfinished run or without J_0
    auc_gain       auc - J_0: how fast a run adapts, whatever the level that it starts from
    regret         100 - auc
    steps_to_gain  min(B, the first x with y >= J_0 + 10): time censored at B, so its mean over runs is the restricted
                   mean of Kaplan and Meier; NaN for an unfinished run, and where J_0 + 10 is above 100
    gained         1 if J_0 + 10 was reached within B, else 0; NaN as steps_to_gain
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.io.rows import SCORE, Results, environment

LAST = 5  # evaluations in the headline score
EARLY = 0.1  # share of the budget that counts as the start of the online stage
GAIN = 10.0  # score points of `steps_to_gain`
METRICS = ("j0", "quarter", "final", "late_drop", "early_drop", "auc", "auc_gain", "regret", "steps_to_gain", "gained")
Array = npt.NDArray[np.float64]


def transfer_metrics(steps: Array, scores: Array, budget: float) -> dict[str, float]:
    """Compute all of `METRICS` for one run: `steps` [E] ascending, `scores` [E], `budget` = B in environment steps."""
    out = dict.fromkeys(METRICS, math.nan)
    online = steps > 0
    finished = bool(len(steps)) and steps[-1] >= budget and bool(online.any())
    if finished:
        out["final"] = float(scores[online][-LAST:].mean())
        width = min(LAST, int(online.sum()))
        out["late_drop"] = float(np.convolve(scores[online], np.full(width, 1 / width), "valid").max()) - out["final"]
    quarter = online & (steps <= budget / 4)
    if quarter.any() and steps[-1] >= budget / 4:
        out["quarter"] = float(scores[quarter][-1])
    if not len(steps) or steps[0] != 0:
        return out
    j0 = out["j0"] = float(scores[0])
    early = online & (steps <= EARLY * budget)
    if early.any() and steps[-1] >= EARLY * budget:
        out["early_drop"] = j0 - float(scores[early].mean())
    if finished:
        inside = steps <= budget
        out["auc"] = float(np.trapezoid(scores[inside], steps[inside])) / float(steps[inside][-1])
        out["auc_gain"], out["regret"] = out["auc"] - j0, 100.0 - out["auc"]
    if finished and j0 + GAIN <= 100:
        gained = steps[online & inside & (scores >= j0 + GAIN)]
        out["steps_to_gain"], out["gained"] = float(min([budget, *gained[:1]])), float(len(gained) > 0)
    return out


@lru_cache(maxsize=16)
def curves(study: Results) -> dict[str, Array]:
    """Map every run to environment steps and score [E, 2] of its online evaluations, in their order."""
    rows = study.select(SCORE).sort_values(["run", "env_steps"])
    names, starts = np.unique(rows["run"].to_numpy(), return_index=True)
    return dict(zip(names, np.split(rows[["env_steps", "value"]].to_numpy(float), starts[1:]), strict=False))


@lru_cache(maxsize=16)  # every table and figure of a study begins with it
def summarise(study: Results) -> pd.DataFrame:
    """Make one row per online run: its owner, diverged, finished, last_step, evaluations and `METRICS`.

    A run diverged if it has a positive `diverged` row or a non-finite score; its evaluations from that step on are not
    used. Other runs short of the budget are unfinished. All callers get the same frame, for reading.
    """
    stops = study.select("diverged")
    stop_at = stops[stops["value"] > 0].groupby("run")["env_steps"].min()
    evaluations, budget, records = curves(study), study.online_steps, []
    for owner in study.owners[study.owners["phase"] == "online"].drop(columns="phase").to_dict("records"):
        steps, scores = evaluations.get(owner["run"], np.empty((0, 2))).T
        stop = float(min([stop_at.get(owner["run"], math.inf), *steps[~np.isfinite(scores)]]))
        steps, scores = steps[steps < stop], scores[steps < stop]
        last = int(steps[-1]) if len(steps) else 0
        record: dict[Any, Any] = {"diverged": stop < math.inf, "last_step": last, "evaluations": int((steps > 0).sum())}
        record["finished"] = not record["diverged"] and len(steps) > 0 and last >= budget
        records.append({**owner, **record, **transfer_metrics(steps, scores, budget)})
    columns = ["method", "dataset", "seed", "run", "diverged", "finished", "last_step", "evaluations", *METRICS]
    frame = pd.DataFrame(records, columns=columns)
    frame.loc[frame["diverged"], "final"] = math.nan
    return frame.sort_values(["dataset", "method", "seed"]).reset_index(drop=True)


def score_range(study: Results, datasets: Iterable[str]) -> tuple[float, float]:
    """Return the ends of the scale on some tasks: 0 and 100, or what any evaluation there reached beyond them.

    An evaluation of any run of the study on the tasks' environments counts.
    """
    reached, wanted = _reached(study), {environment(dataset) for dataset in datasets}
    values = [value for name in wanted for value in reached.get(name, ())]
    return min([0.0, *values]), max([100.0, *values])


@lru_cache(maxsize=16)
def _reached(study: Results) -> dict[str, tuple[float, float]]:
    """Return the lowest and the highest evaluation on every environment."""
    scores = pd.concat([study.select(SCORE, "offline"), study.select(SCORE)])
    scores = scores[np.isfinite(scores["value"])]
    ends = scores.groupby("dataset")["value"].agg(["min", "max"]).groupby(environment).agg({"min": "min", "max": "max"})
    return {str(name): (float(low), float(high)) for name, low, high in ends.itertuples()}


def problems(runs: pd.DataFrame, budget: int) -> list[str]:
    """Name every run short of the budget, in words: `uniform self:pendulum-low seed 3 diverged after step 2000`."""
    words = []
    for run in runs[~runs["finished"]].to_dict("records"):
        state = "diverged after step" if run["diverged"] else f"unfinished, last of {budget} steps evaluated:"
        words.append(f"{run['method']} {run['dataset']} seed {run['seed']} {state} {run['last_step']}")
    return words
