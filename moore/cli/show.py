"""`moore study show`: what a study consists of, and what it would cost here."""

from __future__ import annotations

from collections import Counter

import torch
from rich.console import Console
from rich.table import Table

from moore.base.machine import threads
from moore.studies.cost import study_costs
from moore.studies.identity import dataset_label, offline_run_id
from moore.studies.memory import cohort_memory
from moore.studies.study import Study


def show(study: Study, workers: int, device: str) -> None:
    """Print the cohorts of a study, its offline stages and its cost."""
    torch.set_num_threads(int(threads(device, workers)["OMP_NUM_THREADS"]))  # like the processes that train
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(box=None, pad_edge=False)
    for column in ("cohort", "methods", "runs", "offline stages", "offline", "online", "checkpoint", "memory", "a run"):
        table.add_column(column, justify="left" if column in ("cohort", "methods") else "right")
    total, largest, most = 0.0, 0, 0
    for cost in study_costs(study.cohorts(), device):
        memory = cohort_memory(cost.runs, device)
        offline, online = cost.estimate.seconds("offline"), cost.estimate.seconds("online")
        total, most = total + offline + online, max(most, memory.total)
        largest = max(largest, cost.estimate.checkpoint)
        methods = list(dict.fromkeys(run.method for run in cost.runs))
        table.add_row(
            dataset_label(cost.runs[0]),
            ", ".join(methods) if len(methods) < 5 else f"{len(methods)} methods",
            str(len(cost.runs)),
            f"{cost.stages} shared" if cost.shared else str(cost.stages),
            "" if cost.shared or not cost.stages else duration(offline),
            duration(online),
            mebibytes(cost.estimate.checkpoint),
            mebibytes(memory.total),
            mebibytes(max(memory.runs)),
        )
    uses = Counter(offline_run_id(run) for run in study.runs if run.dataset is not None and run.offline.updates)
    methods = list(dict.fromkeys(run.method for run in study.runs))
    console.print(table)
    lines = [
        f"{study.name}: {len(study.runs)} runs of {len(methods)} methods ({', '.join(methods)})",
        f"{len(study.cohorts())} cohorts, one process each; {len(uses)} offline stages for {uses.total()} runs",
        f"about {duration(total)} of one process on {device}, {duration(total / workers)} with "
        f"{workers} at once; largest checkpoint {mebibytes(largest)}",
        f"memory of one process: at most {mebibytes(most)}; of each cohort the column `memory`, and what each of its "
        "runs adds to what they share (program and datasets)",
        "Timed for moments with these shapes on this machine as it is now; the ensemble counts as trained to its cap.",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def mebibytes(count: int) -> str:
    """Bytes as `1,234 MiB`."""
    return f"{count / 2**20:,.0f} MiB"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h` or `5.2 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
