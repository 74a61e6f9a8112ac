"""A stage that is cut at its safe points and goes on from files is the uninterrupted one, for every method."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.dynamics import Ensemble
from moore.run.checkpoints import Checkpoints
from moore.run.recorder import Recorder
from tests.support.agents import method
from tests.support.core import EVERY_STRATEGY, Stage, make_cohort, make_recorder, rows_of, tiny, with_returns

CUTS = 8  # of each stage; the points are drawn

SHORT = {"epochs": 2, "epoch_steps": 20}
RUNS: dict[str, list[RunConfig]] = {
    name: [method(name, seed=seed, online=SHORT) for seed in (0, 1)]
    for name in ("awac", "iql", "td3_bc", "cql_sac", "cal_ql", "rlpd", "wsrl", "mopo", "mopo_naive")
}
# rounds of 100 updates, of which one is cut inside
RUNS["balanced_replay"] = [
    method("balanced_replay", seed=seed, online={**SHORT, "update_interval": 10}) for seed in (0, 1)
]
# past Pendulum's time limit of 200 steps
RUNS["a time limit"] = [
    method("awac", seed=seed, online={"epochs": 2, "epoch_steps": 130, "update_interval": 130}) for seed in (0, 1)
]
# MuJoCo, retraining that is measured, several looks at the holdout error in every training
LOOKS = {"epoch_updates": 4, "offline_max_updates": 14, "online_max_updates": 10}
for fresh in (False, True):
    RUNS[f"moore, {'fresh' if fresh else 'kept'} moments"] = [
        tiny(
            env="inverted_double_pendulum",
            seed=seed,
            dynamics={**LOOKS, "fresh_optimizer": fresh},
            online={**SHORT, "retrain_interval": 10},
            penalty={"schedule": schedule, "rescale": True},
        )
        for seed, schedule in enumerate(("adaptive", "linear_decay"))
    ]
RUNS |= EVERY_STRATEGY
# actor and temperature frozen at the switch for the first of its updates, each of the critics' at three of them
LATE = {**SHORT, "retrain_interval": 10, "utd_ratio": 3, "critic_first_updates": 40}
RUNS["moore_plus"] = [
    method("moore_plus", seed=seed, online=LATE, agent={"online_actor_interval": 3}, sampling={"decay_rate": rate})
    for seed, rate in enumerate((1.0, 4.0))
]
RUNS["mbpo"] = [tiny(dataset=None, seed=seed, dynamics=LOOKS, online={"exploration_steps": 10}) for seed in (0, 1)]


def start(kind: str, runs: list[RunConfig]) -> Stage:
    return Stage(make_cohort(runs, kind, with_returns(runs[0].env, return_range=7.0)))


class Cut(Exception):
    """Stands for the end of the process."""


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and number of a state, with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}/{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from flat(item, f"{name}/{index}")
    else:
        yield name, value.clone() if isinstance(value, Tensor) else value


def run_in_pieces(kind: str, runs: list[RunConfig], root: Path, cuts: list[int]) -> tuple[Stage, Recorder]:
    """End a stage at each of these safe points, with a new one from the files each time."""
    recorder = make_recorder(runs, root / "rows")
    told: list[str] = []
    for cut in [*(b - a for a, b in zip([0, *cuts], cuts, strict=False)), None]:
        stage, left = start(kind, runs), cut
        checkpoints = Checkpoints(root / "stage.pt", "cpu", told.append)
        saved = checkpoints.load(lambda state: None)
        if saved:
            stage.load(saved)
            recorder.rewind(saved["recorder"])

        def safe_point(stage: Stage = stage, checkpoints: Checkpoints = checkpoints) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if left == 0:
                    checkpoints.save({"recorder": recorder.state()} | stage.state())
                    raise Cut

        if cut is None:
            stage.run(recorder, safe_point)
        else:
            with pytest.raises(Cut):
                stage.run(recorder, safe_point)
            recorder._write("lost", 0, 0, {"no checkpoint knows of": [0.0] * len(runs)})
    assert told == []
    return stage, recorder


STAGES = [
    (name, kind)
    for name, runs in RUNS.items()
    for kind in ("offline", "online")
    if kind == "online" or (runs[0].dataset is not None and runs[0].offline.updates > 0)
]


@pytest.mark.parametrize(("name", "kind"), STAGES)
def test_pieces_are_the_whole(name: str, kind: str, tmp_path: Path) -> None:
    """Breaks if a state misses anything that rows or later states depend on, at any safe point of a stage."""
    runs = RUNS[name]
    whole, recorder = start(kind, runs), make_recorder(runs, tmp_path / "whole")
    points: list[bool] = []  # of every safe point, whether a round of updates is under way
    whole.run(recorder, lambda: points.append(whole.cohort.clock.left > 0))
    draw = random.Random(f"{name} {kind}")
    cuts = sorted({*draw.sample(range(1, len(points) + 1), CUTS), *([points.index(True) + 1] if any(points) else [])})
    pieces, recorder_of_pieces = run_in_pieces(kind, runs, tmp_path, cuts)
    one_table, other_table = (rows_of(r).drop(columns="wall_seconds") for r in (recorder_of_pieces, recorder))
    pd.testing.assert_frame_equal(one_table, other_table, check_exact=True)
    one, other = dict(flat(whole.state())), dict(flat(pieces.state()))
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(other[key], value, rtol=0, atol=0, equal_nan=True, msg=key)
        else:
            assert other[key] == value, key


@pytest.mark.parametrize("kind", ["offline", "online"])
@pytest.mark.parametrize("name", ["moore, kept moments", "balanced_replay"])
def test_safe_points_are_dense(name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a stage trains for long without a moment at which it could be saved."""
    runs = RUNS[name]
    stage, done, most = start(kind, runs), {"policy": 0, "ensemble": 0, "steps": 0}, dict[str, int]()
    update_policy, update_model, step = Cohort.update_policy, Ensemble.update, Cohort.interact

    def spied(name: str, original: Callable[..., Any], count: Callable[..., int]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            done[name] += count(*args, **named)
            most[name] = max(done[name], most.get(name, 0))
            return original(*args, **named)

        return call

    monkeypatch.setattr(Cohort, "update_policy", spied("policy", update_policy, lambda self, t, count: count))
    monkeypatch.setattr(Ensemble, "update", spied("ensemble", update_model, lambda *_: 1))
    monkeypatch.setattr(Cohort, "interact", spied("steps", step, lambda *_: 1))
    stage.run(make_recorder(runs, tmp_path), lambda: done.update(dict.fromkeys(done, 0)))
    expected = {"policy": 1} if kind == "offline" else {"policy": 50 if name == "balanced_replay" else 1, "steps": 1}
    assert most == expected | ({"ensemble": 1} if name.startswith("moore") else {})
