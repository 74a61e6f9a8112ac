"""Which offline stage a method starts from."""

from pathlib import Path

from analysis.io.stages import one_stage, stages
from moore.studies.identity import run_id
from tests.support.method_studies import (
    ENDS,
    SHARED,
    from_ends,
    method_manifest,
    method_rows,
    method_study,
    runs_of,
)
from tests.support.studies import LOW, MEDIUM, make_study


def test_stages_follow_the_manifest_not_the_method_column(tmp_path: Path) -> None:
    """Three methods have stages called `cql`; four share one called `mopo`; an untrained one is none."""
    names = [*SHARED, *ENDS]
    study = method_study(tmp_path, names, 2, from_ends)
    assert set(study.select("eval/score", "offline")["method"]) == {"mopo", "awac", "cql", "sac"}
    for dataset in (LOW, MEDIUM):
        found = stages(study, "eval/score")[dataset]
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
    rows = method_rows([run for run in runs if run_id(run) not in lost], from_ends)
    study = make_study(rows, **method_manifest(runs))
    found = stages(study, "eval/score")[LOW]
    assert [stage.methods for stage in found] == [("moore", "mopo"), ("awac",)]
    assert found[0].rows["seed"].nunique() == 2
