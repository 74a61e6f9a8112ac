"""`moore study submit`: what is left of a study becomes job arrays, or processes of this machine."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
import uuid
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths

from moore.errors import UserError
from moore.lock import locked
from moore.reproduce import check_datasets
from moore.results import write_json
from moore.runs import set_aside_other_data
from moore.signals import Stopped, StopRequest
from moore.study import Study
from moore.work import study_units
from slurm import cluster
from slurm.plan import Array, Plan, describe, make_plan
from slurm.profile import Profile
from slurm.snapshot import snapshot
from slurm.task import Task, slot_environments
from slurm.worker import Worker

REQUEUES = 10**6  # submitit's own limit; ours is stalled_requeues, which counts those that bring nothing on


class Executor(submitit.SlurmExecutor):
    """submitit's, which always submits an array, and names a wckey only where the profile does.

    submitit 1.5 asks for the wckey "submitit" always, which clusters that check wckeys refuse.
    """

    def _internal_process_submissions(self, delayed_submissions: list[DelayedSubmission]) -> list[Any]:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        pickles = []
        for delayed in delayed_submissions:
            delayed.set_timeout(self.parameters["time"], self.max_num_timeout)
            pickles.append(Path(self.folder) / f"{uuid.uuid4().hex}.pkl")
            delayed.dump(pickles[-1])
        self.parameters["map_count"] = len(pickles)
        first = self._submit_command(self._submitit_command_str)
        for index, path in enumerate(pickles):
            JobPaths(self.folder, f"{first.job_id}_{index}").move_temporary_file(path, "submitted_pickle")
        return [first]

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        lines = super()._make_submission_file_text(command, uid).splitlines(keepends=True)
        return "".join(line for line in lines if line != "#SBATCH --wckey=submitit\n")

    def script(self, tasks: int) -> str:
        """What sbatch gets for an array of so many tasks."""
        self.parameters["map_count"] = tasks
        return self._make_submission_file_text(self._submitit_command_str, "0")


def submit(study: Study, root: Path, profile: Profile, files: dict[str, str], command: str, dry_run: bool) -> Plan:
    """Submit every run that is not done, not in a live task and has not failed too often; prints what it does.

    files: the paths of study, scale and profile, for the record. dry_run: print the plan, the scripts and what SLURM
    says of them; nothing is written. Raises UserError, with nothing submitted, where the cluster cannot be asked or
    refuses, a dataset is missing, or another process trains the study.
    """
    root = root.resolve()
    check_datasets(study, root)
    most, limit = cluster.max_array_size(), cluster.partition_max_minutes(profile.partition)
    if profile.minutes > limit:
        raise UserError(
            f"{files['profile']}: time: {profile.time} is more than the {limit:.0f} minutes of the partition's MaxTime;"
            " such a job would never start"
        )
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}"
    folder = root / study.name / "submissions" / stamp
    with nullcontext() if dry_run else locked(root / study.name / "lock", f"study {study.name}"):
        live = live_units(root / study.name)
        if not dry_run:
            idle = [run for unit in study_units(study, root, "cpu") if unit.name not in live for run in unit.runs]
            for note in set_aside_other_data(root / study.name, idle, root):
                print(f"moore: warning: {note}", file=sys.stderr)
        plan = make_plan(study, root, profile, live, most)
        _say_plan(study, plan)
        scripts = [
            _executor(folder, study, profile, stamp, array, plan, {}).script(len(array.tasks)) for array in plan.arrays
        ]
        for array, script in zip(plan.arrays, scripts, strict=True):
            verdict = cluster.test_only(script)
            if dry_run:
                print(f"\n# array {array.number}: {len(array.tasks)} tasks, {array.stage}\n{script}\n# {verdict}")
        if plan.arrays and not dry_run:
            _submit(study, root, folder, profile, plan, files, command)
    return plan


def _submit(
    study: Study, root: Path, folder: Path, profile: Profile, plan: Plan, files: dict[str, str], command: str
) -> None:
    """The record first, then sbatch, then the jobs' numbers: whoever dies in between leaves nothing unaccounted for."""
    jobs: dict[str, str] = {}
    try:
        folder.mkdir(parents=True)
        state = snapshot(folder / "code")
        if state.dirty:
            print(
                f"moore: warning: the code has uncommitted changes; they are in {folder / 'diff.patch'}",
                file=sys.stderr,
            )
        for path, reason in plan.splits.items():
            write_json(path, {"reason": reason})
        for unit in plan.units():
            unit.write_spec()
        manifest = {
            "stamp": folder.name,
            "study": study.name,
            "files": files,
            "profile": asdict(profile),
            "commit": state.commit,
            "dirty": state.dirty,
            "command": command,
            "time": time.time(),
            "arrays": [
                asdict(array) | {"tasks": [[unit.name for unit in task] for task in array.tasks]}
                for array in plan.arrays
            ],
            "needs": plan.needs,
            "jobs": jobs,
        }
        write_json(folder / "manifest.json", manifest)
        for array in plan.arrays:
            executor = _executor(folder, study, profile, folder.name, array, plan, jobs)
            jobs[str(array.number)] = _sbatch(executor, folder, array)
            write_json(folder / "manifest.json", manifest)
            print(f"array {array.number}: job {jobs[str(array.number)]}, {len(array.tasks)} tasks, {array.stage}")
    except BaseException:
        if jobs:
            cluster.cancel(list(jobs.values()))
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _sbatch(executor: Executor, folder: Path, array: Array) -> str:
    """Submit an array; its job number. Raises UserError with sbatch's words."""
    tasks = [DelayedSubmission(Task(str(folder), array.number, index)) for index in range(len(array.tasks))]
    try:
        (first,) = executor._internal_process_submissions(tasks)
        return str(first.job_id)
    except FailedJobError as error:
        # sbatch may give up on an answer although the controller has taken the job
        for task in cluster.our_tasks():
            if (task.stamp, task.array) == (folder.name, array.number):
                raise UserError(
                    f"sbatch did not answer, but job {task.job} is there; accepted: `moore study cancel`, then the same"
                    " command again"
                ) from None
        words = " ".join(str(error).split("error:")[-1].split())
        raise UserError(f"sbatch refused array {array.number}: {words}; nothing was submitted") from None


