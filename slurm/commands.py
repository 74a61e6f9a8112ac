"""What `moore study submit` and `collect` do; the command line itself is in moore/cli/study.py."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

from moore.algorithm.config import RunConfig
from moore.base.errors import UserError
from moore.run.collect import collect
from moore.run.folders import is_finished
from moore.run.stop import StopRequest
from moore.studies.identity import run_id
from moore.studies.study import Study, find_yaml
from slurm.profile import Profile, load_profile
from slurm.submit import run_locally, submit

PROFILES_DIR = Path(__file__).parent / "profiles"
NO_LIMIT = "365-00:00:00"  # time of a profile that no job sees


def study_submit(
    loaded: Study,
    names: tuple[str, str],
    profile: str | None,
    root: Path | None,
    local: bool,
    workers: int,
    dry_run: bool,
) -> None:
    """See moore.cli.study.study_submit; names: of study and scale, as the user gave them."""
    settings = load_profile(find_yaml(profile, PROFILES_DIR)) if profile is not None else None
    if settings is None and not local:
        raise UserError("--profile: missing; accepted: a file in slurm/profiles/, by name or path, or --local")
    settings = settings or Profile(time=NO_LIMIT, cpus=workers)
    root = root or Path(settings.scratch or "runs")
    files = {"study": names[0], "scale": names[1], "profile": str(profile)}
    command = _command(names, ["submit"] + (["--local"] if local else ["--profile", str(profile)]))
    if local:
        with StopRequest().listening() as stop:
            run_locally(loaded, root, settings, dry_run, stop)
        left = len(loaded.runs) - len(_finished(loaded, root))
        if left and not dry_run:
            raise UserError(f"{left} runs are not finished: `{_command(names, ['failures'])}` says why")
    else:
        submit(loaded, root, settings, files, command, dry_run)


def study_collect(loaded: Study, names: tuple[str, str], root: Path, out: Path, figures: Path, partial: bool) -> None:
    """See moore.cli.study.study_collect; names: of study and scale, as the user gave them."""
    from analysis.report import print_report, report

    runs = _finished(loaded, root)
    missing = len(loaded.runs) - len(runs)
    if not runs or (missing and not partial):
        raise UserError(
            f"{loaded.name}: {missing} of {len(loaded.runs)} runs are not finished in {root}; accepted: waiting"
            " (`moore study status`), or --partial for a table of those that are"
        )
    if missing:
        print(f"{loaded.name}: {missing} of {len(loaded.runs)} runs are missing from this table")
    study_out = replace(loaded, runs=runs)
    submitted = sorted((root / loaded.name / "submissions").glob("*/manifest.json"))
    trained_by = [json.loads(submitted[-1].read_text())["command"]] if submitted else []
    folder = collect(study_out, root, out, "; ".join([*trained_by, _command(names, ["collect"])]))
    report([folder], figures, root / loaded.name / "drawn.json")
    print_report(folder)


def _finished(loaded: Study, root: Path) -> list[RunConfig]:
    return [run for run in loaded.runs if is_finished(root / loaded.name / "runs" / run_id(run), run)]


def _command(names: tuple[str, str], words: list[str]) -> str:
    """What the user typed, for the record."""
    return shlex.join(["moore", "study", words[0], names[0], "--scale", names[1], *words[1:]])
