"""What runs cost, and their scores at equal arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis.io.rows import Results, environment
from analysis.io.settings import UTD, values
from analysis.stats.transfer import curves, summarise


def costs(study: Results) -> pd.DataFrame:
    """Return method, dataset, and TFLOP and CPU seconds of both stages of `summarise`'s runs; NaN where not known.

    Columns of numbers: `offline tflop`, `online tflop`, `offline seconds`, `online seconds`.
    """
    runs = summarise(study)
    spent, stages = runs[["method", "dataset"]].copy(), runs["run"].map(study.manifest.get("offline_runs", {}))
    for unit, key in (("tflop", "run_tflop"), ("seconds", "run_cpu_seconds")):
        known = study.manifest.get(key, {})
        spent[f"offline {unit}"] = stages.map(known).fillna(0.0)
        spent[f"online {unit}"] = runs["run"].map(known)
    return spent


def scores_at_equal_arithmetic(study: Results) -> pd.Series[float]:
    """Return each run's score when it has spent the online arithmetic of the cheapest method on its environment.

    A run's arithmetic grows with its environment steps; between two evaluations the score is interpolated. Methods that
    learn nothing online are not the cheapest. NaN for unfinished runs.
    """
    runs, spent, scores = summarise(study), costs(study), curves(study)
    place, tflop = spent["dataset"].map(environment), spent["online tflop"]
    learns = spent["method"].isin([name for name in study.methods if values(study, name, UTD) != [0]])
    least = tflop[learns].groupby([place, spent["method"]]).mean().groupby(level=0).min()
    share = (place.map(least) / tflop).clip(upper=1.0)
    at = [
        float(np.interp(part * study.online_steps, *scores[run].T)) if finished else math.nan
        for run, part, finished in zip(runs["run"], share, runs["finished"], strict=True)
    ]
    return pd.Series(at, runs["run"])
