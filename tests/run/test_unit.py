"""A whole unit: forks start alike, a killed unit continues bit for bit."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from moore.agents.sac import SAC
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import from_mapping
from moore.data.hdf5 import dataset_hash
from moore.data.load import load_dataset
from moore.run.stop import SafePoints, StopRequest
from moore.studies.axes import merge
from moore.studies.identity import offline_key
from tests.support.core import Stage, make_cohort, make_recorder, tiny
from tests.support.resume_units import RUN, rows, run_to_end, write_unit
from tests.support.state import tensors


def write(root: Path) -> Path:
    """The spec of a unit of two strategies on two seeds: four epochs after 60 offline updates."""
    longer = {"offline": {"updates": 60}, "online": {"epochs": 4}}
    base = merge(RUN, longer | {"penalty": {"uncertainty": "ensemble_std", "rescale": True}})
    variants = {"prioritized": {}, "uniform": {"model_batches": "uniform", "start_states": "uniform"}}
    changes = [
        {"method": name, "seed": seed, "sampling": sampling} for name, sampling in variants.items() for seed in (0, 1)
    ]
    return write_unit(root, [from_mapping(merge(base, change), "test") for change in changes])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("uninterrupted")
    run_to_end(write(root))
    return root


def test_forks_start_alike(uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if variants of one seed start from different parameters or optimisers, or not from the offline ones."""
    cohorts: list[Cohort] = []
    monkeypatch.setattr("moore.run.unit.moore", lambda cohort, *_: cohorts.append(cohort))
    (tmp_path / "cache").symlink_to(uninterrupted / "cache")  # the offline stages are there
    (tmp_path / "data").symlink_to(uninterrupted / "data")
    run_to_end(write(tmp_path))
    (cohort,) = cohorts
    assert isinstance(cohort.agent, SAC)
    data = dataset_hash(load_dataset(RUN["dataset"], uninterrupted / "data", transitions=300))
    for run, config in enumerate(cohort.configs):
        path = uninterrupted / "cache" / "offline" / f"{offline_key(config, data)}.pt"
        saved = torch.load(path, weights_only=True)
        for part, state in (("agent", cohort.agent), ("ensemble", cohort.ensemble)):
            now = {key: value for key, value in tensors(state).items() if not key.startswith("training/")}
            known = tensors(saved[part])
            assert now.keys() == known.keys()
            for key, value in now.items():
                assert torch.equal(value[run], known[key][0]), key
    assert (cohort.agent.actor_adam.steps == 60).all()
    assert cohort.ensemble.fitted
    assert (cohort.ensemble.uncertainty_scale != 1).all()
    assert not torch.equal(cohort.agent.actor_params[0], cohort.agent.actor_params[1])


def test_j0_is_paired(uninterrupted: Path) -> None:
    """Breaks if variants of one seed do not meet the same episodes with the same policy before the first step."""
    table = rows(uninterrupted)
    j0 = table[(table["phase"] == "online") & (table["env_steps"] == 0) & (table["metric"] == "eval/return")]
    assert (j0.groupby("seed")["value"].nunique() == 1).all()
    assert j0["value"].nunique() == 2


def test_an_offline_cohort_goes_with_its_stage(tmp_path: Path) -> None:
    """Breaks if the offline stage's D_model stays in memory beside the online one's."""

    def train() -> weakref.ref[Cohort]:
        cohort = make_cohort([tiny()], "offline")
        recorder = make_recorder(cohort.configs, tmp_path)
        Stage(cohort).run(recorder, SafePoints(lambda: print(cohort.seeds), StopRequest(), 30.0, None))
        return weakref.ref(cohort)

    gc.disable()  # circles would stay
    try:
        assert train()() is None
    finally:
        gc.enable()
