"""What a submit plans: all - done - live - failed too often, shared stages in one task, tasks cut to size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from moore.algorithm.config import RunConfig, from_mapping
from moore.run.failures import record_failure
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import offline_config, offline_run_id, run_id
from moore.studies.study import Study
from slurm.plan import DONE, FAILED, LIVE, TODO, WAITING, Plan, _groups, make_plan
from slurm.profile import Profile
from slurm.queue import Queue
from tests.support.resume_units import RUN
from tests.support.slurm_lab import finish

PROFILE = Profile(time="60")


def run(method: str, seed: int, **changes: Any) -> RunConfig:
    return from_mapping(RUN | changes | {"method": method, "seed": seed}, "test")


def study(*runs: RunConfig) -> Study:
    return Study("plan-tiny", "tiny", list(runs))


A = [run("a", seed) for seed in range(4)]
B = [run("b", seed, online={**RUN["online"], "utd_ratio": 2}) for seed in (0, 1)]  # a cohort with two of A's stages
APART = [run("a", seed, dataset="self:pendulum-low") for seed in (0, 1)]
THREE = study(*A[:2], *B, *APART)


def finish_runs(root: Path, runs: Sequence[RunConfig], stage: bool = False) -> None:
    """Finish runs, or the offline stages that they start from."""
    for config in runs:
        name, whose = (offline_run_id(config), offline_config(config)) if stage else (run_id(config), config)
        finish(root / "plan-tiny", name, whose)


def plan(root: Path, what: Study, profile: Profile = PROFILE, live: Sequence[UnitProcess] = (), most: int = 99) -> Plan:
    return make_plan(what, root, profile, Queue(units=list(live)), most)


def counts(made: Plan) -> tuple[int, ...]:
    return tuple(made.counts[where] for where in (TODO, DONE, LIVE, FAILED, WAITING))


def shape(made: Plan) -> list[list[list[int]]]:
    """Runs of each unit of each task of every array."""
    return [[[len(unit.runs) for unit in task] for task in array] for array in made.arrays]


def test_units_that_share_a_stage_are_in_one_task(tmp_path: Path) -> None:
    """Breaks if a stage is trained by two tasks, or units are kept together that share none."""
    made = plan(tmp_path, THREE)
    assert shape(made) == [[[2, 2], [2]]]
    (shared, (free,)) = made.arrays[0]
    assert shared[0].missing_stages() == shared[1].missing_stages()
    assert free.runs == APART
    assert counts(made) == (6, 0, 0, 0, 0)
    single = replace(PROFILE, unit_runs=1)
    assert shape(plan(tmp_path, study(*A[:2], *B), single)) == [[[1, 1], [1, 1]]]
    finish_runs(tmp_path, A[:2], stage=True)
    assert shape(plan(tmp_path, THREE)) == [[[2], [2], [2]]]


def test_a_unit_that_links_others(tmp_path: Path) -> None:
    """Breaks if two groups stay apart although a third unit shares stages with both."""
    first, second, link = (UnitProcess("plan-tiny", runs, tmp_path, "cpu") for runs in (A[:1], A[1:2], B))
    for units in ([first, second, link], [first, link, second], [link, first, second]):
        (group,) = _groups(units)
        assert {unit.name for unit in group} == {first.name, second.name, link.name}


def test_done_live_and_failed_are_left_out(tmp_path: Path) -> None:
    """Breaks if a second submit takes what is done, what a task has, or what has failed for good."""
    finish_runs(tmp_path, A[:2], stage=True)
    units = {unit.runs[0]: unit for unit in study_units(THREE, tmp_path, "cpu")}
    b, apart = units[B[0]], units[APART[0]]
    finish_runs(tmp_path, A[:2])
    b.folder.mkdir(parents=True)
    record_failure(b, "failed", "it broke", 1, final=False)
    made = plan(tmp_path, THREE, live=[apart])
    assert counts(made) == (2, 2, 2, 0, 0)
    assert [unit.name for unit in made.units()] == [b.name]
    record_failure(b, "failed", "it broke", 2)
    assert counts(plan(tmp_path, THREE)) == (2, 2, 0, 2, 0)
    made = plan(tmp_path, THREE, live=[apart])
    assert counts(made) == (0, 2, 2, 2, 0)
    assert made.arrays == []


def test_a_stage_that_is_being_trained_is_waited_for(tmp_path: Path) -> None:
    """Breaks if a stage is trained by two tasks."""
    live = study_units(THREE, tmp_path, "cpu")[:1]
    made = plan(tmp_path, THREE, live=live)
    assert counts(made) == (2, 0, 2, 0, 2)
    assert shape(made) == [[[2]]]
    finish_runs(tmp_path, live[0].runs, stage=True)
    assert counts(plan(tmp_path, THREE, live=live)) == (4, 0, 2, 0, 0)


def test_tasks_and_arrays_are_cut_to_size(tmp_path: Path) -> None:
    what = study(*(run("a", 0, online={**RUN["online"], "epochs": epochs}) for epochs in range(1, 12)))
    finish_runs(tmp_path, what.runs, stage=True)
    assert [len(array) for array in plan(tmp_path, what, most=5).arrays] == [5, 5, 1]
    made = plan(tmp_path, what, replace(PROFILE, units_per_task=4), most=2)
    assert [[len(task) for task in array] for array in made.arrays] == [[4, 4], [3]]
    assert made.arrays[0][0][0].cost == max(unit.cost for unit in made.units())  # the longest is not the last to start
    assert {unit.name for unit in made.units()} == {unit.name for unit in study_units(what, tmp_path, "cpu")}


def test_cohorts_are_halved(tmp_path: Path) -> None:
    """Breaks if a run is lost or doubled by a split, seeds are torn apart, or the marks give other units later."""
    what = study(*A, *(run("b", seed, sampling={"model_batches": "uniform"}) for seed in range(4)))
    assert [len(unit.runs) for unit in study_units(what, tmp_path, "cpu")] == [8]
    made = plan(tmp_path, what, replace(PROFILE, unit_runs=2))
    assert [sorted({config.seed for config in unit.runs}) for unit in made.units()] == [[0], [1], [2], [3]]
    assert {config for unit in made.units() for config in unit.runs} == set(what.runs)
    assert len(made.splits) == 3  # the whole, and two halves of it
    made.mark_splits()
    names = [unit.name for unit in made.units()]
    assert [unit.name for unit in study_units(what, tmp_path, "cpu")] == names
    finish_runs(tmp_path, made.units()[0].runs)  # which changes no other unit's name
    assert [unit.name for unit in study_units(what, tmp_path, "cpu") if not unit.finished()] == names[1:]


def test_a_larger_study_keeps_what_is_finished(tmp_path: Path) -> None:
    """Breaks if adding a seed trains the others again, or a cohort killed between two manifests changes its name."""
    finish_runs(tmp_path, A[:2])
    (unit,) = study_units(study(*A[:3]), tmp_path, "cpu")
    assert unit.runs == A[2:3]
    whole = UnitProcess("plan-tiny", A[:3], tmp_path, "cpu")
    whole.checkpoint_folder("online").mkdir(parents=True)
    (unit,) = study_units(study(*A[:3]), tmp_path, "cpu")
    assert unit.name == whole.name


def test_live_runs_are_live_however_the_study_packs_them_now(tmp_path: Path) -> None:
    """Breaks if a run that a task has is submitted again because its cohort was split, or the study has grown."""
    (unit,) = study_units(study(*A), tmp_path, "cpu")
    finish_runs(tmp_path, A, stage=True)
    assert counts(plan(tmp_path, study(*A), live=unit.halves())) == (0, 0, 4, 0, 0)
    new = run("a", 4)
    made = plan(tmp_path, study(*A, new), live=[unit])
    assert counts(made) == (1, 0, 4, 0, 0)
    assert [config for one in made.units() for config in one.runs] == [new]
    made = plan(tmp_path, study(*A), replace(PROFILE, unit_runs=2), live=[unit])
    assert (made.arrays, made.splits) == ([], [])
