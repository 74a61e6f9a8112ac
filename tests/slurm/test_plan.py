"""What a submit plans: all - done - live - failed too often, shared stages in one task, tasks cut to size."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moore.algorithm.config import RunConfig, from_mapping
from moore.run.failures import record_failure
from moore.run.units import UnitProcess, study_units
from moore.studies.identity import offline_config, offline_run_id, run_id
from moore.studies.study import Study
from slurm.plan import Plan, _groups, make_plan
from slurm.profile import Profile
from slurm.queue import Queue
from tests.support.resume_units import RUN
from tests.support.slurm_lab import finish

PROFILE = Profile(time="60")


def run(method: str, seed: int, **changes: Any) -> RunConfig:
    return from_mapping(RUN | changes | {"method": method, "seed": seed}, "test")


def study(*runs: RunConfig) -> Study:
    return Study("plan-tiny", "tiny", list(runs))


def two_cohorts() -> Study:
    """Four runs in two cohorts, which start from the same offline stages, and a third cohort with its own."""
    other = {"online": {**RUN["online"], "utd_ratio": 2}}
    apart = {"dataset": "self:pendulum-low"}
    return study(
        *(run("a", seed) for seed in (0, 1)),
        *(run("b", seed, **other) for seed in (0, 1)),
        *(run("a", seed, **apart) for seed in (0, 1)),
    )


def finish_run(root: Path, config: RunConfig) -> None:
    finish(root / "plan-tiny", run_id(config), config)


def finish_stage(root: Path, config: RunConfig) -> None:
    finish(root / "plan-tiny", offline_run_id(config), offline_config(config))


def plan(root: Path, what: Study, profile: Profile = PROFILE, live: Sequence[UnitProcess] = (), most: int = 99) -> Plan:
    return make_plan(what, root, profile, Queue(units=list(live)), most)


def counts(made: Plan) -> tuple[int, int, int, int, int]:
    return made.todo, made.done, made.live, made.failed, made.waiting


def shape(made: Plan) -> list[list[list[int]]]:
    """Runs of each unit of each task of every array."""
    return [[[len(unit.runs) for unit in task] for task in array] for array in made.arrays]


def test_units_that_share_a_stage_are_in_one_task(tmp_path: Path) -> None:
    """Breaks if a stage is trained by two tasks, or units are kept together that share none."""
    made = plan(tmp_path, two_cohorts())
    assert shape(made) == [[[2, 2], [2]]]
    (shared, (free,)) = made.arrays[0]
    assert shared[0].missing_stages() == shared[1].missing_stages()
    assert free.runs[0].dataset == "self:pendulum-low"
    assert counts(made) == (6, 0, 0, 0, 0)
    a, b = two_cohorts().runs[:2], two_cohorts().runs[2:4]
    single = replace(PROFILE, unit_runs=1)
    assert shape(plan(tmp_path, study(*a, *b), single)) == [[[1, 1], [1, 1]]]
    for config in a:
        finish_stage(tmp_path, config)
    assert shape(plan(tmp_path, two_cohorts())) == [[[2], [2], [2]]]


def test_a_unit_that_links_others(tmp_path: Path) -> None:
    """Breaks if two groups stay apart although a third unit shares stages with both."""
    first, second = (UnitProcess("plan-tiny", [run("a", seed)], tmp_path, "cpu") for seed in (0, 1))
    link = UnitProcess("plan-tiny", two_cohorts().runs[2:4], tmp_path, "cpu")
    for units in ([first, second, link], [first, link, second], [link, first, second]):
        (group,) = _groups(units)
        assert {unit.name for unit in group} == {first.name, second.name, link.name}


def test_done_live_and_failed_are_left_out(tmp_path: Path) -> None:
    """Breaks if a second submit takes what is done, what a task has, or what has failed for good."""
    what = two_cohorts()
    for config in what.runs[:2]:
        finish_stage(tmp_path, config)
    units = {unit.runs[0]: unit for unit in study_units(what, tmp_path, "cpu")}
    a, b, apart = (units[what.runs[number]] for number in (0, 2, 4))
    for config in a.runs:
        finish_run(tmp_path, config)
    b.folder.mkdir(parents=True)
    record_failure(b, "failed", "it broke", 1, final=False)
    made = plan(tmp_path, what, live=[apart])
    assert counts(made) == (2, 2, 2, 0, 0)
    assert [unit.name for unit in made.units()] == [b.name]
    record_failure(b, "failed", "it broke", 2)
    assert counts(plan(tmp_path, what)) == (2, 2, 0, 2, 0)
    assert counts(plan(tmp_path, what, live=[apart])) == (0, 2, 2, 2, 0)
    assert plan(tmp_path, what, live=[apart]).arrays == []


def test_a_stage_that_is_being_trained_is_waited_for(tmp_path: Path) -> None:
    """Breaks if a stage is trained by two tasks."""
    what = two_cohorts()
    units = study_units(what, tmp_path, "cpu")
    made = plan(tmp_path, what, live=[units[0]])
    assert counts(made) == (2, 0, 2, 0, 2)
    assert shape(made) == [[[2]]]
    for config in units[0].runs:
        finish_stage(tmp_path, config)
    assert counts(plan(tmp_path, what, live=[units[0]])) == (4, 0, 2, 0, 0)


def test_tasks_and_arrays_are_cut_to_size(tmp_path: Path) -> None:
    what = study(*(run("a", 0, online={**RUN["online"], "epochs": epochs}) for epochs in range(1, 12)))
    for config in what.runs:
        finish_stage(tmp_path, config)
    assert [len(array) for array in plan(tmp_path, what, most=5).arrays] == [5, 5, 1]
    made = plan(tmp_path, what, replace(PROFILE, units_per_task=4), most=2)
    assert [[len(task) for task in array] for array in made.arrays] == [[4, 4], [3]]
    first = made.arrays[0][0][0]
    assert first.cost == max(unit.cost for unit in made.units())  # the longest is not the last to start
    assert sorted(unit.name for unit in made.units()) == sorted(
        unit.name for unit in study_units(what, tmp_path, "cpu")
    )


def test_cohorts_are_halved(tmp_path: Path) -> None:
    """Breaks if a run is lost or doubled by a split, seeds are torn apart, or the marks give other units later."""
    runs = [run(method, seed, sampling=sampling) for method, sampling in
            (("a", {}), ("b", {"model_batches": "uniform"})) for seed in range(4)]  # fmt: skip
    what = study(*runs)
    assert [len(unit.runs) for unit in study_units(what, tmp_path, "cpu")] == [8]
    made = plan(tmp_path, what, replace(PROFILE, unit_runs=2))
    assert [sorted({config.seed for config in unit.runs}) for unit in made.units()] == [[0], [1], [2], [3]]
    assert {config for unit in made.units() for config in unit.runs} == set(runs)
    assert len(made.splits) == 3  # the whole, and two halves of it
    made.mark_splits()
    assert [u.name for u in study_units(what, tmp_path, "cpu")] == [u.name for u in made.units()]
    # what is finished changes no other unit's name
    for config in made.units()[0].runs:
        finish_run(tmp_path, config)
    names = [unit.name for unit in study_units(what, tmp_path, "cpu") if not unit.finished()]
    assert names == [unit.name for unit in made.units()[1:]]


def test_a_larger_study_keeps_what_is_finished(tmp_path: Path) -> None:
    """Breaks if adding a seed trains the others again, or a cohort killed between two manifests changes its name."""
    old, new = [run("a", 0), run("a", 1)], run("a", 2)
    for config in old:
        finish_run(tmp_path, config)
    (unit,) = study_units(study(*old, new), tmp_path, "cpu")
    assert unit.runs == [new]
    whole = UnitProcess("plan-tiny", [*old, new], tmp_path, "cpu")
    folder = tmp_path / "plan-tiny" / "checkpoints"
    folder.mkdir()
    (folder / f"{whole.name}.pt").write_text("")
    (unit,) = study_units(study(*old, new), tmp_path, "cpu")
    assert unit.name == whole.name


def test_finished_runs_of_other_settings_are_refused(tmp_path: Path) -> None:
    config = run("a", 0)
    finish(tmp_path / "plan-tiny", run_id(config), replace(config, eval_episodes=7))
    with pytest.raises(Exception, match="eval_episodes is 7 there and 2 here"):
        plan(tmp_path, study(config))


def test_live_runs_are_live_however_the_study_packs_them_now(tmp_path: Path) -> None:
    """Breaks if a run that a task has is submitted again because its cohort was split, or the study has grown."""
    old = [run("a", seed) for seed in range(4)]
    (unit,) = study_units(study(*old), tmp_path, "cpu")
    for config in old:
        finish_stage(tmp_path, config)
    assert counts(plan(tmp_path, study(*old), live=unit.halves())) == (0, 0, 4, 0, 0)
    made = plan(tmp_path, study(*old, run("a", 4)), live=[unit])
    assert counts(made) == (1, 0, 4, 0, 0)
    assert [config.seed for one in made.units() for config in one.runs] == [4]
    made = plan(tmp_path, study(*old), replace(PROFILE, unit_runs=2), live=[unit])
    assert (made.arrays, made.splits) == ([], [])
