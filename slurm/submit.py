"""`moore study submit`: what is left of a study becomes job arrays, or processes of this machine."""

from __future__ import annotations

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
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError, JobPaths

from moore.base.errors import UserError
from moore.base.files import write_json
from moore.base.lock import locked
from moore.run.folders import set_aside_other_data
from moore.run.local import check_datasets
from moore.run.stop import StopRequest
from moore.studies.identity import offline_run_id, run_id
from moore.studies.study import Study
from slurm import cluster
from slurm.plan import Array, Plan, describe, make_plan
from slurm.profile import Profile
from slurm.queue import Queue, ask_queue
from slurm.snapshot import snapshot
from slurm.task import Task, missing_resources, slot_environments
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

    @property
    def _submitit_command_str(self) -> str:
        return f"{self.python} -m slurm.start {shlex.quote(str(self.folder))}"

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        lines = super()._make_submission_file_text(command, uid).splitlines(keepends=True)
        return "".join(line for line in lines if line != "#SBATCH --wckey=submitit\n")

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        """The script's options again: on the command line they count more than SBATCH_... of the environment."""
        return ["sbatch", *cluster.options(submission_file_path.read_text()), str(submission_file_path)]

    def script(self, tasks: int) -> str:
        """What sbatch gets for an array of so many tasks."""
        self.parameters["map_count"] = tasks
        return self._make_submission_file_text(self._submitit_command_str, "0")


def submit(study: Study, root: Path, profile: Profile, files: dict[str, str], command: str, dry_run: bool) -> None:
    """Submit every run that is not done, not in a live task and has not failed too often; prints what it does.

    files: the paths of study, scale and profile, for the record. dry_run: print the plan, the scripts and what SLURM
    says of them; nothing is written. Raises UserError, with nothing submitted, where the cluster cannot be asked or
    refuses, a dataset is missing, or another process trains the study.
    """
    root = root.absolute()
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
        plan = _prepare(study, root, profile, most, dry_run)
        scripts = [
            _executor(folder, study, profile, stamp, array, plan, {}).script(len(array.tasks)) for array in plan.arrays
        ]
        for array, script in zip(plan.arrays, scripts, strict=True):
            verdict = cluster.test_only(script)
            if dry_run:
                print(f"\n# array {array.number}: {len(array.tasks)} tasks, {array.stage}\n{script}\n# {verdict}")
        if plan.arrays and not dry_run:
            _submit(study, root, folder, profile, plan, files, command)


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
        _mark_splits(plan)
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
        _withdraw(folder)
        raise


def _withdraw(folder: Path) -> None:
    """Cancel a submission that cannot be completed. sbatch may have failed although the controller has taken a job."""
    try:
        jobs = sorted({task.job for task in cluster.our_tasks() if task.stamp == folder.name})
        if jobs:
            cluster.cancel(jobs)
    except UserError as error:
        print(f"moore: warning: {error}; `moore study cancel` ends what may have been submitted", file=sys.stderr)
        return  # the record stays, so that its jobs are known
    shutil.rmtree(folder, ignore_errors=True)


def _sbatch(executor: Executor, folder: Path, array: Array) -> str:
    """Submit an array; its job number. Raises UserError with sbatch's words."""
    tasks = [DelayedSubmission(Task(str(folder), array.number, index)) for index in range(len(array.tasks))]
    try:
        (first,) = executor._internal_process_submissions(tasks)
        return str(first.job_id)
    except (FailedJobError, FailedSubmissionError) as error:
        words = " ".join(str(error).split("error:")[-1].split())
        raise UserError(f"sbatch refused array {array.number}: {words}; nothing was submitted") from None


def _executor(
    folder: Path, study: Study, profile: Profile, stamp: str, array: Array, plan: Plan, jobs: dict[str, str]
) -> Executor:
    """submitit's settings for one array."""
    paths = f"{shlex.quote(str(folder / 'code'))}${{PYTHONPATH:+:$PYTHONPATH}}"
    executor = Executor(folder / "jobs", max_num_timeout=REQUEUES, python=profile.python)
    together = sum(other.dependency == array.dependency for other in plan.arrays)
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
        "array_parallelism": max(1, profile.parallel // together) if profile.parallel else len(array.tasks),
        # python -m would find the packages of the folder it starts in, the checkout, before those of the snapshot
        "setup": [*profile.setup, "export PYTHONSAFEPATH=1", f"export PYTHONPATH={paths}"],
        # since 22.05 srun takes one CPU whatever sbatch was asked for
        "srun_args": [f"--cpus-per-task={profile.cpus}"],
        "additional_parameters": more,
    }
    executor.parameters = {key: value for key, value in settings.items() if value is not None}
    return executor


def run_locally(study: Study, root: Path, profile: Profile, dry_run: bool, stop: StopRequest) -> None:
    """The same plan and the same worker, in processes of this machine. Raises Stopped and UserError as `submit`."""
    root = root.absolute()
    check_datasets(study, root)
    lacking = missing_resources(profile)
    if lacking:
        raise UserError(f"{lacking}; accepted: a profile that this machine can keep, or --local without one")
    with nullcontext() if dry_run else locked(root / study.name / "lock", f"study {study.name}"):
        plan = _prepare(study, root, profile, sys.maxsize, dry_run)
        if not dry_run:
            _mark_splits(plan)
            for array in plan.arrays:
                units = [unit for task in array.tasks for unit in task]
                with stop.deferred():
                    Worker(units, slot_environments(profile), profile.attempts, None, plan.needs).run(stop)
                stop.check()


def _prepare(study: Study, root: Path, profile: Profile, max_array: int, dry_run: bool) -> Plan:
    """What is left of a study, said; rows that nobody has and that are of other data are moved away first."""
    folder = root / study.name
    queue = ask_queue(folder) if cluster.has_slurm() and (folder / "submissions").exists() else Queue()
    if not dry_run:
        live = queue.runs() | queue.all_stages()
        idle = [
            run
            for run in study.runs
            if run_id(run) not in live and (run.dataset is None or offline_run_id(run) not in live)
        ]
        for note in set_aside_other_data(folder, idle, root):
            print(f"moore: warning: {note}", file=sys.stderr)
    plan = make_plan(study, root, profile, queue, max_array)
    _say_plan(study, plan)
    return plan


def _mark_splits(plan: Plan) -> None:
    for path, reason in plan.splits.items():
        write_json(path, {"reason": reason})
        # whoever may still train the whole, unknown to SLURM, must not: nobody holds its claim now
        path.with_name(path.name.replace(".split.json", ".claim.json")).unlink(missing_ok=True)


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