def _executor(
    folder: Path, study: Study, profile: Profile, stamp: str, array: Array, plan: Plan, jobs: dict[str, str]
) -> Executor:
    """submitit's settings for one array."""
    code = folder / "code"
    executor = Executor(folder / "jobs", max_num_timeout=REQUEUES, python=profile.python)
    number = sum(other.stage == array.stage for other in plan.arrays)
    more: dict[str, Any] = {"requeue": True} | profile.sbatch
    if array.dependency and jobs:
        more["dependency"] = "afterany:" + ":".join(jobs[str(other)] for other in array.dependency)
    settings = {
        "job_name": f"moore-{study.name}",
        "comment": f"moore:{stamp}:{array.number}",
        "time": profile.minutes,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "cpus_per_task": profile.cpus,
        "mem": profile.memory,
        "gres": profile.gres,
        "signal_delay_s": profile.signal_seconds,
        "array_parallelism": -(-profile.parallel // number) if profile.parallel else len(array.tasks),
        "setup": [*profile.setup, f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        # since 22.05 srun takes one CPU whatever sbatch was asked for
        "srun_args": [f"--cpus-per-task={profile.cpus}"],
        "additional_parameters": more,
    }
    executor.parameters = {key: value for key, value in settings.items() if value is not None}
    return executor


def live_units(folder: Path) -> set[str]:
    """Names of the units of a study that a task of SLURM has, running or waiting. Raises UserError if it cannot say."""
    live: set[str] = set()
    manifests: dict[str, dict[str, Any]] = {}
    for task in cluster.our_tasks():
        path = folder / "submissions" / task.stamp / "manifest.json"
        if task.stamp not in manifests and path.exists():
            manifests[task.stamp] = json.loads(path.read_text())
        if task.stamp in manifests:
            live |= set(manifests[task.stamp]["arrays"][task.array]["tasks"][task.task])
    return live


def run_locally(study: Study, root: Path, profile: Profile, dry_run: bool, stop: StopRequest) -> Plan:
    """The same plan and the same worker, in processes of this machine. Raises Stopped and UserError as `submit`."""
    root = root.resolve()
    check_datasets(study, root)
    with nullcontext() if dry_run else locked(root / study.name / "lock", f"study {study.name}"):
        live = live_units(root / study.name) if cluster.has_slurm() else set()
        if not dry_run:
            for note in set_aside_other_data(root / study.name, study.runs, root):
                print(f"moore: warning: {note}", file=sys.stderr)
        plan = make_plan(study, root, profile, live, sys.maxsize)
        _say_plan(study, plan)
        if dry_run:
            return plan
        for path, reason in plan.splits.items():
            write_json(path, {"reason": reason})
        for array in plan.arrays:
            units = [unit for task in array.tasks for unit in task]
            with stop.deferred():
                Worker(units, slot_environments(profile), profile.attempts, "local", plan.needs).run(stop)
            if stop.reason is not None:
                raise Stopped(stop.reason)
    return plan


def _say_plan(study: Study, plan: Plan) -> None:
    counts = describe(plan, len(study.runs))
    print(
        f"{study.name}: "
        + ", ".join(f"{value} {name}" for name, value in counts.items() if value or name in ("runs", "to submit"))
    )
    for path, reason in plan.splits.items():
        print(f"  {path.name.removesuffix('.split.json')} is split in two: {reason}")
    for array in plan.arrays:
        units = [unit for task in array.tasks for unit in task]
        after = f", after array {', '.join(map(str, array.dependency))}" if array.dependency else ""
        print(f"  array {array.number}, {array.stage}: {len(array.tasks)} tasks, {len(units)} cohorts{after}")
        for unit in units:
            print(f"    {unit.name}: {len(unit.runs)} runs")
