"""The benchmarks' own arithmetic, clocks and report; how fast anything is, no test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moore.agents.registry import make_agent
from moore.algorithm.cohort import Cohort
from moore.algorithm.moore import OnlineStage
from moore.algorithm.mopo import offline_stage
from moore.base.errors import UserError
from moore.networks.mlp import MLP
from moore.run.recorder import Recorder
from moore.studies.estimate import random_transitions
from tests.benchmarks import tracing
from tests.benchmarks.bench import main
from tests.benchmarks.cases import METHOD_STAGES, UNITS, Case, configuration, evaluation, prepared, update_flops
from tests.benchmarks.phases import PHASES, Slice, cohort_of, scaled, split, whole_counts
from tests.benchmarks.running import LeftOut, Runner, Settings
from tests.benchmarks.tables import left_out
from tests.benchmarks.tracing import Clocks

SCALE = """
scale: tiny
seeds: [0, 1]
defaults:
  dataset_transitions: 300
  real_ratio: 0.25
  eval_episodes: 1
  sac: {hidden: [64, 64], batch_size: 16}
  dynamics: {ensemble_size: 2, num_elites: 1, hidden: [8], weight_decay: [0, 0], batch_size: 16, max_holdout: 30,
             epoch_updates: 5, patience: 100, offline_max_updates: 20, online_max_updates: 3}
  rollout: {length: 2, batch_size: 20, retain: 2}
  offline: {updates: 25, rollout_interval: 10, eval_interval: 10}
  online: {epochs: 3, epoch_steps: 20, retrain_interval: 10, utd_ratio: 2}
tasks:
  - {env: pendulum, dataset: "self:pendulum-medium"}
methods:
  sac: {online: {exploration_steps: 5}}
  mbpo: {online: {exploration_steps: 5}}
"""


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scale file with a run of a second."""
    path = tmp_path_factory.mktemp("scale") / "tiny.yaml"
    path.write_text(SCALE)
    return path


@pytest.fixture
def plain_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks in the plain formulas, under autograd: every gradient that is needed is a product that is counted."""

    def call(net: MLP, params: Tensor, *inputs: Tensor) -> Tensor:
        lead = params.shape[:-1]
        (first, bias), *others = net.layers(params.flatten(0, -2))
        parts = first.split([x.shape[-1] for x in inputs], 1)
        z = bias + sum(torch.bmm(x.flatten(0, -3), part) for x, part in zip(inputs, parts, strict=True))
        for weight, bias in others:
            if net.layer_norm:
                z = F.layer_norm(z, z.shape[-1:])
            z = torch.baddbmm(bias, F.relu(z) if net.activation == "relu" else F.silu(z), weight)
        return z.unflatten(0, lead)

    monkeypatch.setattr(MLP, "__call__", call)


def counted(case: Case) -> tuple[int, float]:
    """What torch counts in one call of a case, and what the report says."""
    with prepared(case, "cpu") as work:
        with FlopCounterMode(display=False) as counter:
            work.call()
        return counter.get_total_flops(), work.flops


@pytest.mark.usefixtures("plain_networks")
@pytest.mark.parametrize(("method", "stage"), [("sac", "online"), *METHOD_STAGES])
def test_arithmetic_of_updates(method: str, stage: str) -> None:
    """Breaks if a pass of a network is forgotten, or counted twice."""
    found, said = counted(Case("SAC updates", method, 2, 8, stage))
    assert found == said


@pytest.mark.usefixtures("plain_networks")
@pytest.mark.parametrize("group", ["ensemble training", "rollouts"])
def test_arithmetic_of_the_model(group: str) -> None:
    """The same for the ensemble's training and for what a rollout does."""
    found, said = counted(Case(group, "sac", 2, 8))
    assert found == said


def test_networks_of_the_suite_multiply_no_more_than_is_counted() -> None:
    """They save what the plain formulas have to do; a product more would make every share of the peak too low."""
    for method, stage in [("sac", "online"), *METHOD_STAGES]:
        found, said = counted(Case("SAC updates", method, 1, 8, stage))
        assert found <= said, method


def test_arithmetic_grows_with_the_runs() -> None:
    """What is left out is decided by the work of all runs of a call."""
    case = Case("other methods", "wsrl", 3, 16, "offline")
    assert update_flops(case) == 3 * update_flops(replace(case, runs=1)) > 0


def test_behaviour_policies_play_full_episodes() -> None:
    """An evaluation is timed at its longest: the steps that it is said to have."""
    calls = Clocks()
    with calls.watching((), tracing.SIMULATORS):
        work = evaluation(Case("evaluation", "inverted_double_pendulum", 1), "cpu")
        returns: Any = work.call()
    assert returns.min() > 9000  # 9.35 a step
    assert calls.calls["", "physics"] == 1000
    assert work.amount == 10 * 1000


