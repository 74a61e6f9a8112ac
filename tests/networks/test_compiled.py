"""Compiled steps are the plain ones up to rounding, for any number of runs and in every process."""

import json
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from moore.agents import balanced_replay
from moore.agents.actor_critic import Setup
from moore.agents.registry import find_agent
from moore.algorithm.cohort import Cohort
from moore.algorithm.train_model import model_caller, model_updates_of
from moore.algorithm.update_policy import step_settings, update_step
from moore.networks import compiled
from moore.networks.adam import RunAdam
from moore.networks.batch import Batch
from moore.networks.calls import COMPILE, caller, plain
from moore.networks.compiled import Compiled, Untraceable, _has_runs, _places, trace
from moore.networks.mlp import MLP
from moore.networks.state import State
from moore.studies.axes import merge
from tests.benchmarks.cases import method_config
from tests.support.agents import three_strategies
from tests.support.recordings import tensors_of


class Regression(State):
    """R networks that learn to predict."""

    def __init__(self, runs: int, lr: float = 1e-2) -> None:
        self.net = MLP((2, 8, 1), layer_norm=True)
        self.params = self.net.init([torch.Generator().manual_seed(run) for run in range(runs)])
        self.adam = RunAdam(self.params, lr)


def fit(model: Regression, scale: float, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Take one step on the squared error."""
    params = model.params.detach().requires_grad_()
    loss = scale * (model.net(params, x)[..., 0] - y).square().mean(-1)
    model.adam.step(torch.autograd.grad(loss.sum(), params)[0])
    return {"loss": loss.detach(), "mean": y.mean(-1)}


def data(runs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs [R, 16, 2], a view of a larger tensor, and targets [R, 16]."""
    rows = torch.randn(runs, 16, 3, generator=torch.Generator().manual_seed(seed))
    return rows[..., :2], rows[..., 2]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache for all tests here: compiling takes most of their time."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's cache alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.mark.parametrize("runs", [3, 5, 1])
def test_a_library_serves_any_number_of_runs(runs: int, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if state or inputs are read elsewhere, or a library for three runs is not one for five, in two calls."""
    if (cache / "moore").exists():
        monkeypatch.setattr(torch._inductor, "aot_compile", lambda *_: pytest.fail("there is a library"))
    if runs == 1:
        monkeypatch.setattr(compiled, "trace", lambda *_: pytest.fail("the step is known"))
    settings, lr = ("others", 3e-3) if runs == 5 else ("tests", 1e-2)
    call, one, other = Compiled(settings, compiled.CACHED // 3), Regression(runs, lr), Regression(runs, lr)
    for step in range(6):
        got = call("fit", partial(fit, one, 2.0), *data(runs, step))
        torch.testing.assert_close(got, fit(other, 2.0, *data(runs, step)), rtol=1e-5, atol=1e-6)
        if step == 2:
            saved = {key: value.clone() for key, value in one.adam.state().items()}
            params = one.params.clone()
        if step == 3:  # as after a checkpoint
            for model in (one, other):
                model.adam.load({key: value.clone() for key, value in saved.items()})
                model.params.copy_(params)
    torch.testing.assert_close(one.params, other.params, rtol=1e-5, atol=1e-6)
    assert one.adam.steps.tolist() == [5.0] * runs
    assert len(list((cache / "moore").glob("*.so"))) == 1


@given(runs=st.integers(1, 100), activations=st.integers(1, 2 * compiled.CACHED))
def test_a_library_is_called_for_what_the_cache_holds(runs: int, activations: int) -> None:
    """Breaks if a call is for no run, or for more than the cache holds."""
    parts, held = Compiled("x", activations)._parts(runs), compiled.CACHED * torch.get_num_threads()
    sizes = [len(part) for part in torch.arange(runs).tensor_split(parts)]
    assert min(sizes) >= 1
    assert max(sizes) == 1 or max(sizes) * activations <= held
    assert parts == 1 or (max(sizes) + 1) * activations * 2 > held  # no more calls than needed, but for even parts


def test_without_a_compiler_the_plain_step_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Breaks if a machine without a compiler stops, or says nothing."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv(COMPILE, "1")
    assert caller(torch.device("cpu"), "settings", 100_000, 1) is plain
    assert "no-such-compiler" in capsys.readouterr().err


def test_a_full_disk_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Breaks if a cache that cannot be written ends the training."""
    (tmp_path / "moore").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = Regression(2), Regression(2)
    torch.testing.assert_close(Compiled("x")("fit", partial(fit, one, 1.0), *data(2, 0)), fit(other, 1.0, *data(2, 0)))
    assert "not compiled" in capsys.readouterr().err


def test_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a short stage pays for a compilation, or the switch is not heard."""
    cpu = torch.device("cpu")
    monkeypatch.delenv(COMPILE, raising=False)
    assert caller(cpu, "settings", 100, 1) is plain
    assert isinstance(caller(cpu, "settings", 100_000, 1), Compiled)
    assert caller(cpu, None, 100_000, 1) is plain
    monkeypatch.setenv(COMPILE, "0")
    assert caller(cpu, "settings", 100_000, 1) is plain
    width = {"hidden": [64, 128, 64, 64], "offline_max_updates": 1000, "online_max_updates": 3}
    changes: list[Any] = [{}, {"precision": "bf16"}]
    changes += [{"dynamics": model} for model in ({"layer_norm": True}, {"hidden": [64, 200, 64, 64]})]
    configs = [method_config("moore", merge({"env": "pendulum", "dynamics": width}, change)) for change in changes]
    moore, bf16, *_ = configs
    monkeypatch.setenv(COMPILE, "1")
    assert step_settings(moore, "online") != step_settings(bf16, "online")  # a library each
    assert len({repr(vars(model_caller(config, cpu, 100_000))["_settings"]) for config in configs}) == 4
    assert model_updates_of(moore, "offline") == 1000
    assert model_updates_of(moore, "online") == 1000 + 3 * moore.online_steps // moore.online.retrain_interval
    made = three_strategies("moore", "online", "cpu")
    assert isinstance(made.model_call, Compiled)
    assert made.rollout_call is plain
    assert not made.compiled
    made.model_call._steps["model"] = lambda inputs: None
    assert made.compiled  # as the manifest says


def depends_on_runs(model: Regression, x: Tensor) -> dict[str, Tensor]:
    """Do one thing for few runs and another for many."""
    return {"out": x.mean() if x.shape[0] > 2 else x.sum()}


def test_a_graph_that_asks_for_the_number_of_runs_is_for_that_number() -> None:
    """Breaks if what was decided for three runs is used for two."""
    model = Regression(3)
    for function, any_runs in ((depends_on_runs, False), (lambda model, x: {"out": x.mean()}, True)):
        assert trace(partial(function, model), _places([model]), data(3, 0)[:1], 3).any_runs == any_runs


def test_a_library_that_is_lost_is_made_again_and_its_own_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if an entry without its library is one, or a run changes its library when another process builds one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "moore").mkdir()
    for entry in ("any", "any-3"):
        (tmp_path / "moore" / f"{entry}.step").write_text(json.dumps({"library": f"{entry}.so", "keys": None}))
        assert compiled._find("any", 3) is None
    for library in ("any", "any-3"):
        (tmp_path / "moore" / f"{library}.so").touch()
        found = compiled._find("any", 3)
        assert found["library"] == f"{library}.so"


class Interpreted:
    """Runs the traced graph of every step, operation by operation, on two slices of the runs where it is for any."""

    def __init__(self) -> None:
        self.graphs: dict[Any, Any] = {}

    def __call__(self, key: Hashable, function: Any, *inputs: Tensor) -> Any:
        places = _places([x for x in function.args if isinstance(x, State)])
        whole = (key, *(x.shape for x in inputs))
        if whole not in self.graphs:
            try:
                self.graphs[whole] = trace(function, places, inputs, len(inputs[0]))
            except Untraceable:
                self.graphs[whole] = None
        traced = self.graphs[whole]
        if traced is None:
            return function(*inputs)
        runs, parts = len(inputs[0]), 2 if traced.any_runs else 1
        state = [getattr(*alias[0]) for alias in places]
        cut = [_has_runs(alias, x, runs) for alias, x in zip(places, state, strict=True)] + [True] * len(inputs)
        pieces = [x.tensor_split(parts) if has else [x] * parts for x, has in zip([*state, *inputs], cut, strict=True)]
        outs = [traced.graph(*part) for part in zip(*pieces, strict=True)]
        out = [torch.cat(each) for each in zip(*outs, strict=True)]
        return dict(zip(traced.keys, out, strict=True))


def train(made: Cohort, call: Any) -> dict[str, Tensor]:
    """Make a few updates of everything and return the tensors that they change."""
    made.policy_call = made.model_call = call
    t = int(made.stage == "online")
    for _ in range(2):
        if made.ensemble is not None:
            made.train_model(t)
            made.imagine(t)
        made.update_policy(t, 3)
    return {key: value.detach().clone() for key, value in tensors_of(made).items()}


ONLINE = ("moore", "moore_plus", "rlpd", "td3_bc", "awac", "iql", "balanced_replay", "wsrl", "cal_ql")


@pytest.mark.parametrize(
    ("name", "stage"), [*((name, "online") for name in ONLINE), ("balanced_replay", "offline"), ("cql_sac", "offline")]
)
def test_traced_updates_are_the_plain_ones(name: str, stage: str) -> None:
    """Breaks if a step depends on more than its key, state and inputs, or a traced formula is another one."""
    interpreted = Interpreted()
    ours, theirs = (train(three_strategies(name, stage, "cpu"), call) for call in (interpreted, plain))
    steps = {key[0] if isinstance(key, tuple) else key for (key, *_), graph in interpreted.graphs.items() if graph}
    assert steps == ({"update", "model"} if name.startswith("moore") else {"update"})
    # else a library for each number of runs, which is called for all of them at once
    assert all(graph.any_runs for graph in interpreted.graphs.values()) == (name != "balanced_replay")
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "numbers"),
    [
        ("cql", {"tau": 0.1, "actor_lr": 1e-5, "target_entropy": -0.3, "cql_coef": 2.0}),
        ("iql", {"tau": 0.1, "temperature": 0.2, "expectile": 0.6}),
        ("td3_bc", {"tau": 0.1, "q_coef": 1.0}),
    ],
)
def test_a_graph_serves_all_values_of_a_setting(algorithm: str, numbers: dict[str, float]) -> None:
    """Breaks if every configuration of a tuning waits a minute for a library of its own."""
    codes = set()
    for changes in ({}, numbers):
        kind = find_agent(algorithm)
        agent = kind(kind.Config(hidden=(4,), **changes), Setup(3, 1, [0, 1], "offline"))
        obs, reward = torch.randn(2, 8, 3), torch.zeros(2, 8)
        batch = Batch(obs, torch.zeros(2, 8, 1), reward, obs, reward)
        noise = torch.randn(2, agent.noise_blocks, 8, 1)
        codes.add(trace(partial(update_step, agent, Batch, True), _places([agent]), (noise, *batch), 2).graph.code)
    assert len(codes) == 1


def test_an_update_that_is_too_large_is_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if what is computed piece by piece, for its memory, is compiled in one."""
    monkeypatch.setattr(balanced_replay, "TRACED_ACTIVATIONS", 1)
    interpreted = Interpreted()
    train(three_strategies("balanced_replay", "offline", "cpu"), interpreted)
    assert list(interpreted.graphs.values()) == [None]
