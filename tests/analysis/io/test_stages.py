"""Which offline stage a method starts from."""

from pathlib import Path

import pytest

from analysis.io.stages import one_stage, stages, started_by
from analysis.plots.figures import draw
from moore.base.errors import UserError
from moore.studies.identity import run_id
from tests.support.method_studies import (
    ENDS,
    SHARED,
    as_study,
    from_ends,
    method_manifest,
    method_rows,
    method_study,
    runs_of,
)
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study, row


def test_stages_follow_the_manifest_not_the_method_column(tmp_path: Path) -> None:
    """Three methods have stages called `cql`; four share one called `mopo`; an untrained one is none."""
    names = [*SHARED, *ENDS]
    study = method_study(tmp_path, names, 2, from_ends)
    assert set(study.select("eval/score", "offline")["method"]) == {"mopo", "awac", "cql", "sac"}
    for dataset in (LOW, MEDIUM):
        found = stages(study, dataset, "eval/score")
        assert [stage.methods for stage in found] == [
            ("moore", "mbpo_warm", "mopo_naive", "mopo"), ("awac",), ("cal_ql",), ("cql_sac",), ("wsrl",),
        ]  # fmt: skip
        assert [stage.updates for stage in found] == [3000] * 5
        ends = [stage.rows.query("updates == 3000")["value"].tolist() for stage in found]
        assert ends == [[70, 71], [40, 41], [50, 51], [45, 46], [55, 56]]
        assert all(set(stage.rows["dataset"]) == {dataset} for stage in found)
    assert not one_stage(study, "eval/score")


def test_a_method_that_lacks_a_seed_keeps_its_stage(tmp_path: Path) -> None:
    """MOORe lost seed 0 on one dataset: the frozen policy's run still makes both seeds one stage."""
    runs = runs_of(tmp_path, ["moore", "mopo", "awac"], 2)
    lost = {run_id(run) for run in runs if (run.method, run.seed, run.dataset) == ("moore", 0, LOW)}
    study = as_study(method_rows([run for run in runs if run_id(run) not in lost], from_ends), method_manifest(runs))
    assert [stage.methods for stage in stages(study, LOW, "eval/score")] == [("moore", "mopo"), ("awac",)]
    assert stages(study, LOW, "eval/score")[0].rows["seed"].nunique() == 2


def test_an_older_manifest_has_one_stage_for_all_variants() -> None:
    study = make_study(full_study(2))
    (stage,) = stages(study, LOW, "eval/score")
    assert stage.methods == ("prioritized", "uniform", "half_half", "pure_online")
    assert (stage.updates, stage.rows["run"].nunique()) == (3000, 2)
    assert set(started_by(study)) == set(study.select("eval/score", "offline")["run"])
    frozen = [{**r, "run": f"frozen/{r['run']}"} for r in flat("mopo", LOW, [60.0, 61.0])]
    other = row("awac", LOW, 0, "offline", 100, "eval/score", 5.0)
    mixed = make_study([*full_study(2), *frozen, other])  # neither an online `mopo` nor another method's stage counts
    assert [s.rows["run"].tolist() for s in stages(mixed, LOW, "eval/score")] == [stage.rows["run"].tolist()]


def test_several_stages_that_nothing_tells_apart_are_an_error() -> None:
    rows = [row("mopo", LOW, 0, "offline", 100, "eval/score", 5.0), *flat("uniform", LOW, [60.0])]
    assert one_stage(make_study(rows), "eval/score")
    study = make_study([*rows, {**rows[0], "run": "mopo with another penalty"}])
    with pytest.raises(UserError, match=f"study toy: {LOW} seed 0 has several offline stages; expected offline_runs"):
        draw(study)