def test_clocks_give_every_second_to_one_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a part's time counts for its activity too, or for the activity around that activity."""
    now = 0.0

    class UnitProcess:
        def outer(self) -> None:
            spend(1)
            self.part()
            self.inner()
            spend(2)

        def inner(self) -> None:
            spend(10)
            self.part()

        def part(self) -> None:
            spend(100)

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(tracing.time, "perf_counter", lambda: now)
    clocks = Clocks()
    with clocks.watching([(UnitProcess, "outer", "out"), (UnitProcess, "inner", "in")], [(UnitProcess, "part", "p")]):
        UnitProcess().outer()
        UnitProcess().part()
    UnitProcess().outer()  # not watched any more
    assert clocks.seconds == {("out", ""): 3, ("out", "p"): 100, ("in", ""): 10, ("in", "p"): 100, ("", "p"): 100}
    assert clocks.calls == dict.fromkeys(clocks.seconds, 1)


def test_clocks_miss_nothing_silently() -> None:
    """A function that was renamed is an error, not a phase of no seconds."""
    with pytest.raises(AttributeError), Clocks().watching([(Runner, "gone", "x")], []):
        pass


def test_split_by_phase() -> None:
    """By hand: draws and gathers of all activities in one line each, what no clock saw in the rest."""
    seconds = {
        ("updates", "SAC"): 4.0,
        ("updates", "draw"): 1.0,
        ("updates", ""): 0.5,
        ("ensemble", "gradient"): 2.0,
        ("ensemble", "draw"): 0.25,
        ("evaluation", "physics"): 3.0,
        ("evaluation", ""): 1.0,
        ("", "gather"): 0.125,
    }
    expected = dict.fromkeys(PHASES, 0.0) | {
        "SAC updates": 4.0,
        "ensemble training": 2.0,
        "evaluation": 4.0,
        "drawing batches": 1.25,
        "gathering batches": 0.125,
        "the rest": 0.5 + 1.125,
    }
    of_evaluation = {"evaluation, of it physics": 3.0, "evaluation, of it the policy": 0.0}
    assert split(13.0, seconds) == expected | of_evaluation


def test_scaled_by_hand() -> None:
    """Activities by how often they happen, all else with the loop, and a checkpoint for every 30 s of work."""
    piece = Slice(
        wall=10.0,
        seconds={("environment", ""): 1.0, ("evaluation", "physics"): 4.0, ("", "draw"): 1.0, ("checkpoint", ""): 2.0},
        counts={"environment": 5, "evaluation": 2, "checkpoint": 1},
        loop="environment",
    )
    wall, seconds = scaled(piece, {"environment": 50, "evaluation": 3})
    working = 10.0 + 6.0 + 10.0 + (10.0 - 8.0) * 10
    assert seconds == {
        ("environment", ""): 10.0,
        ("evaluation", "physics"): 6.0,
        ("", "draw"): 10.0,
        ("checkpoint", ""): 2.0 * working / 30,
    }
    assert wall == working + 2.0 * working / 30


def test_counts_of_a_whole_run_are_those_of_a_run(scale: Path, tmp_path: Path) -> None:
    """Breaks if an activity happens more or less often in training than the estimate of a whole run says."""
    config = replace(cohort_of("pendulum", scale)[0], dataset="some")
    data = {"some": random_transitions("pendulum", 300)}
    for stage in ("offline", "online"):
        cohort, clocks = Cohort([config], data, stage), Clocks()
        recorder = Recorder(tmp_path / stage, "", [config])
        with clocks.watching():
            if stage == "offline":
                offline_stage(cohort, recorder, lambda: None)
                trained = cohort.ensemble
            else:
                assert cohort.ensemble is not None
                assert trained is not None
                cohort.ensemble.load(trained.state())
                OnlineStage(cohort).run(recorder, lambda: None)
        calls = {activity: count for (activity, part), count in clocks.calls.items() if not part}
        calls |= {"updates": clocks.calls["updates", "SAC"], "ensemble": clocks.calls["ensemble", "gradient"]}
        assert calls == whole_counts(config, stage)


def test_every_call_has_a_process_of_its_own() -> None:
    """Peak memory would else be that of the largest case so far; a killed process must not end the report."""
    runner = Runner(Settings(threads=1))
    first, second = runner.call(os.getpid), runner.call(os.getpid)
    assert len({first, second, os.getpid()}) == 3
    with pytest.raises(LeftOut, match="was killed"):
        runner.call(os._exit, 1)


def test_what_takes_too_long_is_left_out() -> None:
    """Before anything of it is built."""
    with pytest.raises(LeftOut, match=r"a call is 1,[0-9]{3} GFLOP"):
        Runner(Settings()).row(Case("other methods", "wsrl", 32, 256, "offline"))


