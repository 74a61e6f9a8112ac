"""`moore study show`: what a study consists of, and what it would cost here."""

from __future__ import annotations

from collections import Counter

import torch
from rich.console import Console
from rich.table import Table

from moore.checkpoint import offline_run_id
from moore.cost import estimate
from moore.results import dataset_label
from moore.study import Study


def show(study: Study, workers: int, device: str) -> None:
    """Print the cohorts of a study, its offline stages and its cost."""
    torch.set_num_threads(1)  # like the processes that train
    console = Console(width=None if Console().is_terminal else 140)
    table = Table(box=None, pad_edge=False)
    for column in ("cohort", "methods", "runs", "offline stages", "offline", "online", "checkpoint"):
        table.add_column(column, justify="left" if column in ("cohort", "methods") else "right")
    total, largest, seen = 0.0, 0, set[str]()
    for runs in study.cohorts():
        stages = {offline_run_id(run) for run in runs if run.dataset is not None and run.offline.updates}
        cost = estimate(runs, device)
        shared = bool(stages) and stages <= seen  # trained once, by the cohort that comes first
        offline = 0.0 if shared else cost.offline
        seen |= stages
        total, largest = total + offline + cost.online, max(largest, cost.checkpoint)
        methods = list(dict.fromkeys(run.method for run in runs))
        table.add_row(
            dataset_label(runs[0]),
            ", ".join(methods) if len(methods) < 5 else f"{len(methods)} methods",
            str(len(runs)),
            f"{len(stages)} shared" if shared else str(len(stages)),
            "" if shared or not stages else duration(offline),
            duration(cost.online),
            f"{cost.checkpoint / 2**20:,.0f} MiB",
        )
    uses = Counter(offline_run_id(run) for run in study.runs if run.dataset is not None and run.offline.updates)
    methods = list(dict.fromkeys(run.method for run in study.runs))
    console.print(table)
    lines = [
        f"{study.name}: {len(study.runs)} runs of {len(methods)} methods ({', '.join(methods)})",
        f"{len(study.cohorts())} cohorts, one process each; {len(uses)} offline stages for {uses.total()} runs",
        f"about {duration(total)} of one process with one thread on {device}, {duration(total / workers)} with "
        f"{workers} at once; largest checkpoint {largest / 2**20:,.0f} MiB",
        "Timed for moments with these shapes on this machine as it is now; the ensemble counts as trained to its cap.",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h` or `5.2 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
