"""`moore study submit`: what is left of a study becomes job arrays, or processes of this machine."""

import shlex
import shutil
import sys
import time
import uuid
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from submitit.core.utils import DelayedSubmission, JobPaths

from moore.base.errors import UserError
from moore.base.files import write_json
from moore.base.lock import locked
from moore.run.folders import set_aside_other_data
from moore.run.local import check_datasets, run_study
from moore.run.stop import StopRequest
from moore.studies.identity import offline_run_id, plugins, run_id
from moore.studies.study import Study
from slurm import cluster
from slurm.plan import Plan, make_plan
from slurm.profile import Profile
from slurm.queue import Queue, ask_queue
from slurm.snapshot import snapshot
from slurm.task import ArrayTask, missing_resources, slot_environments


def submit(study: Study, root: Path, profile: Profile, files: dict[str, str], dry_run: bool) -> None:
    """Submit every run that is not done, not in a live task and has not failed too often; prints what it does.

    files: the paths of study, scale and profile, for the record. dry_run: print the plan, the scripts and what SLURM
    says of them; nothing is written. Raises UserError, with nothing submitted, where the cluster cannot be asked or
    refuses, a dataset is missing, or another process trains the study.
    """
    root = root.absolute()
    check_datasets(study)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder = root / study.name / "submissions" / stamp
    with nullcontext() if dry_run else locked(root / study.name / "lock", f"study {study.name}"):
        most = cluster.max_array_size()
        queue = ask_queue(root / study.name)
        if not dry_run:  # rows of other data, which no live task has, are moved away first
            live = queue.runs() | {offline_run_id(run) for unit in queue.units for run in unit.runs if run.dataset}
            idle = [run for run in study.runs if not {run_id(run), offline_run_id(run)} & live]
            for note in set_aside_other_data(root / study.name, idle, root):
                print(f"moore: warning: {note}", file=sys.stderr)
        plan = make_plan(study, root, profile, queue, most)
        print(plan.describe(study))
        for number, array in enumerate(plan.arrays):
            script = batch_script(folder, study.name, profile, number, plan)
            verdict = cluster.sbatch(script, test_only=True)
            if dry_run:
                print(f"\n# array {number}: {len(array)} tasks\n{script}\n# {verdict}")
        if plan.arrays and not dry_run:
            _submit(study, folder, profile, plan, files)


def _submit(study: Study, folder: Path, profile: Profile, plan: Plan, files: dict[str, str]) -> None:
    """Write the record, call sbatch, record the jobs' numbers: whoever dies in between leaves no unknown job."""
    jobs: list[str] = []
    try:
        folder.mkdir(parents=True)
        code = folder / "code"
        commit = snapshot(code, {name for run in study.runs for name in plugins(run)})
        if commit.endswith("-dirty"):
            print(f"moore: warning: the code has uncommitted changes; tasks run the copy {code}", file=sys.stderr)
        plan.mark_splits()
        for unit in plan.units():
            unit.write_spec()
        arrays = [[[unit.name for unit in task] for task in array] for array in plan.arrays]
        manifest: dict[str, Any] = {"stamp": folder.name, "study": study.name, "files": files}
        manifest |= {"profile": asdict(profile), "commit": commit, "directory": str(Path.cwd())}
        manifest |= {"arrays": arrays, "jobs": jobs}
        write_json(folder / "manifest.json", manifest)
        for number, array in enumerate(plan.arrays):
            script = batch_script(folder, study.name, profile, number, plan)
            jobs.append(_sbatch(script, folder / "jobs", number, len(array)))
            write_json(folder / "manifest.json", manifest)
            print(f"array {number}: job {jobs[-1]}, {len(array)} tasks")
    except BaseException:
        _withdraw(folder)
        raise


