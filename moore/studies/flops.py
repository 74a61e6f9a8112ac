"""Arithmetic of training: torch counts the matrix products of a small call of every part.

The networks compute plain formulas under autograd meanwhile: a gradient that is needed is a product that is counted.
Products are proportional to rows and runs, so a few rows of one run are enough.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import pairwise
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from moore.agents.actor_critic import Agent, Setup
from moore.agents.registry import find_agent
from moore.algorithm.config import RunConfig, cohort_key
from moore.algorithm.dynamics import Ensemble
from moore.envs.spec import find_spec
from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from moore.networks.mlp import MLP
from moore.studies.estimate import counts, idle_steps

ROWS = 16  # of a counted call; RLPD's random subset of its ten critics needs ten


def counted(call: Callable[[], object]) -> float:
    """Count the products of a call."""
    with mock.patch.object(MLP, "__call__", _plain), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def _plain(net: MLP, params: Tensor, *inputs: Tensor) -> Tensor:
    """Return the outputs of `MLP.__call__`; the first layer takes each input apart, as not all need a gradient."""
    lead = params.shape[:-1]
    (first, bias), *others = net.layers(params.flatten(0, -2))
    parts = first.split([x.shape[-1] for x in inputs], 1)
    z = bias + sum(torch.bmm(x.flatten(0, -3), part) for x, part in zip(inputs, parts, strict=True))
    for weight, bias in others:
        z = F.layer_norm(z, z.shape[-1:]) if net.layer_norm else z
        z = torch.baddbmm(bias, F.relu(z) if net.activation == "relu" else F.silu(z), weight)
    return z.unflatten(0, lead)


def make_agent(config: RunConfig, runs: int, stage: str, device: str = "cpu") -> Agent:
    """Make the agents of so many runs of a configuration."""
    spec = find_spec(config.env)
    setup = Setup(spec.obs_dim, spec.action_dim, range(runs), stage, device, config.precision)
    return find_agent(config.algorithm)(config.agent, setup)


def random_batch(env: str, runs: int, rows: int, device: str = "cpu") -> Batch:
    """Draw transitions [runs, rows] that never end."""
    spec = find_spec(env)
    draw = lambda *shape: torch.randn(runs, rows, *shape, device=device)  # noqa: E731
    obs, action, reward = draw(spec.obs_dim), draw(spec.action_dim).tanh(), draw()
    return Batch(obs, action, reward, draw(spec.obs_dim), torch.zeros_like(reward))


def update_inputs(config: RunConfig, agent: Agent, runs: int, device: str = "cpu") -> tuple[AnyBatch, Tensor]:
    """Draw a batch and the noise of one update of all runs."""
    plain = random_batch(config.env, runs, agent.batch_size, device)
    noise = torch.randn(agent.noise_blocks, *plain.action.shape, device=device)
    return BatchWithReturns(*plain, torch.zeros_like(plain.reward)) if config.reads_returns else plain, noise


def update_flops(config: RunConfig, stage: str, actor: bool = True) -> float:
    """Count one update of one run, with or without the actor's step."""
    few = replace(config, agent=replace(config.agent, batch_size=ROWS))
    agent = make_agent(few, 1, stage)
    inputs = update_inputs(few, agent, 1)
    return counted(lambda: agent.update(*inputs, actor)) * config.agent.batch_size / ROWS


def model_flops(config: RunConfig) -> float:
    """Count one update of one run's ensemble."""
    spec, few = find_spec(config.env), replace(config.dynamics, batch_size=ROWS)
    model = Ensemble(few, spec.obs_dim, spec.action_dim, [0])
    data = random_batch(config.env, 1, few.ensemble_size * ROWS)
    return counted(lambda: model.update(data)) * config.dynamics.batch_size / ROWS


def action_flops(config: RunConfig, stage: str) -> float:
    """Count one action of the policy."""
    agent, obs = make_agent(config, 1, stage), random_batch(config.env, 1, 1).obs
    return counted(lambda: agent.act(obs))


def imagined_flops(config: RunConfig, stage: str) -> float:
    """Count one imagined transition: an action, and what every member of the ensemble predicts."""
    spec, one = find_spec(config.env), random_batch(config.env, 1, 1)
    model = Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, [0])
    return action_flops(config, stage) + counted(lambda: model.predict(one.obs, one.action))


def ratio_flops(config: RunConfig) -> float:
    """Count one step of the density ratio's network and the new priorities of one batch (Balanced Replay)."""
    spec, ratio = find_spec(config.env), config.density_ratio
    net = MLP((spec.obs_dim + spec.action_dim, *ratio.hidden, 1))
    params = torch.zeros(1, net.num_params, requires_grad=True)
    batch = random_batch(config.env, 1, ROWS)
    step = counted(lambda: net(params, batch.obs, batch.action).sum().backward())
    priorities = counted(lambda: net(params.detach(), batch.obs, batch.action))
    return (2 * ratio.batch_size * step + config.agent.batch_size * priorities) / ROWS


@cache
def part_flops(config: RunConfig, stage: str) -> dict[str, float]:
    """Count one call of each part of a stage, in one run; the parts are those of `estimate.counts`."""
    interval, action = make_agent(config, 1, stage).actor_interval, action_flops(config, stage)
    updates = update_flops(config, stage) + (interval - 1) * update_flops(config, stage, actor=False)
    found = {"policy updates": updates / interval, "environment steps": action, "evaluation steps": action}
    if config.uses_density_ratio and not config.uses_model and stage == "online":
        found["policy updates"] += ratio_flops(config)
    if config.uses_model:
        found["ensemble updates"] = model_flops(config)
        found["rollouts"] = config.rollout.batch_size * config.rollout_length(stage) * imagined_flops(config, stage)
    return found


def stage_tflop(config: RunConfig, stage: str, logged: Mapping[int, float]) -> float:
    """Add up what one run computes in a stage, in TFLOP: 10^12 operations in matrix products.

    logged: environment step of each row of `model/updates` -> its value, the mean over the trainings of the ensemble
    since the row before. Left out: evaluation, the experimenter's, and weights of transitions in model-based runs.
    """
    updates = sum(logged.values())
    if stage == "online":
        phi, steps = config.online.retrain_interval, [idle_steps(config), *sorted(logged)]
        updates = sum(logged[step] * (step // phi - before // phi) for before, step in pairwise(steps))
    often = counts(config) | {(stage, "ensemble updates"): updates, (stage, "evaluation steps"): 0}
    parts = part_flops(cohort_key(config), stage)
    return sum(flops * often.get((stage, what), 0) for what, flops in parts.items()) / 1e12
