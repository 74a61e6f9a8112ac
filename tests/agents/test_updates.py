"""Whole updates of every baseline against one run written with torch.nn and torch.optim, from the papers' formulas."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from moore.agents.actor_critic import ActorCritic, Setup
from moore.agents.awac import AWAC, AWACConfig
from moore.agents.balanced_replay import BalancedReplay, BalancedReplayConfig
from moore.agents.cql import CQL, CQLConfig
from moore.agents.iql import IQL, IQLConfig
from moore.agents.sac import SAC, SACConfig
from moore.agents.td3_bc import TD3BC, TD3BCConfig
from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from moore.networks.mlp import MLP
from tests.support.agents import ACT, OBS, SEEDS, B, data, flat, linear_stack, with_shared

CONFIG = SACConfig(hidden=(16, 12), actor_lr=1e-2, critic_lr=2e-2, alpha_lr=3e-2, gamma=0.9, tau=0.1, init_alpha=0.5)
REDQ = replace(CONFIG, num_critics=10, target_critics=2, critic_layer_norm=True)
STEPS = 3
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-7)
pytestmark = pytest.mark.usefixtures("double_precision")


def draw(seed: int, blocks: int, width: int = 1) -> tuple[Batch, Tensor]:
    """A random batch [R, width B] and standard normal noise [blocks, R, width B, ACT]."""
    parts = [data(1000 * seed + k)[0] for k in range(width)]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(blocks, len(SEEDS), width * B, ACT, generator=generator)
    return Batch(*(torch.cat(field, 1) for field in zip(*parts, strict=True))), noise


def with_layer_norm(net: nn.Sequential) -> nn.Sequential:
    """The same network with LayerNorm before each activation."""
    modules: list[nn.Module] = []
    for module in net:
        if isinstance(module, nn.ReLU):
            modules.append(nn.LayerNorm(modules[-1].out_features, elementwise_affine=False))
        modules.append(module)
    return nn.Sequential(*modules)


class One:
    """Networks and optimisers of one run; every method's update below is written onto them."""

    def __init__(self, agent: ActorCritic, run: int) -> None:
        self.c = agent.config
        self.actor, self.log_std = self.split(agent.actor, agent.actor_params[run])
        self.critics = [self.critic(agent.critic, row) for row in agent.critic_params[run]]
        self.targets = copy.deepcopy(self.critics)
        self.actor_opt = torch.optim.Adam([*self.actor.parameters(), self.log_std], self.c.actor_lr)
        self.critic_opt = torch.optim.Adam([p for q in self.critics for p in q.parameters()], self.c.critic_lr)
        self.log_alpha = torch.tensor(CONFIG.init_alpha).log().requires_grad_()
        self.alpha_opt = torch.optim.Adam([self.log_alpha], CONFIG.alpha_lr)

    def split(self, mlp: MLP, params: Tensor) -> tuple[nn.Sequential, Tensor]:
        """The actor's network and its log standard deviations that depend on no state (none but for AWAC and IQL)."""
        n = mlp.num_params
        return linear_stack(mlp, params[:n]), params[n:].detach().clone().requires_grad_()

    def critic(self, mlp: MLP, params: Tensor) -> nn.Sequential:
        return with_layer_norm(linear_stack(mlp, params)) if self.c.critic_layer_norm else linear_stack(mlp, params)

    def gaussian(self, obs: Tensor) -> Normal:
        """The policy of AWAC and IQL."""
        return Normal(self.actor(obs).tanh(), self.log_std.clamp(-5, 2).exp())

    def fit_critics(self, batch: AnyBatch, y: Tensor) -> float:
        loss = sum((((q_of(q, batch.obs, batch.action) - y) ** 2).mean() for q in self.critics), torch.zeros(()))
        return descend(self.critic_opt, loss)

    def polyak(self, nets: Sequence[nn.Module], targets: Sequence[nn.Module]) -> None:
        for net, target in zip(nets, targets, strict=True):
            for p, slow in zip(net.parameters(), target.parameters(), strict=True):
                slow.data = (1 - self.c.tau) * slow.data + self.c.tau * p.data


