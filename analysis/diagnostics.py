"""Figures of what the sampling and the penalty did: the online share beside its closed form, and the uncertainty."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import captions
from analysis.curves import X_LABEL, draw_offline
from analysis.figures import STYLE, Array, finish, grid, mean_curve, robust_limits, switch_axis
from analysis.methods import REFERENCES, looks, ordered
from analysis.rows import Study, select
from analysis.settings import values
from analysis.transfer import summarise

SHARES = {"sampling/model_batches_online_share": "-", "sampling/start_states_online_share": ":"}  # metric -> line style
PENALTY = "penalty/mean"


def closed_form(epochs: Array, decay_rate: float, epoch_steps: int, offline_size: int) -> Array:
    """Online share of a prioritised draw in epoch t = `epochs` [T]: α S t² / (α S t² + N_off), with |D_on| = S t."""
    weight = decay_rate * epoch_steps * epochs**2
    return np.asarray(weight / (weight + offline_size))


def schedule(study: Study, dataset: str) -> tuple[float, int, int] | None:
    """(α, S, N_off) from the manifest, or None if it does not state all three."""
    decay_rate, epoch_steps = (
        (values(study, study.main, f"{section}.{key}") or [study.setting(key)])[0]
        for section, key in (("sampling", "decay_rate"), ("online", "epoch_steps"))
    )
    described = study.manifest.get("datasets", {})
    entry = described.get(dataset, {}) if isinstance(described, Mapping) else {}
    size = entry.get("transitions") if isinstance(entry, Mapping) else study.setting("dataset_transitions")
    if not all(isinstance(value, (int, float)) and value > 0 for value in (decay_rate, epoch_steps, size)):
        return None
    return float(decay_rate), int(epoch_steps), int(size or 0)


def online_share(study: Study) -> tuple[Figure, str] | None:
    """Share of online transitions among the sampled ones, per dataset; None for a study that did not log it."""
    rows = pd.concat([_of_strategies(study, metric) for metric in SHARES])
    if rows.empty:
        return None
    drawn_as, shown = looks(study.methods), ordered(rows["method"])
    figure, axes = grid(study.datasets)
    known: list[str] = []
    with mpl.rc_context(STYLE):
        for axis, dataset in zip(axes, study.datasets, strict=True):
            for method in shown:
                for metric, style in SHARES.items():
                    drawn = (rows["method"] == method) & (rows["dataset"] == dataset) & (rows["metric"] == metric)
                    if drawn.any():
                        curve = mean_curve(rows[drawn], "env_steps")
                        labelled = {line.get_label() for line in axis.get_lines()}  # once, by the first line it has
                        label = None if method in labelled else method
                        axis.plot(curve.x, curve.mean, style, color=drawn_as[method].colour, label=label)
            constants = schedule(study, dataset)
            if constants and study.main in shown:
                known.append(dataset)
                epochs = np.arange(1, study.online_steps // constants[1] + 1, dtype=float)
                axis.plot(
                    epochs * constants[1], closed_form(epochs, *constants), "k--", linewidth=1.0, label="closed form"
                )
            switch_axis(axis, study.online_steps, 0)
            axis.set_ylim(-0.03, 1.03)
    finish(figure, axes, "environment steps since the switch", "online share of draws")
    missing = [name for name in study.datasets if name not in known] if study.main in shown else []
    return figure, captions.online_share(study, known, missing)


def penalty(study: Study) -> tuple[Figure, str] | None:
    """Mean uncertainty over both stages, with the 20-80 % band of one method; None for a study that did not log it."""
    rows = _of_strategies(study, PENALTY)
    if rows.empty:
        return None
    drawn_as, shown = looks(study.methods), ordered(rows["method"])
    banded = study.main if study.main in shown else shown[0]
    figure, axes = grid(study.datasets)
    with mpl.rc_context(STYLE):
        for axis, dataset in zip(axes, study.datasets, strict=True):
            updates, means = draw_offline(axis, study, dataset, PENALTY, drawn_as)
            for method in shown:
                mine = rows[(rows["method"] == method) & (rows["dataset"] == dataset)]
                if mine.empty:
                    continue
                curve = mean_curve(mine, "env_steps")
                colour, line = drawn_as[method]
                axis.plot(curve.x, curve.mean, line, color=colour, label=method)
                means.append(curve.mean)
            edges = [_quantile(study, dataset, banded, metric) for metric in ("penalty/q20", "penalty/q80")]
            if all(len(edge) for edge in edges):
                low, high = edges[0].align(edges[1], join="inner")
                axis.fill_between(low.index, low, high, color=drawn_as[banded].colour, alpha=0.18, linewidth=0)
                means += [low.to_numpy(float), high.to_numpy(float)]
            switch_axis(axis, study.online_steps, updates)
            robust_limits(axis, means, [])
    finish(figure, axes, X_LABEL, "uncertainty u")
    return figure, captions.penalty(study, banded, PENALTY)


def _of_strategies(study: Study, metric: str) -> pd.DataFrame:
    """Online rows of one metric of the runs that finished, without those from scratch: they have nothing to mix."""
    runs = summarise(study)
    rows = select(study.rows, metric, "online")
    return rows[~rows["method"].isin(REFERENCES) & rows["run"].isin(runs.loc[runs["finished"], "run"])]


def _quantile(study: Study, dataset: str, method: str, metric: str) -> pd.Series[float]:
    rows = _of_strategies(study, metric)
    curve = mean_curve(rows[(rows["method"] == method) & (rows["dataset"] == dataset)], "env_steps")
    return pd.Series(curve.mean, index=curve.x)
