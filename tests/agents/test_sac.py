"""SAC on the run axis, against one agent written with torch.nn and torch.optim."""

import copy
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from moore.agents.actor_critic import Setup
from moore.agents.sac import SAC, SACConfig
from moore.networks.batch import Batch
from tests.support.agents import ACT, OBS, SEEDS, B, data, flat, linear_stack
from tests.support.state import tensors

close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-4)
CONFIG = SACConfig(hidden=(16, 12), actor_lr=1e-2, critic_lr=2e-2, alpha_lr=3e-2, gamma=0.9, tau=0.1, init_alpha=0.5)


class OneAgent:
    """Algorithm of arXiv 1812.05905, slow and plain, for one run."""

    def __init__(self, agent: SAC, run: int) -> None:
        self.actor = linear_stack(agent.actor, agent.actor_params[run])
        self.critics = [linear_stack(agent.critic, agent.critic_params[run, k]) for k in range(2)]
        self.targets = copy.deepcopy(self.critics)
        self.log_alpha = agent.log_alpha[run].clone().requires_grad_()
        self.mean, self.std = agent.obs_mean[run].clone(), agent.obs_std[run].clone()
        c = agent.config
        self.c, self.target_entropy = c, -float(ACT)
        self.actor_opt = torch.optim.Adam(self.actor.parameters(), c.actor_lr)
        self.critic_opt = torch.optim.Adam([p for q in self.critics for p in q.parameters()], c.critic_lr)
        self.alpha_opt = torch.optim.Adam([self.log_alpha], c.alpha_lr)

    def policy(self, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(obs).chunk(2, -1)
        std = log_std.clamp(-20, 2).exp()
        x = mean + std * noise
        action = torch.tanh(x)
        return action, (Normal(mean, std).log_prob(x) - torch.log(1 - action**2)).sum(-1)

    def update(self, batch: Batch, noise: Tensor) -> None:
        obs, next_obs = (batch.obs - self.mean) / self.std, (batch.next_obs - self.mean) / self.std
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            next_action, log_prob = self.policy(next_obs, noise[0])
            pair = [q(torch.cat([next_obs, next_action], -1))[:, 0] for q in self.targets]
            y = batch.reward + self.c.gamma * (1 - batch.terminated) * (torch.min(*pair) - alpha * log_prob)
        loss = sum(((q(torch.cat([obs, batch.action], -1))[:, 0] - y) ** 2).mean() for q in self.critics)
        self.critic_opt.zero_grad()
        torch.as_tensor(loss).backward()
        self.critic_opt.step()

        action, log_prob = self.policy(obs, noise[1])
        pair = [q(torch.cat([obs, action], -1))[:, 0] for q in self.critics]
        self.actor_opt.zero_grad()
        (alpha * log_prob - torch.min(*pair)).mean().backward()
        self.actor_opt.step()

        self.alpha_opt.zero_grad()
        (-self.log_alpha * (log_prob.detach() + self.target_entropy)).mean().backward()
        self.alpha_opt.step()
        for q, target in zip(self.critics, self.targets, strict=True):
            for p, p_target in zip(q.parameters(), target.parameters(), strict=True):
                p_target.data = (1 - self.c.tau) * p_target.data + self.c.tau * p.data


@pytest.mark.parametrize("normalize_obs", [False, True])
def test_update_is_the_plain_algorithm(normalize_obs: bool) -> None:
    """Breaks if any of target, losses, temperature, Polyak step or the order of the four is wrong, or runs mix."""
    agent = SAC(SACConfig(**{**vars(CONFIG), "normalize_obs": normalize_obs}), Setup(OBS, ACT, SEEDS))
    if normalize_obs:
        agent.obs_mean += torch.tensor([0.5, -1.0, 0.0])
        agent.obs_std *= torch.tensor([2.0, 0.5, 1.0])
    plain = [OneAgent(agent, run) for run in range(len(SEEDS))]
    start = agent.actor_params.clone()
    for step in range(6):
        batch, noise = data(step)
        agent.update(batch, noise)
        for run, one in enumerate(plain):
            one.update(Batch(*(x[run] for x in batch)), noise[:, run])
    assert (agent.actor_params - start).abs().max() > 0.02
    for run, one in enumerate(plain):
        close(agent.actor_params[run], flat(one.actor))
        for k in range(2):
            close(agent.critic_params[run, k], flat(one.critics[k]))
            close(agent.critic_target[run, k], flat(one.targets[k]))
        close(agent.log_alpha[run], one.log_alpha.detach())


def test_cohort_is_single_runs() -> None:
    """Breaks if a run's start, gradient or optimiser depends on the other runs."""
    config = SACConfig(hidden=(16,), critic_layer_norm=True)
    together = SAC(config, Setup(OBS, ACT, SEEDS))
    alone = [SAC(config, Setup(OBS, ACT, [seed])) for seed in SEEDS]
    for step in range(5):
        batch, noise = data(step)
        metrics = together.update(batch, noise)
        for run, agent in enumerate(alone):
            one = agent.update(Batch(*(x[run : run + 1] for x in batch)), noise[:, run : run + 1])
            for key, value in metrics.items():
                torch.testing.assert_close(value[run], one[key][0], rtol=1e-4, atol=1e-5)
    for run, agent in enumerate(alone):
        for key, value in tensors(together).items():
            torch.testing.assert_close(value[run], tensors(agent)[key][0], rtol=1e-4, atol=1e-5)


def test_terminated_stops_the_bootstrap() -> None:
    """Breaks if the critic's target reads the next state of a terminated transition, or ignores it otherwise."""
    batch, noise = data(0)
    far = batch._replace(next_obs=batch.next_obs + 3.0)
    for terminated, equal in ((torch.ones(3, B), True), (torch.zeros(3, B), False)):
        losses = [
            SAC(CONFIG, Setup(OBS, ACT, SEEDS)).update(b._replace(terminated=terminated), noise)["train/critic_loss"]
            for b in (batch, far)
        ]
        assert torch.equal(*losses) is equal


@pytest.mark.parametrize(("target", "rises"), [(5.0, True), (-50.0, False)])
def test_temperature_pulls_entropy_to_its_target(target: float, rises: bool) -> None:
    """Breaks if the temperature's gradient has the wrong sign."""
    agent = SAC(SACConfig(**{**vars(CONFIG), "target_entropy": target}), Setup(OBS, ACT, SEEDS))
    before = agent.log_alpha.clone()
    agent.update(*data(0))
    assert ((agent.log_alpha > before) == rises).all()


def test_default_target_entropy() -> None:
    """Breaks if the default is not -dim(action)."""
    assert SAC(CONFIG, Setup(OBS, ACT, SEEDS)).target_entropy == -2.0
    assert SAC(SACConfig(target_entropy=-3.0), Setup(OBS, ACT, SEEDS)).target_entropy == -3.0


def test_entropy_bonus_widens_the_policy() -> None:
    """Breaks if the actor minimises entropy: with a large temperature and no reward the policy must spread."""
    agent = SAC(SACConfig(hidden=(16,), actor_lr=1e-2, alpha_lr=1e-9, init_alpha=10.0), Setup(OBS, ACT, SEEDS))
    entropies = []
    for step in range(40):
        batch, noise = data(step)
        entropies.append(agent.update(batch._replace(reward=torch.zeros(3, B)), noise)["train/entropy"])
    # uniform actions on [-1, 1]^2 have the largest entropy, 2 log 2
    assert ((entropies[-1] - entropies[0] > 0.2) | (entropies[-1] > 1.2)).all()


def test_nan_stays_in_its_run() -> None:
    """Breaks if a reduction over runs lets one NaN spread."""
    clean, poisoned = SAC(CONFIG, Setup(OBS, ACT, SEEDS)), SAC(CONFIG, Setup(OBS, ACT, SEEDS))
    poisoned.critic_params[1] = torch.nan
    for step in range(4):
        batch, noise = data(step)
        clean.update(batch, noise)
        metrics = poisoned.update(batch, noise)
    assert metrics["train/critic_loss"].isnan().tolist() == [False, True, False]
    for key, value in tensors(clean).items():
        for run in (0, 2):
            assert torch.equal(value[run], tensors(poisoned)[key][run]), key


def test_act() -> None:
    """Breaks if evaluation is not the tanh of the mean or exploration ignores its noise."""
    agent = SAC(CONFIG, Setup(OBS, ACT, SEEDS))
    obs = data(0)[0].obs
    mean, log_std = agent.actor(agent.actor_params, obs).chunk(2, -1)
    torch.testing.assert_close(agent.act(obs), mean.tanh())
    noise = torch.randn(3, B, ACT)
    torch.testing.assert_close(agent.act(obs, noise), (mean + log_std.exp() * noise).tanh())
