"""Floating-point operations of every part of training, counted by hand from the layers' sizes.

Matrix products only, and of these what is needed: a gradient for weights everywhere, a gradient for inputs where
something in front of them learns. All numbers are for one row of a minibatch unless they say otherwise.
"""

from __future__ import annotations

from typing import Any

from moore.agents.actor_critic import Agent, Setup
from moore.agents.balanced_replay import BalancedReplay
from moore.agents.cql import CQL
from moore.agents.iql import IQL
from moore.agents.registry import find_agent
from moore.algorithm.config import RunConfig
from moore.algorithm.dynamics import Ensemble
from moore.envs.spec import find_spec
from moore.networks.mlp import MLP


def forward(net: MLP) -> int:
    """Count one pass."""
    return 2 * sum(n_in * n_out for n_in, n_out in net.shapes)


def training(net: MLP) -> int:
    """Count one pass and the gradient of the weights; the first layer's inputs are data and need none."""
    n_in, n_out = net.shapes[0]
    return 3 * forward(net) - 2 * n_in * n_out


def through(net: MLP, columns: int) -> int:
    """Count one pass and the gradient of so many columns of the inputs; the weights need none."""
    n_in, n_out = net.shapes[0]
    return 2 * forward(net) - 2 * (n_in - columns) * n_out


def update_row(agent: Any, config: RunConfig) -> int:
    """Count an update with every part of it (the actor's and the targets', too), for a row of each agent's batch."""
    if isinstance(agent, BalancedReplay):  # online the agents share their rows, but each has its own networks
        return agent.num_agents * update_row(agent.agents, config)
    actor, critic, critics, to_action = agent.actor, agent.critic, config.agent.num_critics, agent.action_dim
    if config.algorithm == "awac":  # target, critics, value of the policy, advantage, actor
        values = forward(actor) + critics * forward(critic)
        return values + critics * training(critic) + values + critics * forward(critic) + training(actor)
    if isinstance(agent, IQL):  # target critics; value, then again and for the next state; actor; critics
        value = training(agent.value) + 2 * forward(agent.value)
        return critics * forward(critic) + value + training(actor) + critics * training(critic)
    target = forward(actor) + critics * forward(critic)
    if config.algorithm == "td3_bc":  # the actor's loss needs one critic
        return target + critics * training(critic) + training(actor) + through(critic, to_action)
    plain = target + critics * training(critic) + training(actor) + critics * through(critic, to_action)
    if isinstance(agent, CQL) and agent.coef:  # actions of the policy for both states; critics of these and random ones
        n = config.agent.num_actions
        return plain + 2 * n * forward(actor) + 3 * n * critics * training(critic)
    return plain


def actor_row(agent: Any, config: RunConfig) -> int:
    """Count what the actor's step adds to an update of SAC's relatives or TD3+BC, which may take it less often."""
    critics = 1 if config.algorithm == "td3_bc" else config.agent.num_critics
    return training(agent.actor) + critics * through(agent.critic, agent.action_dim)


def rollout_row(agent: Any, model: Ensemble) -> int:
    """Count one imagined transition: the policy once and every member of the ensemble."""
    return forward(agent.actor) + model.config.ensemble_size * forward(model.net)


def make_agent(config: RunConfig, runs: int, stage: str, device: str = "cpu") -> Agent:
    """Make the agents of so many runs of a configuration."""
    spec = find_spec(config.env)
    setup = Setup(spec.obs_dim, spec.action_dim, range(runs), stage, device, config.precision)
    return find_agent(config.algorithm)(config.agent, setup)


def part_flops(config: RunConfig, stage: str) -> dict[str, float]:
    """Count one call of each part of a stage, in one run; the parts are those of `counts`."""
    spec = find_spec(config.env)
    agent: Any = make_agent(config, 1, stage)
    many = isinstance(agent, BalancedReplay)
    policy = agent.num_agents * forward(agent.agents.actor) if many else forward(agent.actor)
    row = float(update_row(agent, config))
    if agent.actor_interval > 1:
        row -= actor_row(agent, config) * (1 - 1 / agent.actor_interval)
    found = {
        "policy updates": config.agent.batch_size * row,
        "environment steps": float(policy),
        "evaluation steps": float(policy),
    }
    if config.uses_model:
        model, length = Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, [0]), config.rollout.length
        if stage == "online" and config.online.rollout_length is not None:
            length = config.online.rollout_length
        members = config.dynamics.ensemble_size * config.dynamics.batch_size
        found["ensemble updates"] = float(members * training(model.net))
        found["rollouts"] = float(config.rollout.batch_size * length * rollout_row(agent, model))
    return found
