"""The command `moore`. Bad input is one line on stderr and exit code 2; 75: told to stop, the same command goes on."""

# what takes long to import is imported inside the commands: `--help` and a slip of the pen are answered at once

import codecs
import contextlib
import functools
import inspect
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from moore.base.errors import Unavailable, UserError
from moore.base.machine import threads
from moore.base.words import duration
from moore.cli import data as cli_data
from moore.cli import study as cli_study
from moore.cli.doctor import doctor, version
from moore.cli.explain import config
from moore.cli.options import (
    Root,
    ScaleName,
    StudyName,
    check_device,
    check_writable,
    find_study,
    number_of_workers,
    pairs,
)
from moore.cli.plot import plot
from moore.cli.tune import tune
from moore.run.follow import Logger, followed
from moore.run.stop import StopRequest, exit_code


def reproduce(
    study: StudyName = "paper-methods",
    scale: ScaleName = "mini",
    root: Root = Path("runs"),
    out: Path = Path("build/results"),
    figures: Path = Path("build"),
    workers: int = 0,
    device: str = "cpu",
    verbose: bool = False,
    dry_run: bool = False,
    log: Logger | None = None,
) -> None:
    """Run a study from data to table: train what is missing, write rows, tables and curves, print what came out.

    At most 45 lines: scores beside the rows published in git, the paper's claims, where everything is, what it cost.

    A unit that fails does not stop the others; the exit code is 2 then. SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 end it at
    the next checkpoint with exit code 75, a second SIGINT at once. The same command goes on. No tracked file changes:
    `moore study publish` puts the rows among those in git.

    Args:
        out: folder that receives <study>/rows.parquet and manifest.json.
        figures: folder that receives the tables and figures, in <study>/.
        workers: processes; 0 is one for each core, with one thread, or one with all threads for a GPU.
        device: torch device of the processes.
        verbose: print every table before the last lines.
        dry_run: print what would be trained, kept and written, and what it would cost here; train and write nothing.
        log: show the rows there, too, as they come; needs the extra of that name. WANDB_MODE=offline needs no network.
    """
    count = number_of_workers(workers, device)
    check_device(device)
    loaded = find_study(study, scale)
    if dry_run:
        from moore.cli.show import dry

        dry(loaded, root, count, device, (out / loaded.name, figures / loaded.name))
        return
    for key, folder in (("--root", root), ("--out", out), ("--figures", figures)):
        check_writable(key, folder)  # before hours of training, not after

    from moore.cli.report import write_report, write_rows
    from moore.run.folders import finished_runs
    from moore.run.local import run_study

    begun, before = time.monotonic(), len(finished_runs(loaded, root))
    with StopRequest().listening() as stop:
        with followed(root / loaded.name, log):
            run_study(loaded, root, [threads(device, count)] * count, device, stop)
        folder = write_rows(loaded, (study, scale), root, out)
        trained = f"{len(loaded.runs) - before} of {len(loaded.runs)} runs trained"
        call = f"; this call: {duration(time.monotonic() - begun)}, {count} processes, {trained}"
        write_report(folder, figures, verbose, call)


def import_curves(
    files: tyro.conf.Positional[tuple[Path, ...]],
    format: Literal["csv", "wandb", "tensorboard", "corl"] = "csv",
    map: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=COLUMN ...", help_behavior_hint="")] = (),
    method: str | None = None,
    task: str | None = None,
    task_alias: Annotated[tuple[str, ...], tyro.conf.arg(metavar="THEIRS=OURS ...", help_behavior_hint="")] = (),
    name: str | None = None,
    out: Path = Path("build/results"),
) -> None:
    """Read other people's curves, e.g. `moore import curves.csv`; they are labelled as imported and never judged.

    `python -m analysis.output.report --overlay build/results/curves` then lays them over the studies with the same
    tasks, interpolated at their steps. csv: columns method; task, a dataset id such as d4rl:hopper-medium-v2; seed (0
    where it is missing); step, environment steps since the switch; score, normalised, 0-100; with spread or n a line is
    a summary, drawn as a point. wandb: a chart's export. tensorboard: a scalar's export, a file a run, or a folder of
    event files. corl: finetune_scores.pickle. There a run's name says method and seed, as in awac-s1.

    Args:
        files: what to read; all of it is one import.
        format: who wrote them.
        map: what a field is called in the files, e.g. method=algorithm; score= a metric of W&B or a tag of TensorBoard.
        method: of all runs, where the files do not say.
        task: of all runs, where the files do not say.
        task_alias: a task of theirs laid over one of ours, and said so, e.g. hopper-medium-v2=self:hopper-medium.
        name: folder and label of the curves; by default the name of the first file.
        out: folder that receives <name>/rows.parquet and manifest.json.
    """
    from analysis.io.imported import import_curves as read

    if not files:
        raise UserError("FILES: missing; accepted: one file or more")
    given = {key: value for key, value in (("method", method), ("task", task)) if value is not None}
    folder = read(files, out, name, format, pairs("--map", map), given, pairs("--task-alias", task_alias))
    print(f"{folder}: imported; python -m analysis.output.report --overlay {folder} lays it over our studies")


