"""Every method learns what its distinctive term is for, on one-step problems: a wrong sign fails here."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from moore.agents.actor_critic import Agent
from moore.agents.awac import AWAC, AWACConfig
from moore.agents.balanced_replay import BalancedReplay, BalancedReplayConfig
from moore.agents.cql import CQL, CQLConfig
from moore.agents.iql import IQL, IQLConfig
from moore.agents.sac import SAC, SACConfig, Setup
from moore.agents.td3_bc import TD3BC, TD3BCConfig
from moore.networks.batch import Batch, BatchWithReturns
from moore.networks.random import Streams
from tests.support.agents import with_shared

OBS, ACT, SEEDS = 2, 1, [0, 1]
CONFIG = SACConfig(hidden=(32,), actor_lr=5e-3, critic_lr=1e-2, alpha_lr=1e-2, tau=0.05, batch_size=64)
REDQ = replace(CONFIG, num_critics=10, target_critics=2, critic_layer_norm=True)
BEST = 0.6  # the bandit's best action


def distance(action: Tensor) -> Tensor:
    """Reward of the bandit, for actions of any shape."""
    return -(action - BEST).square()


def episodes(
    agent: Agent,
    steps: int,
    low: float,
    high: float,
    reward: Callable[[Tensor], Tensor] = distance,
    anything: float = 0.0,
) -> list[Batch]:
    """`steps` minibatches [R, B] of one-step episodes whose data actions are uniform in [low, high].

    anything: the share of the actions that are uniform in [-1, 1] instead.
    """
    streams, made = Streams(SEEDS, "bandit"), []
    for _ in range(steps):
        uniform, other, chosen = streams.uniform(3, agent.batch_size, ACT).float().unbind(1)
        action = torch.where(chosen < anything, 2 * other - 1, low + (high - low) * uniform)
        obs, ended = streams.normal(agent.batch_size, OBS), torch.ones(len(SEEDS), agent.batch_size)
        made.append(Batch(obs, action, reward(action[..., 0]), obs, ended))
    return made


def train(agent: Agent, data: list[Batch], return_to_go: float | None = None, update_actor: bool = True) -> None:
    """One update for each minibatch."""
    streams = Streams(SEEDS, "noise")
    for batch in data:
        noise = streams.normal(agent.noise_blocks, agent.batch_size, ACT).transpose(0, 1)
        if return_to_go is None:
            agent.update(batch, noise, update_actor)
        else:
            agent.update(BatchWithReturns(*batch, torch.full_like(batch.reward, return_to_go)), noise, update_actor)


def states() -> Tensor:
    return Streams([8, 9], "states").normal(200, OBS)


def policy(agent: Agent) -> Tensor:
    """The deterministic policy's mean action over states, of each run [R]."""
    return agent.act(states()).mean((1, 2))


def value(agent: SAC, action: float) -> Tensor:
    """The critics' mean value of an action over states, of each run [R]."""
    return agent.q(agent.critic_params, states(), torch.full((len(SEEDS), 200, ACT), action)).mean((1, 2)).detach()


Regression = Callable[[float], AWAC | IQL]
REGRESSIONS: dict[str, Regression] = {
    "awac": lambda temperature: AWAC(with_shared(AWACConfig, CONFIG, temperature=temperature), Setup(OBS, ACT, SEEDS)),
    "iql": lambda temperature: IQL(
        with_shared(IQLConfig, CONFIG, temperature=temperature, value_lr=1e-2), Setup(OBS, ACT, SEEDS)
    ),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression_prefers_better_actions(name: str) -> None:
    """Breaks if the advantage has the wrong sign, or weights reach no loss: better than the data's mean, -0.1."""
    weighted, cloned = REGRESSIONS[name](0.05), REGRESSIONS[name](1e6)
    for agent in (weighted, cloned):
        train(agent, episodes(agent, 150, -0.9, 0.7))
    assert (policy(cloned) + 0.1).abs().max() < 0.1
    assert policy(weighted).min() > 0.2
    assert policy(weighted).max() < 0.8


def test_cql_is_pessimistic_about_actions_outside_the_data() -> None:
    """Breaks if the conservative term has the wrong sign: the reward rises with the action, SAC extrapolates."""
    plain, conservative = (
        CQL(with_shared(CQLConfig, CONFIG, cql_coef=coef, num_actions=4), Setup(OBS, ACT, SEEDS, "offline"))
        for coef in (0.0, 5.0)
    )
    for agent in (plain, conservative):
        train(agent, episodes(agent, 120, -0.8, -0.2, reward=lambda action: action))
    assert (value(plain, 0.9) > value(plain, -0.5) + 0.5).all()
    assert (value(conservative, 0.9) < value(conservative, -0.5) - 2.0).all()
    assert (value(conservative, -0.5) + 0.5).abs().max() < 0.5  # data actions keep about their value


def test_cal_ql_is_held_to_the_return() -> None:
    """Breaks if Cal-QL's bound is on the wrong side or missing: every action returns 1, data actions are below -0.2."""
    config = replace(CONFIG, critic_lr=3e-3)
    cql, cal_ql = (
        CQL(with_shared(CQLConfig, config, calibrated=c, num_actions=4), Setup(OBS, ACT, SEEDS, "offline"))
        for c in (False, True)
    )
    for agent in (cql, cal_ql):
        train(agent, episodes(agent, 150, -0.8, -0.2, reward=torch.ones_like), return_to_go=1.0, update_actor=False)
    assert (value(cal_ql, -0.5) > 1.0).all()
    for action in (0.0, 0.5, 0.9):
        assert (value(cql, action) < 0.5).all()
        assert (1.0 - value(cal_ql, action) < 0.6 * (1.0 - value(cql, action))).all()


def test_td3_bc_leaves_the_data_for_the_critic() -> None:
    """Breaks if cloning or the critic's weight has the wrong sign: most data actions are near -0.5, the best is 0.6."""
    cloned, free = (
        TD3BC(with_shared(TD3BCConfig, CONFIG, q_coef=weight), Setup(OBS, ACT, SEEDS)) for weight in (0.0, 50.0)
    )
    for agent in (cloned, free):
        train(agent, episodes(agent, 180, -0.6, -0.4, anything=0.25))
    assert (policy(cloned) + 0.375).abs().max() < 0.1  # the mean action
    assert (distance(policy(free)) > distance(policy(cloned)) + 0.5).all()  # 0 is the best, the data's mean earns -0.95


LEARNERS: dict[str, Callable[[], Agent]] = {
    "rlpd": lambda: SAC(replace(REDQ, actor_value="mean"), Setup(OBS, ACT, SEEDS)),
    "wsrl": lambda: CQL(with_shared(CQLConfig, REDQ, entropy_backup=False), Setup(OBS, ACT, SEEDS)),
    "balanced_replay": lambda: BalancedReplay(
        with_shared(BalancedReplayConfig, CONFIG, num_agents=3), Setup(OBS, ACT, SEEDS)
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_online_agents_learn_the_bandit(name: str) -> None:
    """Breaks if ten critics, or an ensemble's critics and policies, do not learn from SAC's losses."""
    agent = LEARNERS[name]()
    assert (policy(agent) - BEST).abs().min() > 0.4
    train(agent, episodes(agent, 180, -1.0, 1.0))
    assert (policy(agent) - BEST).abs().max() < 0.2
