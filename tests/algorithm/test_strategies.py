"""Every sampling strategy in the online stage: runs alone and together, told the clock, killed and resumed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import moore.algorithm.draws
from moore.algorithm.config import RunConfig
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, STRATEGIES, Mixture, Moment, SamplingConfig
from tests.support.core import (
    EVERY_STRATEGY,
    Stage,
    make_cohort,
    random_data,
    run_online,
    run_stage,
    sampled,
    strategy,
    tiny,
)


@pytest.mark.parametrize("configs", EVERY_STRATEGY.values(), ids=EVERY_STRATEGY)
def test_cohort_is_single_runs(configs: list[RunConfig], tmp_path: Path) -> None:
    """Breaks if a run's rows depend on the other runs of its cohort."""
    _, together = run_online(configs, tmp_path / "together")
    alone = pd.concat([run_online([config], tmp_path / "alone")[1] for config in configs], ignore_index=True)
    keys = [column for column in together.columns if column not in ("wall_seconds", "value")]
    pd.testing.assert_frame_equal(together[keys], alone[keys])
    np.testing.assert_allclose(together["value"], alone["value"], rtol=2e-3, atol=1e-3)


def test_strategies_are_told_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy is told another epoch, size or plan than the run's, or not of the latest step."""
    configs = [
        tiny(dataset=name, sampling=strategy("matched_anneal"), online={"epochs": 2}, eval_episodes=1)
        for name in ("some", "few")
    ]
    data = random_data() | {"few": random_data(n=70)["some"]}
    told: set[tuple[str, Moment]] = set()

    def spied(name: str, key: str) -> Callable[[SamplingConfig, Moment], Mixture]:
        def spy(config: SamplingConfig, now: Moment) -> Mixture:
            told.add((key.removeprefix("sampling."), now))
            return STRATEGIES[name](config, now)

        return spy

    monkeypatch.setattr(moore.algorithm.draws, "find_strategy", spied)
    run_stage(Stage(make_cohort(configs, "online", data)), tmp_path)
    expected = set()
    for step in range(10, 41):
        for n_off in (100, 70):
            now = Moment(1 if step <= 20 else 2, n_off, step, epochs=2, epoch_steps=20)
            expected |= {(consumer, now) for consumer in (CONSUMERS if step % 10 == 0 else ["real_batches"])}
    assert told == expected


@pytest.mark.parametrize("name", [*ROW_STRATEGIES, DENSITY_RATIO])
def test_weights_follow_the_data_where_the_model_stays(name: str, tmp_path: Path) -> None:
    """Breaks if a frozen ensemble leaves the strategies without weights, or online transitions out of the draws."""
    config = sampled(name, 0, dynamics={"online_max_updates": 0})
    stage = Stage(make_cohort([config], "online"))
    cohort = stage.cohort
    cohort.train_model(0)
    before = cohort.ensemble.params.clone()
    rows = run_stage(stage, tmp_path)
    assert torch.equal(cohort.ensemble.params, before)
    for consumer in ("start_states", "real_batches"):
        assert rows.loc[rows["metric"] == f"sampling/{consumer}_online_share", "value"].min() > 0
    weights = cohort.draws.density_ratio
    sizes = [weights.known_online] if weights else [len(w) for w in cohort.draws.row_weights.online.values()]
    assert sizes == [] if name == "return_prioritized" else sizes == [60]