def _withdraw(folder: Path) -> None:
    """Cancel a submission that cannot be completed. sbatch may have failed although the controller has taken a job."""
    try:
        cluster.cancel(sorted({task.job for task in cluster.our_tasks() if task.stamp == folder.name}))
    except UserError as error:
        print(f"moore: warning: {error}; `moore study cancel` ends what may have been submitted", file=sys.stderr)
        return  # the record stays, so that its jobs are known
    shutil.rmtree(folder, ignore_errors=True)


def _sbatch(script: str, folder: Path, array: int, tasks: int) -> str:
    """Submit an array; returns its job number. Raises UserError with sbatch's words.

    A task of submitit waits a minute for its pickle, which is named after the job.
    """
    folder.mkdir(exist_ok=True)
    for index in range(tasks):
        DelayedSubmission(ArrayTask(str(folder.parent), array, index)).dump(folder / f"{index}.pkl")
    (folder / f"array-{array}.sh").write_text(script)
    job = cluster.sbatch(script)
    for index in range(tasks):
        JobPaths(folder, f"{job}_{index}").move_temporary_file(folder / f"{index}.pkl", "submitted_pickle")
    return job


def batch_script(folder: Path, study: str, profile: Profile, array: int, plan: Plan) -> str:
    """Return the script that sbatch gets for an array: it starts submitit, which calls the array's `ArrayTask`s."""
    tasks = len(plan.arrays[array])
    most = max(1, profile.parallel // len(plan.arrays)) if profile.parallel else tasks
    streams = JobPaths(str(folder / "jobs").replace("%", "%%"), "%A_%a")  # Slurm reads %u and the like
    options: dict[str, Any] = {
        "job-name": f"moore-{study}",
        "comment": f"moore:{folder.name}:{array}",
        "array": f"0-{tasks - 1}%{min(most, tasks)}",
        "nodes": 1,
        "time": profile.minutes,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "cpus-per-task": profile.cpus,
        "mem": profile.memory,
        "gres": profile.gres,
        "signal": f"USR2@{profile.signal_seconds}",
        "output": streams.stdout,
        "error": streams.stderr,
        "open-mode": "append",
        "requeue": True,
        **profile.sbatch,
    }
    values = {name: "" if value is True else f"={shlex.quote(str(value))}" for name, value in options.items()}
    lines = [f"#SBATCH --{name}{value}" for name, value in values.items() if options[name] is not None]
    # since 22.05 srun takes one CPU whatever sbatch was asked for
    srun = ("srun", "--unbuffered", f"--output={streams.stdout}", f"--error={streams.stderr}")
    start = shlex.join((*srun, f"--cpus-per-task={profile.cpus}"))
    python = profile.python or shlex.quote(sys.executable)
    code, here, jobs = (shlex.quote(str(path)) for path in (folder / "code", Path.cwd(), folder / "jobs"))
    script = [
        "#!/bin/bash",
        *lines,
        *profile.setup,
        # python -m would find the packages of the folder it starts in, the checkout, before those of the snapshot
        "export PYTHONSAFEPATH=1",
        # what is edited meanwhile is not seen; the submitter's folder comes last, for modules that a plugin imports
        f"export PYTHONPATH={code}:{here}${{PYTHONPATH:+:$PYTHONPATH}}",
        "export SUBMITIT_EXECUTOR=slurm",
        f"{start} {python} -m slurm.start {jobs}",
    ]
    return "\n".join(script) + "\n"


def run_locally(study: Study, root: Path, profile: Profile, dry_run: bool, stop: StopRequest) -> None:
    """Train what is left here, as the profile says. UserError: a promise of it is not kept; also as `run_study`."""
    lacking = missing_resources(profile)
    if lacking:
        raise UserError(f"{lacking}; accepted: a profile that this machine can keep, or --local without one")
    plan = make_plan(study, root, profile, Queue(), sys.maxsize)
    print(plan.describe(study))
    if not dry_run:
        with locked(root / study.name / "lock", f"study {study.name}"):
            plan.mark_splits()
        run_study(study, root, slot_environments(profile), profile.torch_device, stop, profile.attempts)
