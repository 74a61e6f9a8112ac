"""The shipped studies and scales: they load, keep the schedule's shape, and variants differ in the named keys only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from moore.errors import UserError
from moore.sampling import STRATEGIES, SamplingConfig
from moore.study import ABLATIONS_DIR, load_study

SCALES = sorted((ABLATIONS_DIR / "scales").glob("*.yaml"))
STUDY = ABLATIONS_DIR / "sampling.yaml"


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_scale_keeps_the_shape_of_the_schedule(scale: Path) -> None:
    """Breaks if N_off / (S T^2) is not the paper's 0.1: the decay rate would mean something else."""
    for run in load_study(STUDY, scale).runs:
        if run.dataset is not None:
            assert run.dataset_transitions is not None
            ratio = run.dataset_transitions / (run.online.epoch_steps * run.online.epochs**2)
            assert ratio == pytest.approx(0.1)


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_variants_differ_in_the_strategy_only(scale: Path) -> None:
    """Breaks if a variant changes anything that its YAML does not name."""
    study = load_study(STUDY, scale)
    by_method: dict[str, list[object]] = {}
    for run in study.runs:
        if run.dataset is not None:
            by_method.setdefault(run.method, []).append(replace(run, method="", sampling=SamplingConfig()))
            assert run.sampling == SamplingConfig(run.method, run.method, run.method)
    assert set(by_method) == set(STRATEGIES)
    assert all(runs == by_method["prioritized"] for runs in by_method.values())


@pytest.mark.parametrize("scale", SCALES, ids=lambda path: path.stem)
def test_a_cohort_holds_all_strategies_and_seeds_of_a_dataset(scale: Path) -> None:
    """Breaks if runs that could share a process are split, or references lose their own cohort."""
    study = load_study(STUDY, scale)
    seeds = len(yaml.safe_load(scale.read_text())["seeds"])
    cohorts = study.cohorts()
    for cohort in cohorts:
        assert len(cohort) == seeds * (len(STRATEGIES) if cohort[0].dataset else 1)
    assert sum(map(len, cohorts)) == len(study.runs)


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("scale: mini", "scale: ../elsewhere", "scale: '../elsewhere' is not accepted"),
        ("seeds: [0, 1, 2, 3, 4]", "seeds: []", "seeds: expected a non-empty list"),
        ("tasks:", 'tasks:\n  - {env: pendulum, dataset: "self:pendulum-low", penalty: {coef: 9}}', "occurs twice"),
    ],
)
def test_bad_scales_are_refused(tmp_path: Path, old: str, new: str, part: str) -> None:
    """Breaks if a scale with two runs for one cell, or a name outside the results folder, is accepted."""
    text = (ABLATIONS_DIR / "scales" / "mini.yaml").read_text()
    assert old in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as error:
        load_study(STUDY, path)
    assert str(error.value).startswith(f"{path}: ")
    assert part in str(error.value)
