"""Which offline stage the online runs of a study start from: one that all share, or one of each method's own."""

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from analysis.io.methods import ordered
from analysis.io.rows import Results
from analysis.io.settings import UPDATES, lookup


@dataclass(frozen=True)
class Stage:
    """An offline stage on one dataset, a run for each seed; `rows` are those of one metric."""

    methods: tuple[str, ...]  # that start from it
    updates: int  # its planned length, in gradient updates
    rows: pd.DataFrame


@lru_cache(maxsize=16)
def started_by(study: Results) -> dict[str, list[str]]:
    """Map every offline run to the methods whose online runs start from it, in their order."""
    online = study.owners[study.owners["phase"] == "online"]
    before = online["run"].map(study.manifest.get("offline_runs", {}))  # runs from scratch have no stage and drop out
    return {str(stage): ordered(methods) for stage, methods in online.groupby(before)["method"]}


@lru_cache(maxsize=16)
def stages(study: Results, metric: str) -> dict[str, list[Stage]]:
    """Find every dataset's offline stages that have updates and logged `metric`, ordered by their first methods.

    Methods that start from the same run of any seed share a stage.
    """
    rows, configs, starts = study.select(metric, "offline"), study.manifest.get("configs", {}), started_by(study)
    offline = study.owners[study.owners["phase"] == "offline"].set_index("run")["dataset"]
    first = ordered(method for methods in starts.values() for method in methods).index
    groups: dict[str, list[tuple[set[str], list[str]]]] = {dataset: [] for dataset in study.datasets}
    for run, methods in sorted(starts.items(), key=lambda item: first(item[1][0])):
        here = groups.get(str(offline.get(run)), [])
        group = next((one for one in here if not one[0].isdisjoint(methods)), (set[str](), list[str]()))
        here += [] if group[0] else [group]
        group[0].update(methods)
        group[1].append(run)
    found: dict[str, list[Stage]] = {dataset: [] for dataset in groups}
    for dataset, names, runs in ((dataset, *group) for dataset, several in groups.items() for group in several):
        mine = rows[rows["run"].isin(runs)]
        planned = (lookup(configs.get(run), UPDATES) for run in runs)  # a run may have stopped early
        updates = max([0, *mine["updates"], *(count for count in planned if isinstance(count, int))])
        if updates and len(mine):
            found[dataset].append(Stage(tuple(ordered(names)), int(updates), mine))
    return found


def one_stage(study: Results, metric: str) -> bool:
    """Tell whether no dataset has more than one offline stage with this metric: methods then differ online only."""
    return all(len(several) <= 1 for several in stages(study, metric).values())


def offline_problems(study: Results) -> list[str]:
    """List offline stages that diverged, as `dataset seed`, with the methods that start from it unless all share it."""
    diverged, starts, words = study.select("diverged", "offline"), started_by(study), set()
    shared = len({tuple(methods) for methods in starts.values()}) <= 1
    for row in diverged[diverged["value"] > 0].to_dict("records"):
        methods = "" if shared else f" ({', '.join(starts.get(row['run'], [row['method']]))})"
        words.add(f"{row['dataset']} seed {row['seed']}{methods}")
    return sorted(words)
