"""What one run did after the switch: final score and transfer metrics, defined here and nowhere else.

Notation: x_0 < x_1 < ... are the environment steps of a run's online evaluations, y_i the scores there (0-100
normalised), B the online budget. J_0 = y at x = 0. A metric is NaN wherever it is undefined, never a guess:

    j0             J_0; NaN without an evaluation at x = 0
    final          mean of the last five y with x > 0 (of all of them in a run with fewer); NaN for an unfinished run
    drop           J_0 - min{y : 0 < x <= B / 10}; negative if every early score is above J_0; NaN if the run ended
                   inside that window
    early_drop     J_0 - mean{y : 0 < x <= B / 10}; unlike `drop` it is not biased upwards by evaluation noise, so
                   claims use it
    worst_drop     J_0 - min{y : 0 < x <= B}; NaN for an unfinished run
    recovery_step  the first x after the lowest early point (the argmin in `drop`, the first one on ties) with y >= J_0;
                   0 if that point is not below J_0; NaN if the run never came back
    auc            (1 / b) * integral of y over 0 <= x <= b by trapezoids, b = the last evaluation at or before B: a
                   mean over *steps*, since evaluations are denser early; NaN for an unfinished run or without J_0
    regret         100 - auc
    steps_to_gain  the first x with y >= J_0 + 10; NaN if never
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.io.rows import SCORE, Results, select

LAST = 5  # evaluations in the headline score
EARLY = 0.1  # share of the budget that counts as the start of the online stage
GAIN = 10.0  # score points of `steps_to_gain`
METRICS = ("j0", "final", "drop", "early_drop", "worst_drop", "recovery_step", "auc", "regret", "steps_to_gain")
Array = npt.NDArray[np.float64]


def transfer_metrics(steps: Array, scores: Array, budget: float) -> dict[str, float]:
    """Compute all of `METRICS` for one run: `steps` [E] ascending, `scores` [E], `budget` = B in environment steps."""
    out = dict.fromkeys(METRICS, math.nan)
    online = steps > 0
    finished = bool(len(steps)) and steps[-1] >= budget and bool(online.any())
    if finished:
        out["final"] = float(scores[online][-LAST:].mean())
    if not len(steps) or steps[0] != 0:
        return out
    j0 = out["j0"] = float(scores[0])
    early = online & (steps <= EARLY * budget)
    if early.any() and steps[-1] >= EARLY * budget:
        lowest = int(np.flatnonzero(early)[np.argmin(scores[early])])
        out["drop"] = j0 - float(scores[lowest])
        out["early_drop"] = j0 - float(scores[early].mean())
        back = steps[lowest:][scores[lowest:] >= j0]
        out["recovery_step"] = 0.0 if scores[lowest] >= j0 else float(back[0]) if len(back) else math.nan
    if finished:
        inside = steps <= budget
        out["worst_drop"] = j0 - float(scores[online & inside].min())
        out["auc"] = float(np.trapezoid(scores[inside], steps[inside])) / float(steps[inside][-1])
        out["regret"] = 100.0 - out["auc"]
    gained = steps[online & (scores >= j0 + GAIN)]
    out["steps_to_gain"] = float(gained[0]) if len(gained) else math.nan
    return out


@lru_cache(maxsize=2)  # every table and figure of a study begins with it
def summarise(study: Results) -> pd.DataFrame:
    """Make one row per online run: its owner, diverged, finished, last_step, evaluations and `METRICS`.

    The frame is for reading: all callers get the same one.
    A run diverged if it has a positive `diverged` row or a non-finite score; its evaluations from that step on are not
    used. A run that neither diverged nor reached the budget is unfinished. Both stay in the frame, so that tables can
    say so.
    """
    stops = select(study.rows, "diverged", "online")
    stop_at = stops[stops["value"] > 0].groupby("run")["env_steps"].min()
    scored = select(study.rows, SCORE, "online").sort_values("env_steps")
    evaluations = {
        run: (rows["env_steps"].to_numpy(float), rows["value"].to_numpy(float)) for run, rows in scored.groupby("run")
    }
    budget, records = study.online_steps, []
    for owner in study.owners[study.owners["phase"] == "online"].drop(columns="phase").to_dict("records"):
        steps, scores = evaluations.get(owner["run"], (np.empty(0), np.empty(0)))
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


def problems(runs: pd.DataFrame, budget: int) -> list[str]:
    """Name every run short of the budget, in words: `uniform self:pendulum-low seed 3 diverged after step 2000`."""
    words = []
    for run in runs[~runs["finished"]].to_dict("records"):
        state = "diverged after step" if run["diverged"] else f"unfinished, last of {budget} steps evaluated:"
        words.append(f"{run['method']} {run['dataset']} seed {run['seed']} {state} {run['last_step']}")
    return words
