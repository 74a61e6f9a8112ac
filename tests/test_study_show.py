"""`moore study show`: counts that are right, a cost in proportion, and bad input."""

from __future__ import annotations

import dataclasses

import pytest

from moore import cost
from moore.cli import main
from moore.cost import Estimate, estimate
from moore.show import duration
from moore.study import ABLATIONS_DIR, load_study

MINI = ABLATIONS_DIR / "scales" / "mini.yaml"


def test_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if runs, cohorts or shared offline stages are miscounted, or a shared stage is paid twice."""
    hour = lambda runs: 3600.0 if runs[0].dataset and runs[0].offline.updates else 0.0  # noqa: E731
    monkeypatch.setattr("moore.show.estimate", lambda runs, device: Estimate(hour(runs), 7200.0, 2**20))
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


def test_cost_is_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a budget is left out of the estimate or counted for the wrong stage."""
    times = cost._Times(update=2.0, critic_update=1.0, model_update=0.5, rollout=10.0, env_step=0.01)
    monkeypatch.setattr(cost, "_times", lambda *_: times)
    run = load_study(ABLATIONS_DIR / "where.yaml", MINI).runs[0]
    steps = 200 * run.eval_episodes * 0.01  # an episode of the pendulum has 200 steps
    seeds = [dataclasses.replace(run, seed=seed) for seed in range(3)]
    forks = [dataclasses.replace(one, method=name) for one in seeds for name in ("a", "b")]
    got = estimate(forks)
    assert got.offline == pytest.approx(3 * (12_000 * 2.0 + 3000 * 0.5 + 48 * 10.0 + 9 * steps))
    # 40 retrainings; 8 evaluations in the first tenth, then one each epoch; J_0
    evaluations = 1 + 8 + 18
    assert got.online == pytest.approx(6 * (10_000 * 2.0 + 40 * (50 * 0.5 + 10.0) + 5000 * 0.01 + evaluations * steps))
    frozen = dataclasses.replace(run, online=dataclasses.replace(run.online, utd_ratio=0))
    assert estimate([frozen]).online == pytest.approx(5000 * 0.01 + evaluations * steps)


def test_measured_cost_and_checkpoint() -> None:
    """Breaks if a part is not timed at all, or the checkpoint's size leaves out a buffer."""
    run = load_study(ABLATIONS_DIR / "where.yaml", MINI).runs[0]
    one, three = estimate([run]), estimate([dataclasses.replace(run, seed=seed) for seed in range(3)])
    assert one.offline > 0
    assert one.online > 0
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
