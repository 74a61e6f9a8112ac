"""`moore study show`: counts that are right, a cost in proportion, and bad input."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.base.words import duration
from moore.cli.main import main
from moore.studies import estimate as timing
from moore.studies.axes import merge
from moore.studies.estimate import Line, estimate, times, weights_seconds
from moore.studies.study import ABLATIONS_DIR, load_study

MINI = ABLATIONS_DIR / "scales" / "mini.yaml"
COSTS = {"policy updates": 2.0, "ensemble updates": 0.5, "rollouts": 10.0, "environment steps": 0.01}
COSTS |= {"evaluation steps": 0.02}


def seconds(lines: list[Line], stage: str) -> float:
    return sum(line.total for line in lines if line.stage == stage)


def pendulum() -> RunConfig:
    return load_study(ABLATIONS_DIR / "where.yaml", MINI).runs[0]


def test_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if runs, cohorts or shared offline stages are miscounted, or a shared stage is paid twice."""

    def fixed(runs: list[RunConfig], device: str) -> list[Line]:
        lines = [Line("online", "policy updates", 1, 1, 7200.0)]
        if runs[0].dataset and runs[0].offline.updates:
            lines.append(Line("offline", "policy updates", 1, 1, 3600.0))
        return lines

    monkeypatch.setattr(timing, "estimate", fixed)
    assert main(["study", "show", "all-methods", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    study = load_study(ABLATIONS_DIR / "all-methods.yaml", MINI)
    assert f"{len(study.runs)} runs of {len({run.method for run in study.runs})} methods" in out
    # moore+mbpo_warm, mopo and mopo_naive start from one stage on each of 4 tasks; rlpd has none
    assert f"{len(study.cohorts())} units, one process each; 160 offline stages for 220 runs" in out
    stages = 4 * len(("moore", "balanced_replay", "awac", "iql", "td3_bc", "cql_sac", "cal_ql", "wsrl"))
    hours = 2 * len(study.cohorts()) + stages
    assert f"about {duration(3600 * hours)} of one process" in out
    assert duration(1800 * hours) in out
    assert out.count("5 shared") == 8


def test_the_longest_unit_comes_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a unit is divided among workers, or a worker waits for no reason."""
    others = len(load_study(ABLATIONS_DIR / "all-methods.yaml", MINI).cohorts()) - 1
    hours = iter([*[1] * others, others])
    monkeypatch.setattr(timing, "estimate", lambda *_: [Line("online", "policy updates", 1, 1, 3600.0 * next(hours))])
    assert main(["study", "show", "all-methods", "--workers", "2"]) == 0
    assert f"{duration(3600 * others)} with 2 at once" in capsys.readouterr().out


def test_cost_is_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a budget is left out of the estimate or counted for the wrong stage."""
    monkeypatch.setattr(timing, "times", lambda *_: COSTS)
    run = pendulum()
    steps = 200 * run.eval_episodes * 0.02  # an episode of the pendulum has 200 steps
    seeds = [dataclasses.replace(run, seed=seed) for seed in range(3)]
    forks = [dataclasses.replace(one, method=name) for one in seeds for name in ("a", "b")]
    got = estimate(forks)
    assert seconds(got, "offline") == pytest.approx(3 * (12_000 * 2.0 + 3000 * 0.5 + 48 * 10.0 + 9 * steps))
    # 40 retrainings; 8 evaluations in the first tenth, then one each epoch; J_0
    evaluations = 1 + 8 + 18
    online = run.online.utd_ratio * (5000 - 124) * 2.0 + 40 * (50 * 0.5 + 10.0) + 5000 * 0.01 + evaluations * steps
    assert seconds(got, "online") == pytest.approx(6 * online)
    frozen = dataclasses.replace(run, online=dataclasses.replace(run.online, utd_ratio=0))
    assert seconds(estimate([frozen]), "online") == pytest.approx(5000 * 0.01 + evaluations * steps)
    # from scratch the first of 40 trainings is the long one
    scratch = estimate([dataclasses.replace(run, dataset=None, dataset_transitions=None)])
    assert seconds(scratch, "offline") == 0
    assert seconds(scratch, "online") == pytest.approx(online + (3000 - 50) * 0.5)


@pytest.mark.parametrize("strategy", [*ROW_STRATEGIES, "density_ratio", "oorb"])
def test_weights_are_paid_once_a_retraining(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy's weights cost nothing, are paid by other runs, or leave transitions out."""
    asked = []

    def weights(config: RunConfig, transitions: int, device: str) -> float:
        asked.append((config.sampling.start_states, transitions))
        return 0.25

    monkeypatch.setattr(timing, "times", lambda *_: COSTS)
    monkeypatch.setattr(timing, "weights_seconds", weights)
    plain = pendulum()
    sampling = dataclasses.replace(plain.sampling, start_states=strategy)
    weighed = [dataclasses.replace(plain, sampling=sampling, seed=seed) for seed in range(3)]
    more = seconds(estimate([plain, *weighed]), "online") - seconds(estimate([plain] * 4), "online")
    assert more == pytest.approx(3 * 40 * 0.25)  # 40 retrainings
    assert asked == [(strategy, 10_000 + 5000 // 2)]


@pytest.mark.parametrize("strategy", [*ROW_STRATEGIES, "density_ratio", "oorb"])
def test_every_strategy_can_be_timed(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy's weights cannot be made on random transitions, or nothing is timed."""
    monkeypatch.setattr(timing, "MOMENT", 0.0)
    run = pendulum()
    changes = {"dynamics": {"hidden": [8, 8, 8]}, "density_ratio": {"hidden": [8], "model_updates": 2}}
    config = from_mapping(merge(to_mapping(run), changes | {"sampling": {"model_batches": strategy}}), "test")
    assert weights_seconds.__wrapped__(config, 60, "cpu") > 0


@pytest.mark.parametrize("stage", ["offline", "online"])
def test_times_are_of_one_call_of_one_run(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if what is timed is not shared out to runs, calls, start states and imagined steps."""
    done: list[tuple[str, object]] = []

    def moves(name: str) -> Callable[..., None]:
        move = getattr(Cohort, name)

        def noted(*args: object, **more: object) -> None:
            bound = inspect.signature(move).bind(*args, **more).arguments
            done.append((name, bound.get("count")))
            move(*args, **more)

        return noted

    for name in ("train_model", "imagine", "update_policy"):
        monkeypatch.setattr(Cohort, name, moves(name))
    monkeypatch.setattr(timing, "_seconds", lambda call, device: (call(), 840.0)[1])
    run = pendulum()
    changes = {"rollout": {"batch_size": 400, "length": 3}, "online": {"rollout_length": 5}}
    run = from_mapping(merge(to_mapping(run), changes | {"agent": {"online_actor_interval": 4}}), "test")
    monkeypatch.setitem(timing.BRANCHES, "cpu", 120)
    got = times.__wrapped__(run, stage, 3, "cpu", 500)
    interval, length = (4, 5) if stage == "online" else (1, 3)
    assert got["ensemble updates"] == 840 / timing.MODEL_UPDATES / 3
    assert got["rollouts"] == pytest.approx(840 * 400 / 40 * length / 3)  # 120 start states for three runs
    assert got["policy updates"] == 840 / interval / 3
    assert got.get("environment steps") == (280 if stage == "online" else None)
    assert got["evaluation steps"] == 280 / run.eval_episodes
    # the first rollout fills D_model
    assert done == [("imagine", None), ("train_model", None), ("imagine", None), ("update_policy", interval)]


def test_timed_trainings_do_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a timed ensemble converges or stops before its updates are done."""
    cohort = timing.random_cohort(timing._shortened(pendulum(), 10), 2, "online", "cpu", 300)
    cohort.metrics.flush()
    cohort.train_model(timing.EPOCH["online"])
    assert cohort.metrics.flush()["model/updates"] == [timing.MODEL_UPDATES] * 2


def test_measured_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Breaks if a part is not timed at all, or who asks for the cost waits until updates are compiled."""
    monkeypatch.setenv("MOORE_COMPILE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines = estimate([pendulum()])
    assert {(line.stage, line.what) for line in lines} == {
        (stage, what)
        for stage in ("offline", "online")
        for what in COSTS
        if (stage, what) != ("offline", "environment steps")
    }
    assert all(0 < line.seconds < math.inf for line in lines)
    assert not list(tmp_path.rglob("*.so"))


def test_durations() -> None:
    """Breaks if a unit is off."""
    assert [duration(x) for x in (5, 600, 7200, 4 * 86_400)] == ["5 s", "10 min", "2.0 h", "4.0 days"]
