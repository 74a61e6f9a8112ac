"""Which configuration of a method to keep: one rule for all methods, stated before anything was tuned."""

import pandas as pd

from analysis.io.rows import Results
from analysis.stats.transfer import problems, summarise
from moore.base.errors import UserError


def ranked(study: Results) -> pd.DataFrame:
    """Rank the configurations of a study that tunes one method; the first row is the one to keep.

    Columns: configuration, final and auc (means over seeds, then tasks), score, their mean, by which it is ranked, and
    `final <task>` for each task. A configuration that lacks a task, where it equals another one, or has a run that
    diverged has no score and comes last; of equal ones the first by name stays first. Raises UserError where a run is
    unfinished.
    """
    runs = summarise(study)
    unfinished = problems(runs[~runs["diverged"]], study.online_steps)
    if unfinished:
        raise UserError(f"{study.name}: {'; '.join(unfinished)}; accepted: a study all of whose runs are finished")
    mean = lambda values: values.mean(skipna=False)  # noqa: E731
    means = runs.groupby(["method", "dataset"])[["final", "auc"]].agg(mean)
    tasks = {metric: means[metric].unstack("dataset") for metric in ("final", "auc")}
    table = pd.DataFrame({metric: values.mean(axis=1, skipna=False) for metric, values in tasks.items()})
    table["score"] = table.mean(axis=1, skipna=False)
    table = table.join(tasks["final"].add_prefix("final "))
    table = table.sort_values("score", ascending=False, kind="stable", na_position="last")
    return table.rename_axis("configuration").reset_index()
