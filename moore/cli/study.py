"""The commands `moore study ...`: what is typed; what they do is in moore/cli and slurm/."""

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import tyro

from moore.base.errors import UserError
from moore.cli.options import (
    Root,
    ScaleName,
    StudyName,
    check_device,
    check_writable,
    find_study,
    number_of_workers,
    trained_study,
)

NO_LIMIT = "365-00:00:00"  # time of a profile that no job sees
RunIds = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="", help="ids of runs")
]
Json = Annotated[bool, tyro.conf.arg(help="one JSON object instead")]


def study_show(study: StudyName, scale: ScaleName = "mini", workers: int = 0, device: str = "cpu") -> None:
    """Print a study's runs, the units they pack into, shared offline stages and what it would cost on this machine.

    Args:
        workers: processes that share the work; 0 is one for each core, or one for a GPU.
        device: torch device that is timed.
    """
    from moore.cli.show import show

    check_device(device)
    show(find_study(study, scale), number_of_workers(workers, device), device)


def study_submit(
    study: StudyName,
    scale: ScaleName = "mini",
    profile: str | None = None,
    root: Root = Path("runs"),
    local: bool = False,
    workers: int = 0,
    dry_run: bool = False,
) -> None:
    """Submit what is left of a study to SLURM: all runs but those done, in a live task, or failed too often.

    Given again, it submits only what is missing. With --local it is trained in processes of this machine.

    Args:
        profile: a file in slurm/profiles/, by name or path.
        local: no SLURM; a profile is not needed then.
        workers: with --local and no profile, processes with one thread each; 0 is the number of cores.
        dry_run: print runs, units, arrays, scripts and SLURM's verdict; write and submit nothing.
    """
    from moore.base.strict import load_yaml
    from moore.run.stop import StopRequest
    from moore.studies.study import find_yaml
    from slurm.profile import PROFILES, Profile
    from slurm.submit import run_locally, submit

    settings = Profile(time=NO_LIMIT, cpus=number_of_workers(workers))
    loaded = find_study(study, scale)
    if profile is not None:
        settings = load_yaml(find_yaml(profile, PROFILES), Profile)
    elif not local:
        raise UserError("--profile: missing; accepted: a file in slurm/profiles/, by name or path, or --local")
    if local:
        with StopRequest().listening() as stop:
            run_locally(loaded, root, settings, dry_run, stop)
    else:
        submit(loaded, root, settings, {"study": study, "scale": scale, "profile": str(profile)}, dry_run)


def study_train(
    study: StudyName,
    pack: Path,
    minutes: Annotated[float, tyro.conf.arg(help="after which units stop at a checkpoint")],
    scale: ScaleName = "mini",
    device: str = "cpu",
    root: Root = Path("runs"),
    workers: int = 0,
) -> int | None:
    """Train what fits into some minutes, as on a machine lent for a while, and pack the finished runs into one file.

    Exit code 75: the time was up; given again, it goes on from its checkpoints. `moore study import` reads the file.

    Args:
        pack: the file, .tgz.
        device: torch device, cpu or cuda; on a GPU the runs of all datasets of an environment are one unit.
        workers: processes; 0 is one for each core, or one for a GPU.
    """
    from moore.base.machine import threads
    from moore.run import packed
    from moore.run.local import run_study
    from moore.run.stop import STOPPED, Stopped, StopRequest

    if not 0 < 60 * minutes <= threading.TIMEOUT_MAX:
        raise UserError(f"--minutes: {minutes} is not accepted; expected more than 0, and a finite number")
    check_device(device)
    check_writable("--pack", pack.parent)
    loaded, count = find_study(study, scale), number_of_workers(workers, device)
    with StopRequest().listening() as stop:
        clock = threading.Timer(60 * minutes, stop.tell, [signal.SIGUSR1])
        clock.daemon = True  # an error ends the command, not the clock
        clock.start()
        try:
            with suppress(Stopped):  # what is left says so
                run_study(loaded, root, [threads(device, count)] * count, device, stop)
        finally:
            clock.cancel()
            done = packed.pack(loaded, root, pack)
            print(f"{pack}: {done} of {len(loaded.runs)} runs are finished")
    return STOPPED if done < len(loaded.runs) else None


def study_import(
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="what `moore study train --pack` wrote")],
    root: Root = Path("runs"),
) -> None:
    """Put finished runs that another machine has packed below root, where `moore study collect` finds them."""
    from moore.run import packed

    for name, (came, there) in packed.unpack(file, root).items():
        print(f"{name}: {came} runs and offline stages imported, {there} were there before")


def study_collect(
    study: StudyName,
    scale: ScaleName = "mini",
    root: Root = Path("runs"),
    out: Path = Path("build/results"),
    figures: Path = Path("build"),
    partial: bool = False,
) -> None:
    """Write a study's finished rows, tables and curves, and print the table, as `moore reproduce` does at its end.

    Args:
        out: folder that receives <study>/rows.parquet and manifest.json.
        figures: folder that receives the tables and figures, in <study>/.
        partial: a table of the finished runs, although others are missing.
    """
    from moore.cli.report import write_report, write_rows

    folder = write_rows(trained_study(study, scale, root), (study, scale), root, out, partial)
    write_report(folder, figures)


def study_publish(study: StudyName, scale: ScaleName = "mini", root: Root = Path("runs")) -> None:
    """Copy the rows of a study whose runs are finished to analysis/results, which is in git."""
    from moore.cli.report import publish

    publish(trained_study(study, scale, root), (study, scale), root)


def study_status(
    study: StudyName,
    scale: ScaleName = "mini",
    root: Root = Path("runs"),
    json: Json = False,
    watch: bool = False,
) -> None:
    """Print how many runs of a study are done, running, waiting or failed, and a line for each that is not finished.

    Args:
        watch: look again every 30 seconds, until all runs are finished or Ctrl-C.
    """
    from slurm.status import status

    status(find_study(study, scale), root, json, watch)


def study_failures(study: StudyName, scale: ScaleName = "mini", root: Root = Path("runs"), json: Json = False) -> None:
    """Print how each unit of a study has failed: exit code, node, last log lines, where config and log are."""
    from slurm.actions import failures

    failures(trained_study(study, scale, root), root, json)


def study_retry(study: StudyName, runs: RunIds = (), scale: ScaleName = "mini", root: Root = Path("runs")) -> None:
    """Let failed runs, by default all, be tried again by the next submit; their checkpoints stay."""
    from slurm.actions import retry

    retry(trained_study(study, scale, root), root, runs)


def study_cancel(study: StudyName, runs: RunIds = (), scale: ScaleName = "mini", root: Root = Path("runs")) -> None:
    """Cancel the SLURM tasks of runs of a study, by default of all; says which other runs stop with them."""
    from slurm.actions import cancel

    cancel(trained_study(study, scale, root), root, runs)


COMMANDS: dict[str, Callable[..., int | None]] = {
    command.__name__.removeprefix("study_"): command
    for command in (
        *(study_show, study_submit, study_status, study_failures, study_retry, study_cancel),
        *(study_train, study_import, study_collect, study_publish),
    )
}