def q_of(critic: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
    return critic(torch.cat([obs, action], -1))[..., 0]


def smallest(critics: Sequence[nn.Module], obs: Tensor, action: Tensor) -> Tensor:
    return torch.stack([q_of(q, obs, action) for q in critics]).min(0).values


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def squashed(head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """tanh of a Gaussian with mean and log std `head`, and its log-density."""
    mean, log_std = head.chunk(2, -1)
    gaussian = Normal(mean, log_std.exp())
    x = mean + log_std.exp() * noise
    return x.tanh(), (gaussian.log_prob(x) - torch.log(1 - x.tanh() ** 2)).sum(-1)


def same_networks(agent: ActorCritic, run: int, one: One) -> None:
    close(agent.actor_params[run].detach(), torch.cat([flat(one.actor), one.log_std.detach()]))
    for k in range(len(one.critics)):
        close(agent.critic_params[run, k].detach(), flat(one.critics[k]))
        close(agent.critic_target[run, k], flat(one.targets[k]))


# AWAC


def awac(one: One, batch: AnyBatch, noise: Tensor) -> tuple[float, float]:
    with torch.no_grad():
        policy = one.gaussian(batch.next_obs)
        next_action = (policy.mean + policy.stddev * noise[0]).clamp(-1, 1)
        next_value = smallest(one.targets, batch.next_obs, next_action)
        y = batch.reward + one.c.gamma * (1 - batch.terminated) * next_value
    critic_loss = one.fit_critics(batch, y)
    policy = one.gaussian(batch.obs)
    with torch.no_grad():
        own = (policy.mean + policy.stddev * noise[1]).clamp(-1, 1)
        advantage = smallest(one.critics, batch.obs, batch.action) - smallest(one.critics, batch.obs, own)
        weight = torch.minimum((advantage / 0.1).exp(), torch.tensor(3.0))
    log_prob = policy.log_prob(batch.action).sum(-1)
    actor_loss = descend(one.actor_opt, -(weight * log_prob).mean())
    one.polyak(one.critics, one.targets)
    return critic_loss, actor_loss


def test_awac() -> None:
    """Breaks if target, advantage, weights, likelihood or the order of the steps is wrong, or runs mix."""
    agent = AWAC(with_shared(AWACConfig, CONFIG, temperature=0.1, max_weight=3.0), Setup(OBS, ACT, SEEDS))
    ones = [One(agent, run) for run in range(len(SEEDS))]
    for step in range(STEPS):
        batch, noise = draw(step, agent.noise_blocks)
        metrics = agent.update(batch, noise)
        for run, one in enumerate(ones):
            losses = awac(one, Batch(*(x[run] for x in batch)), noise[:, run])
            close(
                torch.stack([metrics["train/critic_loss"][run], metrics["train/actor_loss"][run]]), torch.tensor(losses)
            )
    for run, one in enumerate(ones):
        same_networks(agent, run, one)


# IQL


def iql(one: One, value: nn.Module, value_opt: torch.optim.Optimizer, batch: AnyBatch, scale: float) -> list[float]:
    expectile, beta = 0.8, 3.0
    q = smallest(one.targets, batch.obs, batch.action).detach()
    u = q - value(batch.obs)[:, 0]
    value_loss = descend(value_opt, ((expectile - (u < 0).double()).abs() * u**2).mean())
    advantage = q - value(batch.obs)[:, 0].detach()
    weight = torch.minimum((beta * advantage).exp(), torch.tensor(2.0))
    actor_loss = descend(one.actor_opt, -(weight * one.gaussian(batch.obs).log_prob(batch.action).sum(-1)).mean())
    next_value = value(batch.next_obs)[:, 0].detach()
    critic_loss = one.fit_critics(batch, scale * batch.reward + one.c.gamma * (1 - batch.terminated) * next_value)
    one.polyak(one.critics, one.targets)
    return [critic_loss, actor_loss, value_loss]


def test_iql() -> None:
    """Breaks if value, actor or critic loss, the reward scale or the order of the steps is wrong, or runs mix."""
    own = with_shared(IQLConfig, CONFIG, expectile=0.8, temperature=1 / 3, max_weight=2.0, value_lr=3e-2)
    agent = IQL(own, Setup(OBS, ACT, SEEDS))
    ranges = [500.0, 2000.0, 800.0]
    ones, values = [One(agent, run) for run in range(len(SEEDS))], []
    for run, size in enumerate(ranges):
        agent.fit_to_dataset(run, torch.zeros(2, OBS), size)
        net = linear_stack(agent.value, agent.value_params[run])
        values.append((net, torch.optim.Adam(net.parameters(), own.value_lr)))
    for step in range(STEPS):
        batch, noise = draw(step, agent.noise_blocks)
        metrics = agent.update(batch, noise)
        for run, one in enumerate(ones):
            losses = iql(one, *values[run], Batch(*(x[run] for x in batch)), 1000 / ranges[run])
            names = ("train/critic_loss", "train/actor_loss", "train/value_loss")
            close(torch.stack([metrics[name][run] for name in names]), torch.tensor(losses))
    for run, one in enumerate(ones):
        same_networks(agent, run, one)
        close(agent.value_params[run].detach(), flat(values[run][0]))


# TD3+BC


def td3_bc(one: One, actor_target: nn.Module, batch: AnyBatch, noise: Tensor, delayed: bool) -> tuple[float, float]:
    with torch.no_grad():
        smoothing = (0.3 * noise[0]).clamp(-0.4, 0.4)
        next_action = (actor_target(batch.next_obs).tanh() + smoothing).clamp(-1, 1)
        next_value = smallest(one.targets, batch.next_obs, next_action)
        y = batch.reward + one.c.gamma * (1 - batch.terminated) * next_value
    critic_loss = one.fit_critics(batch, y)
    if delayed:
        return critic_loss, 0.0
    action = one.actor(batch.obs).tanh()
    q = q_of(one.critics[0], batch.obs, action)
    weight = 2.5 / q.abs().mean().detach()
    actor_loss = descend(one.actor_opt, -weight * q.mean() + nn.functional.mse_loss(action, batch.action))
    one.polyak([*one.critics, one.actor], [*one.targets, actor_target])
    return critic_loss, actor_loss


def test_td3_bc() -> None:
    """Breaks if smoothing, lambda = 2.5 / mean|Q|, cloning or the delay of actor and targets is wrong, or runs mix."""
    agent = TD3BC(with_shared(TD3BCConfig, CONFIG, target_noise=0.3, target_noise_clip=0.4), Setup(OBS, ACT, SEEDS))
    ones = [One(agent, run) for run in range(len(SEEDS))]
    targets = [copy.deepcopy(one.actor) for one in ones]
    for step in range(STEPS):
        batch, noise = draw(step, agent.noise_blocks)
        metrics = agent.update(batch, noise, update_actor=step % 2 == 1)
        for run, one in enumerate(ones):
            losses = td3_bc(one, targets[run], Batch(*(x[run] for x in batch)), noise[:, run], delayed=step % 2 == 0)
            close(metrics["train/critic_loss"][run], torch.tensor(losses[0]))
            if step % 2 == 1:
                close(metrics["train/actor_loss"][run], torch.tensor(losses[1]))
            same_networks(agent, run, one)
            close(agent.actor_target[run], flat(targets[run]))


# SAC's family: RLPD, CQL, Cal-QL, WSRL


Candidates = tuple[Tensor, Tensor, int]  # actions [30, B, ACT], the log-densities they were drawn with [30, B], uniform


def candidates(one: One, batch: AnyBatch, noise: Tensor) -> Candidates:
    """Uniform actions, as many of the policy at s and as many at s'."""
    n = len(noise) // 3
    drawn = [(2 * Normal(0.0, 1.0).cdf(block) - 1, torch.full((B,), 0.5**ACT).log()) for block in noise[:n]]
    drawn += [squashed(one.actor(batch.obs).detach(), block) for block in noise[n : 2 * n]]
    drawn += [squashed(one.actor(batch.next_obs).detach(), block) for block in noise[2 * n :]]
    return torch.stack([action for action, _ in drawn]), torch.stack([density for _, density in drawn]), n


def conservative(critic: nn.Module, batch: AnyBatch, sampled: Candidates) -> Tensor:
    """log sum exp(Q) / density over the candidates, all at s, minus Q(s, a); Cal-QL: policy actions at least G."""
    action, log_density, n = sampled
    value = q_of(critic, batch.obs.expand(len(action), -1, -1), action)
    if isinstance(batch, BatchWithReturns):
        value = torch.stack([v if k < n else torch.maximum(v, batch.return_to_go) for k, v in enumerate(value)])
    return (value.exp() / log_density.exp()).sum(0).log() - q_of(critic, batch.obs, batch.action)


def sac(one: One, batch: AnyBatch, noise: Tensor, coef: float, update_actor: bool = True) -> tuple[float, float]:
    c, alpha = one.c, one.log_alpha.exp().detach()
    with torch.no_grad():
        next_action, next_log_prob = squashed(one.actor(batch.next_obs), noise[0])
        chosen = list(range(c.num_critics))
        if c.target_critics < c.num_critics:
            keys = noise[2].flatten().tolist()
            chosen = sorted(chosen, key=lambda k: keys[k])[: c.target_critics]
        next_value = smallest([one.targets[k] for k in chosen], batch.next_obs, next_action)
        if c.entropy_backup:
            next_value = next_value - alpha * next_log_prob
        y = batch.reward + c.gamma * (1 - batch.terminated) * next_value
    sampled = candidates(one, batch, noise[2 if c.target_critics == c.num_critics else 3 :]) if coef else None
    loss = torch.zeros(())
    for critic in one.critics:
        loss = loss + ((q_of(critic, batch.obs, batch.action) - y) ** 2).mean()
        if sampled is not None:
            loss = loss + coef * conservative(critic, batch, sampled).mean()
    critic_loss, actor_loss = descend(one.critic_opt, loss), 0.0
    if update_actor:
        action, log_prob = squashed(one.actor(batch.obs), noise[1])
        q = torch.stack([q_of(critic, batch.obs, action) for critic in one.critics])
        value = q.mean(0) if c.actor_value == "mean" else q.min(0).values
        actor_loss = descend(one.actor_opt, (alpha * log_prob - value).mean())
        descend(one.alpha_opt, (-one.log_alpha * (log_prob.detach() - ACT)).mean())
    one.polyak(one.critics, one.targets)
    return critic_loss, actor_loss


FAMILY: dict[str, Callable[[], tuple[SAC, float]]] = {
    "rlpd": lambda: (SAC(replace(REDQ, actor_value="mean"), Setup(OBS, ACT, SEEDS)), 0.0),
    "cql": lambda: (
        CQL(with_shared(CQLConfig, CONFIG, entropy_backup=False, cql_coef=3.0), Setup(OBS, ACT, SEEDS, "offline")),
        3.0,
    ),
    "cql with entropy": lambda: (CQL(with_shared(CQLConfig, CONFIG), Setup(OBS, ACT, SEEDS, "offline")), 5.0),
    "cql_sac online": lambda: (CQL(with_shared(CQLConfig, CONFIG), Setup(OBS, ACT, SEEDS)), 0.0),
    "cal_ql": lambda: (CQL(with_shared(CQLConfig, CONFIG, calibrated=True), Setup(OBS, ACT, SEEDS, "offline")), 5.0),
    "wsrl": lambda: (CQL(with_shared(CQLConfig, REDQ, entropy_backup=False), Setup(OBS, ACT, SEEDS, "offline")), 5.0),
}


@pytest.mark.parametrize("name", FAMILY)
def test_sac_family(name: str) -> None:
    """Breaks if a subset, the actor's value, the conservative term, its calibration or a skipped actor is wrong."""
    agent, coef = FAMILY[name]()
    ones = [One(agent, run) for run in range(len(SEEDS))]
    for step in range(STEPS):
        batch: AnyBatch
        batch, noise = draw(step, agent.noise_blocks)
        if name == "cal_ql":  # around the values, and unknown for some
            batch = BatchWithReturns(*batch, torch.where(batch.reward > 1, -torch.inf, 0.3 * batch.reward))
        metrics = agent.update(batch, noise, update_actor=step != 1)
        for run, one in enumerate(ones):
            losses = sac(one, type(batch)(*(x[run] for x in batch)), noise[:, run], coef, update_actor=step != 1)
            close(metrics["train/critic_loss"][run], torch.tensor(losses[0]))
            if step != 1:
                close(metrics["train/actor_loss"][run], torch.tensor(losses[1]))
    for run, one in enumerate(ones):
        same_networks(agent, run, one)
        close(agent.log_alpha[run], one.log_alpha.detach())


# Balanced Replay


def mixture(actors: Sequence[nn.Module], obs: Tensor) -> Tensor:
    """Mean and log std before tanh of the Gaussian with the moments of the actors' mixture."""
    heads = [actor(obs).chunk(2, -1) for actor in actors]
    mean = torch.stack([m for m, _ in heads]).mean(0)
    square = torch.stack([m**2 + (2 * log_std).exp() for m, log_std in heads]).mean(0)
    return torch.cat([mean, (square - mean**2).sqrt().log()], -1)


def balanced(
    agents: Sequence[One], log_alpha: Tensor, alpha_opt: torch.optim.Adam, batch: Batch, noise: Tensor
) -> float:
    c, alpha = agents[0].c, log_alpha.exp().detach()
    with torch.no_grad():
        next_action, next_log_prob = squashed(mixture([one.actor for one in agents], batch.next_obs), noise[0])
    for one in agents:
        with torch.no_grad():
            next_value = smallest(one.targets, batch.next_obs, next_action) - alpha * next_log_prob
        one.fit_critics(batch, batch.reward + c.gamma * (1 - batch.terminated) * next_value)
    action, log_prob = squashed(mixture([one.actor for one in agents], batch.obs), noise[1])
    value = torch.stack([smallest(one.critics, batch.obs, action) for one in agents]).mean(0)
    loss = (alpha * log_prob - value).mean()
    for one in agents:
        one.actor_opt.zero_grad()
    loss.backward()
    for one in agents:
        one.actor_opt.step()
        one.polyak(one.critics, one.targets)
    descend(alpha_opt, (-log_alpha * (log_prob.detach() - ACT)).mean())
    return loss.item()


@pytest.mark.parametrize("stage", ["offline", "online"])
def test_balanced_replay(stage: str) -> None:
    """Breaks if offline agents are not CQL on minibatches of their own, or online targets, policy or sums are wrong."""
    num_agents = 3
    agent = BalancedReplay(
        with_shared(BalancedReplayConfig, CONFIG, num_agents=num_agents), Setup(OBS, ACT, SEEDS, stage)
    )
    groups = [[One(agent.agents, run * num_agents + k) for k in range(num_agents)] for run in range(len(SEEDS))]
    assert len({float(row[0]) for row in agent.agents.actor_params.detach()}) == num_agents * len(SEEDS)  # none alike
    log_alphas = [torch.tensor(0.5).log().requires_grad_() for _ in SEEDS]
    optimizers = [torch.optim.Adam([log_alpha], CONFIG.alpha_lr) for log_alpha in log_alphas]
    for step in range(STEPS):
        batch, noise = draw(step, agent.noise_blocks, width=agent.batch_size // CONFIG.batch_size)
        metrics = agent.update(batch, noise)
        for run, group in enumerate(groups):
            if stage == "online":
                loss = balanced(group, log_alphas[run], optimizers[run], Batch(*(x[run] for x in batch)), noise[:, run])
                close(metrics["train/actor_loss"][run], torch.tensor(loss))
                continue
            losses = []
            for k, one in enumerate(group):
                rows = slice(k * B, (k + 1) * B)
                losses.append(
                    sac(one, Batch(*(x[run, rows] for x in batch)), noise[:, run, rows], CQLConfig().cql_coef)
                )
            close(metrics["train/critic_loss"][run], torch.tensor([critic for critic, _ in losses]).mean())
    for run, group in enumerate(groups):
        for k, one in enumerate(group):
            same_networks(agent.agents, run * num_agents + k, one)
        if stage == "online":
            close(agent.log_alpha[run], log_alphas[run].detach())
