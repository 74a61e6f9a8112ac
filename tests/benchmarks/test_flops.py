"""The arithmetic that the reports divide by, against what torch counts in the same call."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moore.cli.options import find_study
from moore.networks.mlp import MLP
from tests.benchmarks.cases import METHOD_STAGES, Case, prepared, update_flops
from tests.benchmarks.flops import part_flops
from tests.benchmarks.projection import column


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
@pytest.mark.parametrize(
    "case",
    [
        *(Case("other methods", method, 2, 8, stage) for method, stage in (("sac", "online"), *METHOD_STAGES)),
        Case("ensemble training", "sac", 2, 8),
        Case("rollouts", "sac", 2, 8),
    ],
    ids=lambda case: case.name,
)
def test_what_is_counted_is_what_torch_counts(case: Case) -> None:
    """Breaks if a pass of a network is forgotten, or counted twice."""
    found, said = counted(case)
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


def test_flops_of_the_paper_scale() -> None:
    """Breaks if a part's arithmetic leaves out the batch, the members or the imagined steps."""
    flops = part_flops(column()[0], "online")
    member = 23 * 200 + 3 * 200 * 200 + 200 * 36
    policy = 17 * 256 + 256 * 256 + 256 * 12
    assert flops["rollouts"] == 50_000 * 5 * 2 * (7 * member + policy)
    assert flops["ensemble updates"] == 7 * 256 * 2 * (3 * member - 23 * 200)
    assert flops["evaluation steps"] == 2 * policy


def test_an_actor_that_steps_less_often_costs_less() -> None:
    """Breaks if the arithmetic of RLPD's updates has an actor's step in each of them, not in one of twenty."""
    config = next(run for run in find_study("main_table", "paper").runs if run.method == "rlpd")
    each = replace(config, agent=replace(config.agent, online_actor_interval=1))
    per_update, with_actor = (part_flops(one, "online")["policy updates"] for one in (config, each))
    actor, critic = 2 * (17 * 256 + 256**2 + 256 * 12), 2 * (23 * 256 + 256**2 + 256)
    observations = 2 * 17 * 256  # of the first layers: no gradient is needed for these
    step = 256 * (3 * actor - observations + 10 * (2 * critic - observations))
    assert with_actor - per_update == pytest.approx(step * 19 / 20)
