"""`moore study show`: what a study consists of, and what it would cost here."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from moore.base.errors import UserError
from moore.base.machine import peak_bytes, threads
from moore.base.words import duration
from moore.run.display import last_end
from moore.run.folders import finished_runs
from moore.run.local import check_datasets
from moore.studies import estimate
from moore.studies.identity import dataset_label, offline_run_id
from moore.studies.study import Study


def dry(study: Study, root: Path, workers: int, device: str, folders: Sequence[Path]) -> None:
    """Print what `moore reproduce` would train, keep and write, and its cost; unfinished runs count as a whole."""
    done = finished_runs(study, root)
    left = replace(study, runs=[run for run in study.runs if run not in done])
    print(f"{len(done)} of {len(study.runs)} runs have their rows below {root / study.name} and are kept")
    print(f"written: {root / study.name}, {', '.join(map(str, folders))}")
    if left.runs:
        try:
            check_datasets(left)
        except UserError as error:  # its cost can be told all the same
            print(f"moore: warning: without --dry-run this stops at once: {error}", file=sys.stderr)
        print(f"{len(left.runs)} runs to train:")
        show(left, workers, device)


def show(study: Study, workers: int, device: str) -> None:
    """Print the units of a study, its offline stages and its cost, from a moment of each on this machine."""
    torch.set_num_threads(int(threads(device, workers)["OMP_NUM_THREADS"]))  # like the processes that train
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(box=None, pad_edge=False)
    for column in ("unit", "methods", "runs", "offline stages", "offline", "online"):
        table.add_column(column, justify="left" if column in ("unit", "methods") else "right")
    units = study.cohorts(device)
    seconds, paid = [], set[str]()
    for runs in units:
        stages = {offline_run_id(run) for run in runs if run.dataset is not None and run.offline.updates}
        costs = estimate.estimate(runs, device)
        offline, online = (sum(cost.total for cost in costs if cost.stage == stage) for stage in ("offline", "online"))
        offline = 0.0 if stages <= paid else offline  # the first unit that needs a stage pays it
        paid |= stages
        seconds.append(offline + online)
        methods = list(dict.fromkeys(run.method for run in runs))
        datasets = list(dict.fromkeys(map(dataset_label, runs)))
        table.add_row(
            datasets[0] if len(datasets) == 1 else f"{len(datasets)} datasets",
            ", ".join(methods) if len(methods) < 5 else f"{len(methods)} methods",
            str(len(runs)),
            f"{len(stages)} shared" if stages and not offline else str(len(stages)),
            duration(offline) if offline else "",
            duration(online),
        )
    memory = peak_bytes() if torch.device(device).type == "cpu" else torch.cuda.max_memory_allocated(device)
    uses = Counter(offline_run_id(run) for run in study.runs if run.dataset is not None and run.offline.updates)
    methods = list(dict.fromkeys(run.method for run in study.runs))
    console.print(table)
    end = last_end(sorted(seconds, reverse=True), workers)
    lines = [
        f"{study.name}: {len(study.runs)} runs of {len(methods)} methods ({', '.join(methods)})",
        f"{len(units)} units, one process each; {len(uses)} offline stages for {uses.total()} runs",
        f"about {duration(sum(seconds))} of one process on {device}, {duration(end)} with {workers} at once",
        "Timed for moments with these shapes on this machine as it is now; the ensemble counts as trained to its cap,",
        "updates as compiled only where they have been before.",
        f"Timing took {memory / 2**20:,.0f} MiB at most, with a few runs at once and small datasets.",
        "A unit that runs out of memory is halved.",
    ]
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
