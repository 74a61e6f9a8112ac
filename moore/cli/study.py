"""The commands `moore study ...`: what is typed; what they do is in moore/cli/show.py and slurm/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from moore.cli.options import check_device, find_study, number_of_workers, trained_study

RunIds = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="")]


def study_show(study: tyro.conf.Positional[str], scale: str = "mini", workers: int = 0, device: str = "cpu") -> None:
    """Print a study's runs, the cohorts they pack into, shared offline stages and what it would cost on this machine.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        workers: processes that share the work; 0 is one for each core, or one for a GPU.
        device: torch device that is timed.
    """
    from moore.cli.show import show

    check_device(device)
    show(find_study(study, scale), number_of_workers(workers, device), device)


def study_submit(
    study: tyro.conf.Positional[str],
    scale: str = "mini",
    profile: str | None = None,
    root: Path | None = None,
    local: bool = False,
    workers: int = 0,
    dry_run: bool = False,
) -> None:
    """Submit what is left of a study to SLURM: all runs but those done, in a live task, or failed too often.

    Given again, it submits only what is missing. With --local the same plan is trained in processes of this machine.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        profile: a file in slurm/profiles/, by name or path.
        root: folder of datasets, checkpoints and rows, which all nodes see; by default the profile's scratch, or runs.
        local: no SLURM; a profile is not needed then.
        workers: with --local and no profile, processes with one thread each; 0 is the number of cores.
        dry_run: print runs, cohorts, arrays, scripts and SLURM's verdict; write and submit nothing.
    """
    from slurm import commands

    count = number_of_workers(workers)
    commands.study_submit(find_study(study, scale), (study, scale), profile, root, local, count, dry_run)


def study_collect(
    study: tyro.conf.Positional[str],
    scale: str = "mini",
    root: Path = Path("runs"),
    out: Path = Path("analysis/results"),
    figures: Path = Path("analysis"),
    partial: bool = False,
) -> None:
    """Write a study's finished rows, tables and curves, and print the table, as `moore reproduce` does at its end.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
        out: folder that receives <study>/rows.parquet and manifest.json.
        figures: folder that receives tables/ and figures/.
        partial: a table of the finished runs, although others are missing.
    """
    from slurm import commands

    commands.study_collect(trained_study(study, scale, root), (study, scale), root, out, figures, partial)


def study_status(
    study: tyro.conf.Positional[str],
    scale: str = "mini",
    root: Path = Path("runs"),
    json: bool = False,
    watch: bool = False,
    every: float = 30.0,
) -> None:
    """Print how many runs of a study are done, running, waiting or failed, and a line for each that is not finished.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
        json: one JSON object instead.
        watch: look again and again, until all runs are finished or Ctrl-C.
        every: seconds between two looks, 5 or more.
    """
    from slurm.status import status

    status(find_study(study, scale), root, json, every if watch else None)


def study_failures(
    study: tyro.conf.Positional[str], scale: str = "mini", root: Path = Path("runs"), json: bool = False
) -> None:
    """Print how each cohort of a study has failed: exit code, node, last log lines, where config and log are.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
        json: one JSON object instead.
    """
    from slurm.actions import failures

    failures(trained_study(study, scale, root), root, json)


def study_retry(
    study: tyro.conf.Positional[str], runs: RunIds = (), scale: str = "mini", root: Path = Path("runs")
) -> None:
    """Let failed runs be tried again by the next submit; their checkpoints stay.

    Args:
        study: a file in ablations/, by name or path.
        runs: ids of failed runs; by default all.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
    """
    from slurm.actions import retry

    retry(trained_study(study, scale, root), root, runs)


def study_cancel(
    study: tyro.conf.Positional[str], runs: RunIds = (), scale: str = "mini", root: Path = Path("runs")
) -> None:
    """Cancel the SLURM tasks that train or would train runs of a study; says which others stop with them.

    Args:
        study: a file in ablations/, by name or path.
        runs: ids of runs; by default all.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
    """
    from slurm.actions import cancel

    cancel(trained_study(study, scale, root), root, runs)


def study_logs(
    study: tyro.conf.Positional[str],
    run: tyro.conf.Positional[str],
    scale: str = "mini",
    root: Path = Path("runs"),
    lines: int = 40,
) -> None:
    """Print the ends of a run's logs: of the cohorts that have trained it, and of the task that had it last.

    Args:
        study: a file in ablations/, by name or path.
        run: id of a run, as `moore study status` has it.
        scale: a file in ablations/scales/, by name or path.
        root: folder that the study was submitted with.
        lines: of each log.
    """
    from slurm.actions import logs

    logs(trained_study(study, scale, root), root, run, lines)


COMMANDS: dict[str, Callable[..., int | None]] = {
    "show": study_show,
    "submit": study_submit,
    "status": study_status,
    "failures": study_failures,
    "retry": study_retry,
    "cancel": study_cancel,
    "logs": study_logs,
    "collect": study_collect,
}
