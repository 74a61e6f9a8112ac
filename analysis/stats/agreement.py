"""Whether a study's scores are those that were published: each method on each task, over the seeds that both ran.

The rule, stated once. A cell is the *same* if every evaluation of every shared seed is the published number, bit for
bit. Otherwise its final scores are paired by seed: a two-sided t-test of a mean difference of 0, Holm-corrected over
all cells that are so tested (Holm 1979), at 5 % for the whole table. Training amplifies the last bit of a sum, so
another machine gives other runs of the same method: cells that *agree*. So does a mean difference below 0.05 points. A
test that finds nothing shows no equality: the largest difference and its interval are to be read beside it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.io.rows import Cells, Results, environment
from analysis.io.settings import WITH_MODEL
from analysis.stats.compare import cells
from analysis.stats.intervals import Interval, estimate, holm
from analysis.stats.transfer import curves, summarise
from moore.base.strict import dotted

SAME, AGREES, DIFFERS, UNTESTED, OTHER = "same", "agrees", "differs", "untested", "other settings"
SHOWN = 0.05  # score points; no table shows less
LEVEL = 0.05  # chance of one false `differs` or more in a table
# settings, or the beginnings of their keys, that no run without a model or a dataset reads
FOR_MODELS = ("dynamics.", "penalty.", "rollout.", "real_ratio", "online.retrain_interval", "online.rollout_length")
FOR_DATA = ("offline.", "keep_timeouts", "dataset_transitions")
Cell = tuple[str, str]  # dataset of the task, method


@dataclass(frozen=True)
class Agreement:
    """Published mean of the final scores, NaN without one, our mean minus it over shared seeds, and the word for it."""

    word: str
    published: float
    difference: Interval | None


def agreements(ours: Results, theirs: Results) -> dict[Cell, Agreement]:
    """Compare every cell that both studies have; methods with other settings are not compared, but named so."""
    runs = summarise(theirs)  # of several sources, maybe
    mine, published = cells(ours), Cells(runs.set_axis(runs["seed"].to_numpy()))
    curves_here, curves_there = curves(ours), curves(theirs)
    found: dict[Cell, Agreement] = {}
    chances: dict[Cell, float] = {}
    for cell in ((dataset, method) for dataset in ours.datasets for method in ours.methods):
        here, there = mine[cell], published[cell]
        if not len(here) or not len(there):
            continue
        mean = estimate([here["final"] - there["final"]])  # over the seeds that both have
        word = UNTESTED if _alike(ours, theirs, cell) else OTHER
        pairs = here.merge(there, on="seed")[["run_x", "run_y"]].itertuples(index=False)
        equal = [np.array_equal(curves_here[one], curves_there[other], equal_nan=True) for one, other in pairs]
        if word == UNTESTED and equal and all(equal):
            word = SAME
        elif word == UNTESTED and mean and mean.n > 1:
            above = mean.p_above(0.0)
            chances[cell] = 1.0 if abs(mean.mean) < SHOWN else 2 * min(above, 1 - above)
        found[cell] = Agreement(word, float(there["final"].mean()), mean.interval() if mean else None)
    for cell, chance in zip(chances, holm(list(chances.values())), strict=True):
        word = DIFFERS if chance <= LEVEL else AGREES
        found[cell] = Agreement(word, found[cell].published, found[cell].difference)
    return found


def _alike(ours: Results, theirs: Results, cell: Cell) -> bool:
    """Tell whether both ran a cell with the same value of every setting that such a run reads.

    One that a manifest does not name, as the code had no such setting yet, has the default of the other's code.
    """
    here, there = _configs(ours, cell), _configs(theirs, cell)
    for seed in here.keys() & there.keys():
        mine, other = here[seed], there[seed]
        algorithm = mine.get("algorithm", WITH_MODEL)
        plain = dotted({**theirs.manifest.get("defaults", {}), **ours.manifest.get("defaults", {})}.get(algorithm, {}))
        unread = FOR_DATA * (mine.get("dataset") is None) + FOR_MODELS * (algorithm != WITH_MODEL)
        for key in (key for key in mine.keys() | other.keys() if not key.startswith(unread)):
            if mine.get(key, plain.get(key)) != other.get(key, plain.get(key)):
                return False
    return True


def _configs(study: Results, cell: Cell) -> dict[int, dict[str, Any]]:
    """Seed -> settings of a run of the cell, by dotted key."""
    dataset, method = cell
    mine = [one for one in study.configs.get(method, []) if one.get("dataset") in (None, dataset)]
    return {int(one["seed"]): dotted(one) for one in mine if one.get("dataset") or one["env"] == environment(dataset)}
