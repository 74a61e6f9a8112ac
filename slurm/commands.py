"""What `moore study submit` and `collect` do; the command line itself is in moore/cli.py."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from moore.errors import UserError
from moore.reproduce import collect
from moore.results import run_id
from moore.runs import is_finished
from moore.signals import StopRequest
from moore.study import ABLATIONS_DIR, Study, find_yaml, load_study
from slurm.profile import Profile, load_profile
from slurm.submit import run_locally, submit

PROFILES_DIR = Path(__file__).parent / "profiles"
NO_LIMIT = "365-00:00:00"  # time of a profile that no job sees


def find_study(study: str, scale: str) -> Study:
    """The study of these two files in ablations/, by name or path."""
    return load_study(find_yaml(study, ABLATIONS_DIR), find_yaml(scale, ABLATIONS_DIR / "scales"))


def study_submit(
    study: str, scale: str, profile: str | None, root: Path | None, local: bool, workers: int, dry_run: bool
) -> None:
    """See moore.cli.study_submit."""
    loaded = find_study(study, scale)
    if not loaded.runs:
        raise UserError(f"{study}: has no runs; accepted: at least one variant, task and seed")
    settings = load_profile(find_yaml(profile, PROFILES_DIR)) if profile is not None else None
    if settings is None and not local:
        raise UserError("--profile: missing; accepted: a file in slurm/profiles/, by name or path, or --local")
    settings = settings or Profile(time=NO_LIMIT, cpus=workers)
    root = root or Path(settings.scratch or "runs")
    files = {"study": study, "scale": scale, "profile": str(profile)}
    command = _command(study, scale, ["submit"] + (["--local"] if local else ["--profile", str(profile)]))
    if local:
        with StopRequest().listening() as stop:
            plan = run_locally(loaded, root, settings, dry_run, stop)
        if not dry_run and not all(unit.finished() for unit in plan.units()):
            raise UserError(f"some runs failed: `{_command(study, scale, ['failures'])}` says how")
    else:
        submit(loaded, root, settings, files, command, dry_run)


def study_collect(study: str, scale: str, root: Path, out: Path, figures: Path, partial: bool) -> None:
    """See moore.cli.study_collect."""
    from analysis.report import print_report, report

    loaded = find_study(study, scale)
    runs = [run for run in loaded.runs if is_finished(root / loaded.name / "runs" / run_id(run), run)]
    missing = len(loaded.runs) - len(runs)
    if not runs or (missing and not partial):
        raise UserError(
            f"{loaded.name}: {missing} of {len(loaded.runs)} runs are not finished in {root}; accepted: waiting"
            " (`moore study status`), or --partial for a table of those that are"
        )
    if missing:
        print(f"{loaded.name}: {missing} of {len(loaded.runs)} runs are missing from this table")
    study_out = Study(loaded.name, loaded.scale, runs, loaded.reference, loaded.axes)
    submitted = sorted((root / loaded.name / "submissions").glob("*/manifest.json"))
    trained_by = [json.loads(submitted[-1].read_text())["command"]] if submitted else []
    folder = collect(study_out, root, out, "; ".join([*trained_by, _command(study, scale, ["collect"])]))
    others = [path.parent for path in sorted(out.glob("*/rows.parquet")) if path.parent != folder]
    report([*others, folder], figures)
    print_report([*others, folder])


def _command(study: str, scale: str, words: list[str]) -> str:
    """What the user typed, for the record."""
    return shlex.join(["moore", "study", words[0], study, "--scale", scale, *words[1:]])
