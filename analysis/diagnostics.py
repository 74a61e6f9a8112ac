"""Figures of what the sampling and the penalty did: the online share beside its closed form, and the uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import figure_captions
from analysis.curves import X_LABEL, draw_offline, offline_stages
from analysis.drawn import drawn_as
from analysis.figures import STYLE, Array, by_cell, finish, mean_curve, offline_x, robust_limits, switch_axis, task_grid
from analysis.methods import OFFLINE_COLOUR, PRIORITIZED
from analysis.rows import Study
from analysis.settings import ABSENT, lookup, values
from analysis.stages import Stage
from analysis.thirds import logged

SHARES = {"sampling/model_batches_online_share": "-", "sampling/start_states_online_share": ":"}  # metric -> line style
CONSUMERS = ("sampling.model_batches", "sampling.start_states")
PENALTY, EDGES = "penalty/mean", ("penalty/q20", "penalty/q80")
CLOSED = "closed form"


@dataclass(frozen=True)
class Schedule:
    """The constants of MOORe's prioritised draw: α, PER's exponent, S, φ (both in steps) and N_off."""

    decay_rate: float
    exponent: float
    epoch_steps: int
    retrain_interval: int
    offline_size: int

    def curve(self, online_steps: int) -> tuple[Array, Array]:
        """Steps at the end of every epoch [T] and the expected online share of its draws [T].

        The ensemble is trained and rollouts start every φ steps, so an epoch's share is a mean over its retrainings.
        """
        ends = np.arange(self.epoch_steps, online_steps + 1, self.epoch_steps)
        within = np.arange(self.retrain_interval, self.epoch_steps + 1, self.retrain_interval)
        steps = ends[:, None] - self.epoch_steps + within
        epochs = np.arange(1, len(ends) + 1)[:, None]
        share = closed_form(steps, epochs, self.decay_rate, self.offline_size, self.exponent)
        return ends.astype(float), share.mean(axis=1)


def closed_form(
    steps: npt.ArrayLike, epochs: npt.ArrayLike, decay_rate: float, offline_size: int, exponent: float = 1.0
) -> Array:
    """Online share of a prioritised draw after n = `steps` online steps in epoch t = `epochs` (from 1), broadcast.

    n / (n + N_off f^e) with the paper's priority f = 1 / (α t) of offline transitions (eq. 3 and 4) and PER's exponent
    e; at the end of an epoch, where n = S t, and e = 1 it is α S t² / (α S t² + N_off).
    """
    n, priority = np.asarray(steps, dtype=float), 1 / (decay_rate * np.asarray(epochs, dtype=float))
    return np.asarray(n / (n + offline_size * priority**exponent))


def schedule(study: Study, method: str, dataset: str) -> Schedule | None:
    """The schedule of a method that draws by the paper's priorities; None where the manifest does not state it all.

    α, S and N_off are needed; without φ the share is that of the epoch's end.
    """
    keys = ("sampling.decay_rate", "sampling.priority_exponent", "online.epoch_steps", "online.retrain_interval")
    decay_rate, exponent, epoch_steps, interval = (_setting(study, method, dataset, key) for key in keys)
    described = study.manifest.get("datasets", {})
    entry = described.get(dataset, {}) if isinstance(described, Mapping) else {}
    size = entry.get("transitions") if isinstance(entry, Mapping) else study.setting("dataset_transitions")
    if not all(isinstance(value, (int, float)) and value > 0 for value in (decay_rate, epoch_steps, size)):
        return None
    every = min(int(interval or epoch_steps), int(epoch_steps))
    return Schedule(decay_rate, exponent or 1.0, int(epoch_steps), every, int(size or 0))


def online_share(study: Study) -> tuple[Figure, str] | None:
    """Share of online transitions among the sampled ones, per dataset; None for a study that did not log it."""
    shares = {metric: by_cell(logged(study, [metric])) for metric in SHARES}
    shown = {method for cells in shares.values() for method, _ in cells}
    if not shown:
        return None
    drawn = {method: look for method, look in drawn_as(study).items() if method in shown}
    figure, axes = task_grid(study)
    lacking = []
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            for method, look in drawn.items():
                label: str | None = look.label  # once, by the first line
                for metric, style in SHARES.items():
                    if (method, dataset) in shares[metric]:
                        curve = mean_curve(shares[metric][method, dataset], "env_steps")
                        axis.plot(curve.x, curve.mean, style, color=look.colour, label=label)
                        label = None
                if label is None and _is_prioritized(study, method):
                    constants = schedule(study, method, dataset)
                    if constants:
                        axis.plot(*constants.curve(study.online_steps), "k--", linewidth=0.8, label=CLOSED)
                    else:
                        lacking.append(f"{method} on {dataset}")
            switch_axis(axis, study.online_steps, 0)
            axis.set_ylim(-0.03, 1.03)
    order = [*(look.label for look in drawn.values()), CLOSED]
    finish(figure, axes, "environment steps since the switch", "online share of draws", order)
    closed = any(line.get_label() == CLOSED for axis in axes.values() for line in axis.get_lines())
    return figure, figure_captions.online_share(study, closed, lacking)


def penalty(study: Study) -> tuple[Figure, str] | None:
    """Mean uncertainty over both stages, with the 20-80 % band of one method; None for a study that did not log it."""
    means = by_cell(logged(study, [PENALTY]))
    shown = {method for method, _ in means}
    if not shown:
        return None
    drawn = {method: look for method, look in drawn_as(study).items() if method in shown}
    banded = study.main if study.main in drawn else next(iter(drawn))
    before = offline_stages(study, PENALTY)
    edges = [(by_cell(logged(study, [metric])), offline_stages(study, metric)) for metric in EDGES]
    figure, axes = task_grid(study)
    with mpl.rc_context(STYLE):
        for dataset, axis in axes.items():
            updates = draw_offline(axis, before, dataset, study.online_steps, drawn_as(study), band=False)
            for method, look in drawn.items():
                if (method, dataset) in means:
                    curve = mean_curve(means[method, dataset], "env_steps")
                    axis.plot(curve.x, curve.mean, look.line, color=look.colour, label=look.label)
            online = [cells.get((banded, dataset), study.rows.iloc[:0]) for cells, _ in edges]
            areas, bands = _band(axis, [_series(rows, "env_steps") for rows in online], drawn[banded].colour), []
            offline = [_stage_of(banded, stages[dataset]) for _, stages in edges]
            if updates and all(offline):
                late = updates - max(stage.updates for stage in offline if stage)
                own = [_series(stage.rows, "updates") for stage in offline if stage]
                for series in own:
                    series.index = pd.Index(offline_x(series.index.to_numpy(float) + late, updates, study.online_steps))
                bands = _band(axis, own, OFFLINE_COLOUR)
            robust_limits(axis, bands, areas)
            switch_axis(axis, study.online_steps, updates)
    finish(figure, axes, X_LABEL, "uncertainty u", [look.label for look in drawn.values()])
    return figure, figure_captions.penalty(study, banded, PENALTY)


def _setting(study: Study, method: str, dataset: str, key: str) -> Any:
    """A method's value of a dotted key on one dataset; without configs the study's own for its reference."""
    own = [lookup(config, key) for config in study.configs.get(method, []) if lookup(config, "dataset") == dataset]
    known = [value for value in own if value is not ABSENT]
    if own or method != study.main:
        return known[0] if known else None
    return study.setting(key.rsplit(".", 1)[-1])


def _is_prioritized(study: Study, method: str) -> bool:
    """Whether the model's batches or the start states are drawn by the paper's priorities, as MOORe's are."""
    strategies = {name for key in CONSUMERS for name in values(study, method, key)}
    return bool(strategies & {PRIORITIZED, "return_prioritized"}) or (not strategies and method == study.main)


def _stage_of(method: str, stages: list[Stage]) -> Stage | None:
    """The offline stage that a method starts from."""
    return next((stage for stage in stages if method in stage.methods), None)


def _series(rows: pd.DataFrame, x: str) -> pd.Series[float]:
    curve = mean_curve(rows, x)
    return pd.Series(curve.mean, index=curve.x)


def _band(axis: Axes, edges: Sequence[pd.Series[float]], colour: Any) -> list[Array]:
    """The area between two lines over the points that both have; returns its edges."""
    low, high = edges[0].align(edges[1], join="inner")
    axis.fill_between(low.index, low, high, color=colour, alpha=0.18, linewidth=0)
    return [np.asarray(low, dtype=float), np.asarray(high, dtype=float)]
