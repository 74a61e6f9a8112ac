"""Floating-point operations of every method's update, counted by hand from the layers' sizes.

Matrix products only, and of these what is needed: a gradient for weights everywhere, a gradient for inputs where
something in front of them learns. All numbers are for one row of a minibatch unless they say otherwise.
"""

from __future__ import annotations

from moore.agents.actor_critic import Agent
from moore.agents.balanced_replay import BalancedReplay
from moore.agents.cql import CQL
from moore.agents.iql import IQL
from moore.algorithm.config import RunConfig
from moore.algorithm.dynamics import Ensemble
from moore.networks.mlp import MLP


def forward(net: MLP) -> int:
    """One pass."""
    return 2 * sum(n_in * n_out for n_in, n_out in net.shapes)


def training(net: MLP) -> int:
    """One pass and the gradient of the weights; the first layer's inputs are data and need none."""
    n_in, n_out = net.shapes[0]
    return 3 * forward(net) - 2 * n_in * n_out


def through(net: MLP, columns: int) -> int:
    """One pass and the gradient of so many columns of the inputs; the weights need none."""
    n_in, n_out = net.shapes[0]
    return 2 * forward(net) - 2 * (n_in - columns) * n_out


def update_row(agent: Agent, config: RunConfig) -> int:
    """An update with every part of it (the actor's and the targets', too), for one row of each agent's minibatch."""
    if isinstance(agent, BalancedReplay):  # online the agents share their rows, but each has its own networks
        return agent.num_agents * update_row(agent.agents, config)
    actor, critic, critics, to_action = agent.actor, agent.critic, config.sac.num_critics, agent.action_dim
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
        n = config.cql.num_actions
        return plain + 2 * n * forward(actor) + 3 * n * critics * training(critic)
    return plain


def actor_row(agent: Agent, config: RunConfig) -> int:
    """What the actor's step adds to an update of SAC's relatives or TD3+BC, which may take it less often."""
    assert not isinstance(agent, BalancedReplay)
    critics = 1 if config.algorithm == "td3_bc" else config.sac.num_critics
    return training(agent.actor) + critics * through(agent.critic, agent.action_dim)


def rollout_row(agent: Agent, model: Ensemble) -> int:
    """One imagined transition: the policy once and every member of the ensemble."""
    assert not isinstance(agent, BalancedReplay)
    return forward(agent.actor) + model.config.ensemble_size * forward(model.net)
