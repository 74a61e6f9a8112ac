"""`moore study show`: counts that are right, a cost in proportion, and bad input."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable

import pytest

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.cli.main import main
from moore.cli.show import duration, mebibytes
from moore.studies import cost, timing
from moore.studies.cost import TIMED, Estimate, Line, estimate
from moore.studies.memory import cohort_memory
from moore.studies.study import ABLATIONS_DIR, load_study
from moore.studies.timing import Times, times, weights_seconds

MINI = ABLATIONS_DIR / "scales" / "mini.yaml"
COSTS = Times(update=2.0, model_update=0.5, rollout=10.0, env_step=0.01, evaluation_step=0.02)


def pendulum() -> RunConfig:
    return load_study(ABLATIONS_DIR / "where.yaml", MINI).runs[0]


def test_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if runs, cohorts or shared offline stages are miscounted, or a shared stage is paid twice."""

    def fixed(runs: list[RunConfig], device: str) -> Estimate:
        lines = [Line("online", "policy updates", 1, 1, 7200.0)]
        if runs[0].dataset and runs[0].offline.updates:
            lines.append(Line("offline", "policy updates", 1, 1, 3600.0))
        return Estimate(tuple(lines), 2**20)

    monkeypatch.setattr(cost, "estimate", fixed)
    assert main(["study", "show", "all-methods", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    study = load_study(ABLATIONS_DIR / "all-methods.yaml", MINI)
    assert f"{len(study.runs)} runs of 14 methods" in out
    # moore+mbpo_warm, mopo and mopo_naive start from one stage on each of 4 tasks; rlpd has none
    assert f"{len(study.cohorts())} cohorts, one process each; 160 offline stages for 220 runs" in out
    stages = 4 * len(("moore", "balanced_replay", "awac", "iql", "td3_bc", "cql_sac", "cal_ql", "wsrl"))
    hours = 2 * len(study.cohorts()) + stages
    assert f"about {duration(3600 * hours)} of one process" in out
    assert duration(1800 * hours) in out
    assert out.count("5 shared") == 8


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_shown(device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a cohort's memory, or what a run adds to it, is not that of the device."""
    monkeypatch.setattr(cost, "estimate", lambda runs, device: Estimate((), 0))
    monkeypatch.setattr("moore.cli.study.check_device", lambda device: None)
    assert main(["study", "show", "decay_rate", "--device", device]) == 0
    out = capsys.readouterr().out
    cohorts = load_study(ABLATIONS_DIR / "decay_rate.yaml", MINI).cohorts()
    expected = [cohort_memory(runs, device) for runs in cohorts]
    for line, memory in zip(out.splitlines()[1:], expected, strict=False):
        assert " ".join(line.split()).endswith(f" {mebibytes(memory.total)} {mebibytes(max(memory.runs))}")
    assert f"memory of one process: at most {mebibytes(max(memory.total for memory in expected))}" in out


def test_cost_is_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a budget is left out of the estimate or counted for the wrong stage."""
    monkeypatch.setattr(cost, "times", lambda *_: COSTS)
    run = pendulum()
    steps = 200 * run.eval_episodes * 0.02  # an episode of the pendulum has 200 steps
    seeds = [dataclasses.replace(run, seed=seed) for seed in range(3)]
    forks = [dataclasses.replace(one, method=name) for one in seeds for name in ("a", "b")]
    got = estimate(forks)
    assert got.seconds("offline") == pytest.approx(3 * (12_000 * 2.0 + 3000 * 0.5 + 48 * 10.0 + 9 * steps))
    # 40 retrainings; 8 evaluations in the first tenth, then one each epoch; J_0
    evaluations = 1 + 8 + 18
    online = 2 * (5000 - 124) * 2.0 + 40 * (50 * 0.5 + 10.0) + 5000 * 0.01 + evaluations * steps
    assert got.seconds("online") == pytest.approx(6 * online)
    frozen = dataclasses.replace(run, online=dataclasses.replace(run.online, utd_ratio=0))
    assert estimate([frozen]).seconds("online") == pytest.approx(5000 * 0.01 + evaluations * steps)
    # from scratch the first of 40 trainings is the long one
    scratch = estimate([dataclasses.replace(run, dataset=None, dataset_transitions=None)])
    assert scratch.seconds("offline") == 0
    assert scratch.seconds("online") == pytest.approx(online + (3000 - 50) * 0.5)


@pytest.mark.parametrize("strategy", [*ROW_STRATEGIES, "density_ratio", "oorb"])
def test_weights_are_paid_once_a_retraining(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy's weights cost nothing, are paid by other runs, or leave transitions out."""
    asked = []

    def weights(config: RunConfig, transitions: int, device: str) -> float:
        asked.append((config.sampling.start_states, transitions))
        return 0.25

    monkeypatch.setattr(cost, "times", lambda *_: COSTS)
    monkeypatch.setattr(cost, "weights_seconds", weights)
    plain = pendulum()
    sampling = dataclasses.replace(plain.sampling, start_states=strategy)
    weighed = [dataclasses.replace(plain, sampling=sampling, seed=seed) for seed in range(3)]
    more = estimate([plain, *weighed]).seconds("online") - estimate([plain] * 4).seconds("online")
    assert more == pytest.approx(3 * 40 * 0.25)  # 40 retrainings
    assert asked == [(strategy, 10_000 + 5000 // 2)]


def test_weights_grow_with_the_transitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if the line through two sizes is not followed, or the online transitions in them are forgotten."""
    run = pendulum()
    known = run.online.epoch_steps  # online transitions of the timed cohort
    monkeypatch.setattr(timing, "_refresh_seconds", lambda config, offline, device: 3.0 + 1e-4 * (offline + known))
    assert weights_seconds.__wrapped__(run, 10**6, "cpu") == pytest.approx(3.0 + 100.0)


@pytest.mark.parametrize("strategy", [*ROW_STRATEGIES, "density_ratio", "oorb"])
def test_every_strategy_can_be_timed(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a strategy's weights cannot be made on random transitions, or nothing is timed."""
    monkeypatch.setattr(timing, "MOMENT", 0.0)
    monkeypatch.setattr(timing, "ROWS", (60, 120))
    run = pendulum()
    dynamics = dataclasses.replace(run.dynamics, hidden=(8, 8, 8))
    ratio = dataclasses.replace(run.density_ratio, hidden=(8,), model_updates=2)
    sampling = dataclasses.replace(run.sampling, model_batches=strategy)
    config = dataclasses.replace(run, dynamics=dynamics, density_ratio=ratio, sampling=sampling)
    assert timing._refresh_seconds(config, 60, "cpu") > 0


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
    run = dataclasses.replace(
        run,
        rollout=dataclasses.replace(run.rollout, batch_size=400, length=3),
        online=dataclasses.replace(run.online, actor_interval=4, rollout_length=5),
    )
    got = times.__wrapped__(run, stage, 3, "cpu", 500, 120)
    interval, length = (4, 5) if stage == "online" else (1, 3)
    assert got.model_update == 840 / timing.MODEL_UPDATES / 3
    assert got.rollout == pytest.approx(840 * 400 / 40 * length / 3)  # 120 start states for three runs
    assert got.update == 840 / interval / 3
    assert got.env_step == (280 if stage == "online" else 0)
    assert got.evaluation_step == 280 / run.eval_episodes
    # the first rollout fills D_model
    assert done == [("imagine", None), ("train_model", None), ("imagine", None), ("update_policy", interval)]


def test_timed_trainings_do_what_they_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a timed ensemble converges or stops before its updates are done."""
    cohort = timing.random_cohort(timing._shortened(pendulum(), 10), 2, "online", "cpu", 300)
    cohort.metrics.flush()
    cohort.train_model(timing.EPOCH)
    assert cohort.metrics.flush()["model/updates"] == [timing.MODEL_UPDATES] * 2


def test_measured_cost_and_checkpoint() -> None:
    """Breaks if a part is not timed at all, or the checkpoint's size leaves out a buffer."""
    run = pendulum()
    one, three = estimate([run]), estimate([dataclasses.replace(run, seed=seed) for seed in range(3)])
    assert {(line.stage, line.what) for line in one.lines} == {
        (stage, what)
        for stage in ("offline", "online")
        for what in TIMED
        if (stage, what) != ("offline", "environment steps")
    }
    assert all(0 < line.seconds < math.inf for line in one.lines)
    assert three.checkpoint == 3 * one.checkpoint
    row = 4 * (2 * 3 + 1 + 2)
    buffers = row * (5000 + 20 * 3 * 400)
    assert buffers < one.checkpoint < 20 * buffers


def test_durations() -> None:
    """Breaks if a unit is off."""
    assert [duration(x) for x in (5, 600, 7200, 4 * 86_400)] == ["5 s", "10 min", "2.0 h", "4.0 days"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["nowhere"], "'nowhere' is not in ablations/"),
        (["sampling", "--scale", "huge"], "'huge' is not in scales/"),
        (["sampling", "--device", "abacus"], "--device: 'abacus' is not available here"),
    ],
)
def test_bad_input(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if bad input is not one line with exit code 2."""
    assert main(["study", "show", *arguments]) == 2
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
