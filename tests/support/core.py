"""The smallest configs, datasets, cohorts and stages: their construction happens here alone."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping
from moore.algorithm.moore import moore
from moore.algorithm.mopo import mopo
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import DENSITY_RATIO, STRATEGIES, SamplingConfig
from moore.data.transitions import Transitions
from moore.envs.spec import ENVIRONMENTS
from moore.envs.vector_env import VectorEnv
from moore.run.recorder import Recorder
from moore.studies.axes import merge

TINY: dict[str, Any] = yaml.safe_load("""
env: pendulum
dataset: some
real_ratio: 0.25
eval_episodes: 2
agent: {hidden: [8], batch_size: 8}
dynamics: {ensemble_size: 3, num_elites: 2, hidden: [8], weight_decay: [0.0, 0.0], batch_size: 8, max_holdout: 20,
           epoch_updates: 6, offline_max_updates: 6, online_max_updates: 6}
rollout: {length: 2, batch_size: 8, retain: 3}
offline: {updates: 20, rollout_interval: 10, eval_interval: 10}
online: {epochs: 3, epoch_steps: 20, retrain_interval: 10, utd_ratio: 1}
""")
FLOOR = -50.0  # what `with_returns` says about time after a time limit


def tiny(**changes: Any) -> RunConfig:
    """The smallest online run, with changes laid over it."""
    return from_mapping(merge(TINY, changes), "test")


def random_data(env: str = "pendulum", n: int = 100) -> dict[str, Transitions]:
    """Transitions without meaning."""
    rng, spec = np.random.default_rng(0), ENVIRONMENTS[env]
    obs, next_obs = rng.normal(size=(2, n, spec.obs_dim)).astype(np.float32)
    action = rng.uniform(-1, 1, size=(n, spec.action_dim)).astype(np.float32)
    reward = rng.normal(size=n).astype(np.float32)
    returns = rng.normal(size=n).astype(np.float32)
    return {"some": Transitions(obs, action, reward, next_obs, np.zeros(n, dtype=bool), episode_return=returns)}


def with_returns(env: str, n: int = 100, **changes: Any) -> dict[str, Transitions]:
    """Transitions without meaning, with returns for the methods that read them."""
    data = random_data(env, n)["some"]
    return {"some": replace(data, return_to_go=data.reward, return_floor=FLOOR, **changes)}


def make_cohort(
    configs: Sequence[RunConfig], stage: str, data: Mapping[str, Transitions] | None = None, device: str = "cpu"
) -> Cohort:
    """A cohort that has learnt nothing; without data of its own on `random_data`."""
    return Cohort(list(configs), random_data(configs[0].env) if data is None else dict(data), stage, device)


class Stage:
    """A cohort with its stage's loop."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort

    @property
    def env(self) -> VectorEnv:
        return self.cohort.interaction.env

    def run(self, recorder: Recorder, safe_point: Callable[[], None]) -> None:
        loop = mopo if self.cohort.stage == "offline" else moore
        loop(self.cohort, recorder, safe_point)

    def state(self) -> dict[str, Any]:
        return {"cohort": self.cohort.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.cohort.load(state["cohort"])


def make_recorder(configs: Sequence[RunConfig], root: Path) -> Recorder:
    """A recorder of the runs below root, at its beginning."""
    recorder = Recorder(root, "study", list(configs))
    recorder.rewind(None)
    return recorder


def run_stage(stage: Stage, root: Path) -> pd.DataFrame:
    """Finish a stage; its rows."""
    recorder = make_recorder(stage.cohort.configs, root)
    stage.run(recorder, lambda: None)
    return rows_of(recorder)


def run_online(configs: Sequence[RunConfig], root: Path) -> tuple[Stage, pd.DataFrame]:
    """The finished online stage and its rows."""
    stage = Stage(make_cohort(configs, "online"))
    return stage, run_stage(stage, root)


def rows_of(recorder: Recorder) -> pd.DataFrame:
    """The rows of all runs."""
    return pd.concat([pd.read_csv(path) for path in recorder.paths], ignore_index=True)


def strategy(name: str) -> dict[str, str]:
    """Settings of `sampling` by which all three consumers draw by one strategy."""
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
