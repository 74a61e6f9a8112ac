"""The command `moore`. Bad input is one line on stderr and exit code 2; 75: told to stop, the same command goes on."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from moore.data import commands as data_commands
from moore.data.check import REPLAY_ROWS
from moore.data.load import DATA_DIR
from moore.errors import UserError
from moore.signals import STOPPED, Stopped, StopRequest
from moore.study import ABLATIONS_DIR, Study, find_yaml, load_study

DatasetIds = Annotated[
    tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ID [ID ...]", help_behavior_hint="")
]
RunIds = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="")]


def reproduce(
    study: str = "sampling",
    scale: str = "mini",
    root: Path = Path("runs"),
    out: Path = Path("analysis/results"),
    figures: Path = Path("analysis"),
    workers: int = 0,
    device: str = "cpu",
) -> None:
    """Run a study from data to table: train what is missing, write rows, tables and curves, print the table.

    SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 end it at the next checkpoint with exit code 75, a second SIGINT at once. The
    same command goes on.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        root: folder of datasets, checkpoints and rows in progress.
        out: folder that receives <study>/rows.parquet and manifest.json.
        figures: folder that receives tables/ and figures/.
        workers: processes with one thread each; 0 is the number of cores.
        device: torch device of the processes.
    """
    from analysis.report import print_report, report
    from moore.reproduce import collect, run_study

    if workers < 0:
        raise UserError(f"--workers: {workers} is not accepted; expected 0 (all cores) or more")
    check_device(device)
    loaded = find_study(study, scale)
    for key, folder in (("--root", root), ("--out", out), ("--figures", figures)):
        check_writable(key, folder)  # before hours of training, not after
    with StopRequest().listening() as stop:
        run_study(loaded, root, workers or available_cores(), device, stop)
        command = f"moore reproduce --study {shlex.quote(study)} --scale {shlex.quote(scale)}"
        folder = collect(loaded, root, out, command)
        others = [path.parent for path in sorted(out.glob("*/rows.parquet")) if path.parent != folder]
        report([*others, folder], figures)
        print_report([*others, folder])


def import_curves(
    file: tyro.conf.Positional[Path], name: str | None = None, out: Path = Path("analysis/results")
) -> None:
    """Read other people's curves from a CSV file, e.g. `moore import corl.csv`.

    `python -m analysis.report --overlay corl` then lays them over the studies with the same tasks. Columns: method;
    task, a dataset id such as d4rl:hopper-medium-v2; seed; step, environment steps since the switch; score, normalised,
    0-100. They are labelled as imported everywhere and never judged beside our runs.

    Args:
        file: the CSV file.
        name: folder and label of the curves; by default the name of the file.
        out: folder that receives <name>/rows.parquet and manifest.json.
    """
    from analysis.imported import import_curves as read

    folder = read(file, out, name)
    print(f"{folder}: imported; python -m analysis.report --overlay {folder.name} lays it over our studies")


def study_show(study: tyro.conf.Positional[str], scale: str = "mini", workers: int = 0, device: str = "cpu") -> None:
    """Print a study's runs, the cohorts they pack into, shared offline stages and what it would cost on this machine.

    Args:
        study: a file in ablations/, by name or path.
        scale: a file in ablations/scales/, by name or path.
        workers: processes that share the work; 0 is the number of cores.
        device: torch device that is timed.
    """
    from moore.show import show

    check_device(device)
    show(find_study(study, scale), workers or available_cores(), device)


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

    if workers < 0:
        raise UserError(f"--workers: {workers} is not accepted; expected 0 (all cores) or more")
    commands.study_submit(
        find_study(study, scale), (study, scale), profile, root, local, workers or available_cores(), dry_run
    )


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


def find_study(study: str, scale: str) -> Study:
    """The study of these two files in ablations/, by name or path; says which variants are left out."""
    loaded = load_study(find_yaml(study, ABLATIONS_DIR), find_yaml(scale, ABLATIONS_DIR / "scales"))
    for double, first in loaded.collapsed.items():
        print(f"moore: {double} has the settings of {first}: trained once, as {first}", file=sys.stderr)
    return loaded


def trained_study(study: str, scale: str, root: Path) -> Study:
    """As `find_study`, if anything of it is below root."""
    loaded = find_study(study, scale)
    if not (root / loaded.name).is_dir():
        raise UserError(f"{root / loaded.name}: is not there; accepted: the --root that the study was submitted with")
    return loaded


def check_device(device: str) -> None:
    """UserError unless torch has this device."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):  # torch's errors for an unknown and for an absent device
        raise UserError(
            f"--device: {device!r} is not available here; expected cpu, or cuda where torch sees a GPU"
        ) from None


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_writable(key: str, folder: Path) -> None:
    """UserError naming the option unless files can be made in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{key}: cannot write in {folder} ({error.strerror}); choose another folder") from None


def data_make(
    id: tyro.conf.Positional[str],
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    out: Path | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Make a self-made dataset, e.g. `moore data make self:hopper-medium --transitions 40000`."""
    data_commands.make(id, transitions, seed, physics, out, data_dir)