def test_lines_of_what_is_left_out() -> None:
    """One line for each method and reason, with its numbers of runs."""
    wsrl = Case("other methods", "wsrl", 8, 256, "offline")
    reasons: list[tuple[Case | str, str]] = [
        (wsrl, "slow"),
        (replace(wsrl, runs=32), "slow"),
        ("an epoch of pendulum", "the time was up"),
    ]
    assert left_out(reasons) == [
        "other methods, wsrl, offline, width 256, R = 8, 32: slow",
        "an epoch of pendulum: the time was up",
    ]


@pytest.mark.parametrize("group", ["SAC updates", "ensemble training", "rollouts"])
def test_precision_is_the_networks(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a row says bf16 while its products are in float32."""
    seen, forward = set(), MLP.__call__

    def call(net: MLP, params: Tensor, *inputs: Tensor) -> Tensor:
        seen.add(net.precision)
        return forward(net, params, *inputs)

    monkeypatch.setattr(MLP, "__call__", call)
    with prepared(Case(group, "sac", 1, 8, precision="bf16"), "cpu") as work:
        work.call()
    assert seen == {"bf16"}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, scale: Path) -> Path:
    """A report with the smallest of everything."""
    out = tmp_path_factory.mktemp("report")
    main(
        out,
        seconds=0.004,
        runs=(1,),
        widths=(8,),
        precisions=("float32",),
        threads=1,
        whole=True,
        scale=str(scale),
        envs=("pendulum",),
        rows=500,
        matmul_rows=64,
    )
    return out


def test_report_has_every_group(report: Path) -> None:
    """Breaks if a group of cases, a phase or the figure is lost on the way to the page."""
    text = (report / "bench.md").read_text()
    for group in UNITS:
        assert f"\n## {group[0].upper()}{group[1:]}\n\n| " in text, group
    for of in ("Epoch 2", "Whole unit, from its parts", "Whole unit, trained"):
        assert f"\n### {of}\n" in text
    for phase in PHASES:
        assert text.count(f"\n| {phase} | ") == 3, phase
    assert "(bench.png)" in text
    assert (report / "bench.png").stat().st_size > 0
    assert "Left out" not in text


def test_rows_of_the_report(report: Path) -> None:
    """Every measured row has the numbers that its table shows, and shares of a wall time add up to it."""
    rows: list[dict[str, Any]] = json.loads((report / "bench.json").read_text())["rows"]
    cases = [row for row in rows if "group" in row]
    assert {row["group"] for row in cases} == set(UNITS)
    for row in cases:
        assert row["rate"] > 0
        assert ("peak_share" in row) == (row["group"] in ("SAC updates", "other methods", *list(UNITS)[1:3]))
        assert ("mb" in row) == (row["group"] != "data loading")
    for of in {row["of"] for row in rows if "of" in row}:
        parts = [row for row in rows if row.get("of") == of and row["phase"] in PHASES]
        assert sum(row["seconds"] for row in parts) == pytest.approx(parts[0]["wall"])
        assert sum(row["share"] for row in parts) == pytest.approx(1.0)


def test_nothing_begins_when_the_time_is_up(tmp_path: Path, scale: Path) -> None:
    """What was not measured is in the report by name."""
    main(tmp_path, runs=(1,), widths=(8,), threads=1, minutes=0.0, scale=str(scale), envs=("pendulum",))
    text = (tmp_path / "bench.md").read_text()
    assert "## Left out" in text
    assert "- an epoch of pendulum: the time was up" in text
    assert "- SAC updates, sac, width 8, R = 1: the time was up" in text


def test_bad_input(scale: Path) -> None:
    """Each is one line that names the option or file and what is accepted, before anything is timed."""
    with pytest.raises(UserError, match=r"^--runs: \(0,\) is not accepted; expected numbers from 1$"):
        main(runs=(0,))
    with pytest.raises(UserError, match=r"^--precisions: 'fp8' is not accepted; expected one of float32, tf32, bf16"):
        main(precisions=("fp8",))
    with pytest.raises(UserError, match=r"tiny.yaml: has no self:hopper-medium; it has self:pendulum-medium$"):
        main(scale=str(scale), envs=("hopper",))


def test_a_device_that_is_not_there() -> None:
    """One line and exit code 2."""
    command = [sys.executable, "-m", "tests.benchmarks", "--device", "nonsense"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("moore: --device: 'nonsense' is not available here")
    assert done.stderr.count("\n") == 1


def test_batches_of_the_methods() -> None:
    """The paper's size, for each agent of a method with several that do not share it."""
    for method, stage in METHOD_STAGES:
        config = configuration(Case("other methods", method, 1, 8, stage))
        agent = make_agent(config, [0], stage)
        members = config.balanced_replay.num_agents if (method, stage) == ("balanced_replay", "offline") else 1
        assert agent.batch_size == 256 * members