def study(command: tyro.conf.Positional[str]) -> None:
    """Handle studies: their cost, training, Slurm, rows (`moore study --help`)."""


def data(command: tyro.conf.Positional[str]) -> None:
    """Handle datasets (`moore data --help`)."""


COMMANDS: dict[str, Callable[..., int | None]] = {
    "reproduce": reproduce,
    "tune": tune,
    "plot": plot,
    "study": study,
    "data": data,
    "import": import_curves,
    "config": config,
    "doctor": doctor,
}
ASCII = {"→": "->", "±": "+-", "≈": "~", "≠": "/=", "–": "-", "α": "alpha", "≥": ">=", "²": "^2"}  # noqa: RUF001
GROUPS = {"study": cli_study.COMMANDS, "data": cli_data.COMMANDS}


def _ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what a stream's encoding lacks, for `codecs`."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("moore-ascii", _ascii)


def _study_as_position(arguments: Sequence[str]) -> list[str]:
    """Write `--study X` and `--study=X` as the position that they stand for in every command."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--study=") else [word])]
    if "--study" not in words[:-1]:
        return words
    at = words.index("--study")
    return [*words[:at], words[at + 1], *words[at + 2 :]]


def _check_options(prog: str, command: Callable[..., int | None], words: Sequence[str]) -> None:
    """Raise UserError for an option that the command lacks; the parser's own answer lists those of every command."""
    known = [name.replace("_", "-") for name in inspect.signature(command).parameters]
    for word in (word.split("=")[0] for word in words if word.startswith("--")):
        if word.replace("_", "-").removeprefix("--").removeprefix("no-") not in ("help", *known):
            raise UserError(f"{word}: not an option of `{prog}`; accepted: {', '.join(f'--{name}' for name in known)}")


def _parsed(
    commands: Mapping[str, Callable[..., int | None]], prog: str, words: list[str], about: str | None
) -> Callable[[], int | None]:
    """Return the command with its options, not yet called. Raises UserError where they are wrong."""

    def later(command: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
        return functools.wraps(command)(lambda *values, **options: functools.partial(command, *values, **options))

    if words and not words[0].startswith("-"):
        if words[0] not in commands:
            raise UserError(f"{words[0]}: not a command of `{prog}`; accepted: {', '.join(commands)}")
        _check_options(f"{prog} {words[0]}", commands[words[0]], words[1:])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: later(command) for name, command in commands.items()},
                prog=prog, args=words, description=about, sort_subcommands=False,
            )  # fmt: skip
    except SystemExit as end:
        if end.code != 2:
            raise
        titled = re.sub(r"╭─ (.*?) ─+╮", r"\1:", said.getvalue())  # a box, and lines between its parts
        words = re.sub(r"[╭╮╰╯│]+|╰─+╯", " ", re.sub(r"│ ─+ │", ";", titled)).strip(" ─\n").split()
        raise UserError(" ".join(words).replace(" ;", ";").replace(".;", ";")) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    words = _study_as_position(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="moore-ascii")  # a terminal without Unicode
    if words == ["--version"]:
        print(version())
        return 0
    group = GROUPS.get(words[0], {}) if words else {}
    prog, words, commands = ("moore " + words[0], words[1:], group) if group else ("moore", words, COMMANDS)
    about = COMMANDS[prog.split()[1]].__doc__ if group else __doc__
    try:
        code = exit_code("moore", lambda: _parsed(commands, prog, words, about)())
    except BrokenPipeError:  # whoever reads, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return UserError.exit_code if code == Unavailable.exit_code else code  # which only units tell apart


if __name__ == "__main__":
    sys.exit(main())