def data_describe(
    id: tyro.conf.Positional[str],
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Print sizes, returns, scores, physics and the one-step replay error of a dataset; the options are `make`'s."""
    data_commands.describe(id, transitions, seed, physics, data_dir)


def data_check(
    id: tyro.conf.Positional[str], physics: str | None = None, rows: int = REPLAY_ROWS, data_dir: Path = DATA_DIR
) -> int:
    """Replay stored states one step, say which physics the rows agree with, and check the file's invariants.

    Exit code 0: nothing is wrong; 1: the rows disagree with the physics that the file records (with --physics: with
    that one; if it records none: with all), or an invariant is broken; 2: bad input.

    Args:
        physics: gymnasium or d4rl; by default every physics of the environment is tried.
        rows: rows to replay, evenly spread.
        data_dir: folder of self-made datasets.
    """
    return 0 if data_commands.check(id, physics, rows, data_dir) else 1


def data_download(ids: DatasetIds = ()) -> None:
    """Fetch D4RL's or Minari's own data, e.g. `moore data download d4rl:hopper-medium-v2 d4rl:hopper-expert-v2`.

    D4RL's ids are d4rl:ENV-QUALITY-v2 with ENV hopper, halfcheetah or walker2d and QUALITY random, medium,
    medium-replay, medium-expert, expert or full-replay: 59 to 475 MB each. A file goes to the folder D4RL_DATASET_DIR
    (by default ~/.d4rl/datasets, like d4rl's own downloads) once its size and sha256 are the published ones; a complete
    one stays as it is. Given again, the command goes on where a download broke off. D4RL_DATASET_URL names the base URL
    of a mirror.

    An id minari:NAMESPACE/NAME-vN is left to Minari's own downloader, which needs `pip install 'minari[hf]'` and puts
    it into the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets).

    D4RL (Fu et al., arXiv 2004.07219) has its datasets under CC BY 4.0 and its code under Apache-2.0.

    Args:
        ids: what to fetch.
    """
    data_commands.download(ids)


def data_export(
    id: tyro.conf.Positional[str],
    to: Literal["minari"],
    name: str | None = None,
    transitions: int | None = None,
    seed: int = 0,
    physics: str | None = None,
    data_dir: Path = DATA_DIR,
) -> None:
    """Write a dataset into the local Minari store, e.g. `moore data export self:hopper-medium --to minari`.

    The store is the folder MINARI_DATASETS_PATH (by default ~/.minari/datasets); what it has already is never
    overwritten. Needs `pip install -e '.[minari]'`.

    Args:
        id: a self:, d4rl: or local: id.
        to: the format.
        name: NAMESPACE/NAME-vN in the store; by default moore/ENV/QUALITY-v0 for self:, moore/d4rl/ENV/QUALITY-v2 for
            d4rl:; needed for local:.
        transitions: size of a self-made set, as in `moore data make`.
        seed: of a self-made set.
        physics: of a self-made set.
        data_dir: folder of self-made datasets.
    """
    data_commands.export(id, name, transitions, seed, physics, data_dir)


def study(command: tyro.conf.Positional[str]) -> None:
    """Studies: show, submit, status, failures, retry, cancel, logs, collect (`moore study --help`)."""


def data(command: tyro.conf.Positional[str]) -> None:
    """Datasets: make, describe, check, download, export (`moore data --help`)."""


COMMANDS: dict[str, Callable[..., int | None]] = {
    "reproduce": reproduce,
    "study": study,
    "data": data,
    "import": import_curves,
}
GROUPS: dict[str, dict[str, Callable[..., int | None]]] = {
    "study": {
        "show": study_show,
        "submit": study_submit,
        "status": study_status,
        "failures": study_failures,
        "retry": study_retry,
        "cancel": study_cancel,
        "logs": study_logs,
        "collect": study_collect,
    },
    "data": {
        "make": data_make,
        "describe": data_describe,
        "check": data_check,
        "download": data_download,
        "export": data_export,
    },
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    group = GROUPS.get(words[0], {}) if words else {}
    prog, words, commands = ("moore " + words[0], words[1:], group) if group else ("moore", words, COMMANDS)
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            commands, prog=prog, args=words, description=__doc__, sort_subcommands=False
        )
    except UserError as error:
        print(f"moore: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"moore: {stopped.reason}; the same command goes on", file=sys.stderr)
        return STOPPED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code or 0


if __name__ == "__main__":
    sys.exit(main())
