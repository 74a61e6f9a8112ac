"""Every sampling strategy in the online stage: runs alone and together, told the clock, killed and resumed."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import moore.algorithm.draws
from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.moore import OnlineStage
from moore.algorithm.sampling import (
    CONSUMERS,
    DENSITY_RATIO,
    ROW_STRATEGIES,
    STRATEGIES,
    Mixture,
    Moment,
    SamplingConfig,
    mixture,
)
from moore.run import checkpoint
from moore.run.recorder import Recorder
from tests.algorithm.test_moore import random_data, rows_of, run_online, tiny


def strategy(name: str) -> dict[str, str]:
    return {"model_batches": name, "start_states": name, "real_batches": name}


def sampled(name: str, seed: int, **changes: Any) -> RunConfig:
    """A run whose three consumers draw by one strategy, with small networks where it needs some."""
    small = {"hidden": [8], "batch_size": 16, "model_updates": 5, "lr": 1e-2}
    return tiny(sampling=strategy(name), method=name, seed=seed, density_ratio=small, **changes)


EVERY_STRATEGY = {
    "closed form and rows": [sampled(name, i // 3) for i, name in enumerate((*STRATEGIES, *ROW_STRATEGIES))],
    # the density ratio has networks of its own, so its runs are a cohort of their own
    "density ratio": [
        sampled(DENSITY_RATIO, 0),
        sampled(DENSITY_RATIO, 1),
        dataclasses.replace(sampled(DENSITY_RATIO, 2), sampling=SamplingConfig("uniform", DENSITY_RATIO), method="one"),
    ],
}


@pytest.mark.parametrize("configs", EVERY_STRATEGY.values(), ids=EVERY_STRATEGY)
def test_cohort_is_single_runs(configs: list[RunConfig], tmp_path: Path) -> None:
    """Breaks if a run's rows depend on the other runs of its cohort, or a strategy reaches the wrong run.

    The realised shares are averages of 2 trainings' 144 draws: false alarm 1e-6 for each with another seed.
    """
    _, together = run_online(configs, tmp_path / "together")
    alone = pd.concat([run_online([config], tmp_path / "alone")[1] for config in configs], ignore_index=True)
    keys = [column for column in together.columns if column not in ("wall_seconds", "value")]
    pd.testing.assert_frame_equal(together[keys], alone[keys])
    np.testing.assert_allclose(together["value"], alone["value"], rtol=2e-3, atol=1e-3)
    realised = together[together["metric"] == "sampling/model_batches_online_share"]
    assert len(realised) == 3 * len(configs)
    for config in configs:
        if config.sampling.model_batches in STRATEGIES:
            mine = realised[(realised["method"] == config.method) & (realised["seed"] == config.seed)]
            for t, share in enumerate(mine["value"], 1):
                moments = [Moment(t, n_off=100, n_on=n, epochs=3, epoch_steps=20) for n in (20 * t - 10, 20 * t)]
                expected = np.mean(
                    [float(mixture(config.sampling, "model_batches", now).online_share) for now in moments]
                )
                assert abs(share - expected) <= 4.9 * np.sqrt(expected * (1 - expected) / 288) + 1e-6


def test_strategies_are_told_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy is told another epoch, size or plan than the run's, or not of the latest step."""
    configs = [
        tiny(dataset=name, sampling=strategy("matched_anneal"), online={"epochs": 2}, eval_episodes=1)
        for name in ("some", "few")
    ]
    data = random_data() | {"few": random_data(n=70)["some"]}
    told: set[tuple[str, Moment]] = set()

    def spy(config: SamplingConfig, consumer: str, now: Moment) -> Mixture:
        told.add((consumer, now))
        return mixture(config, consumer, now)

    monkeypatch.setattr(moore.algorithm.draws, "mixture", spy)
    OnlineStage(Cohort(configs, data, "online")).run(Recorder(tmp_path, "study", configs), lambda: None)
    expected = set()
    for step in range(10, 41):
        for n_off in (100, 70):
            now = Moment(1 if step <= 20 else 2, n_off, step, epochs=2, epoch_steps=20)
            expected |= {(consumer, now) for consumer in (CONSUMERS if step % 10 == 0 else ["real_batches"])}
    assert told == expected


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("configs", EVERY_STRATEGY.values(), ids=EVERY_STRATEGY)
def test_killed_stage_continues_bit_for_bit(configs: list[RunConfig], tmp_path: Path) -> None:
    """Breaks if a checkpoint misses weights, what learns them, or what the adaptive penalty remembers.

    In the epoch after the checkpoint, batches are drawn by the weights of the training before it.
    """
    configs = [
        dataclasses.replace(config, penalty=dataclasses.replace(config.penalty, schedule="adaptive"))
        for config in configs
    ]
    _, uninterrupted = run_online(configs, tmp_path / "uninterrupted")
    recorder = Recorder(tmp_path / "killed", "study", configs)
    killed, resumed = (OnlineStage(Cohort(configs, random_data(), "online")) for _ in range(2))

    def save_and_die() -> None:
        if killed.epoch < 1:
            return
        checkpoint.save(tmp_path / "state.pt", {"stage": killed.state(), "recorder": recorder.state()})
        raise Killed

    with pytest.raises(Killed):
        killed.run(recorder, save_and_die)
    saved = checkpoint.load(tmp_path / "state.pt")
    resumed.load(saved["stage"])
    recorder.rewind(saved["recorder"])
    assert resumed.epoch == 1
    resumed.run(recorder, lambda: None)
    one, other = (frame.drop(columns="wall_seconds") for frame in (uninterrupted, rows_of(recorder)))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("name", [*ROW_STRATEGIES, DENSITY_RATIO])
def test_weights_follow_the_data_where_the_model_stays(name: str, tmp_path: Path) -> None:
    """Breaks if a frozen ensemble leaves the strategies without weights, or online transitions out of the draws."""
    config = sampled(name, 0, dynamics={"online_max_updates": 0})
    stage = OnlineStage(Cohort([config], random_data(), "online"))
    cohort = stage.cohort
    cohort.train_model(0)
    assert cohort.ensemble is not None
    before = cohort.ensemble.params.clone()
    recorder = Recorder(tmp_path, "study", [config])
    stage.run(recorder, lambda: None)
    assert torch.equal(cohort.ensemble.params, before)
    rows = rows_of(recorder)
    for consumer in ("start_states", "real_batches"):
        assert (rows.loc[rows["metric"] == f"sampling/{consumer}_online_share", "value"] > 0).all()
    weights = cohort.sampler.density_ratio
    sizes = [weights.known_online] if weights else [len(w) for w in cohort.sampler.priorities.online.values()]
    assert sizes == [] if name == "return_prioritized" else sizes == [60]
