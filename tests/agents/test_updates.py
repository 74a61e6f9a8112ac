"""Whole updates of every method against one run written with torch.nn and torch.optim, from the papers' formulas."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from moore.agents.actor_critic import Setup
from moore.agents.awac import AWAC, AWACConfig
from moore.agents.balanced_replay import BalancedReplay, BalancedReplayConfig
from moore.agents.cql import CQL, CQLConfig
from moore.agents.iql import IQL, IQLConfig
from moore.agents.sac import SAC, SACConfig
from moore.agents.td3_bc import TD3BC, TD3BCConfig
from moore.networks.batch import AnyBatch, Batch, BatchWithReturns
from tests.support.agents import ACT, OBS, SEEDS, B, data, flat, with_shared
from tests.support.plain import Balanced, Losses, One, OneAWAC, OneIQL, OneSAC, OneTD3BC

CONFIG = SACConfig(hidden=(16, 12), actor_lr=1e-2, critic_lr=2e-2, alpha_lr=3e-2, gamma=0.9, tau=0.1, init_alpha=0.5)
REDQ = replace(CONFIG, num_critics=10, target_critics=2, critic_layer_norm=True, layer_norm_eps=1e-3)
SCALED = replace(CONFIG, normalize_obs=True)
AUTHORS: dict[str, Any] = {"joint_step": True, "log_std_offset": -1.0, "init": "orthogonal"}
WSRL: dict[str, Any] = {"entropy_backup": False, "joint_step": True}
ONLINE, OFFLINE = Setup(OBS, ACT, SEEDS), Setup(OBS, ACT, SEEDS, "offline")
RETURNS = [500.0, 2000.0, 800.0]  # best minus worst return of each run's dataset
STEPS = 3
close = partial(torch.testing.assert_close, rtol=1e-6, atol=1e-7)
pytestmark = pytest.mark.usefixtures("double_precision")


def draw(seed: int, blocks: int, width: int = 1) -> tuple[Batch, Tensor]:
    """A random batch [R, width B] and standard normal noise [blocks, R, width B, ACT]."""
    parts = [data(1000 * seed + k)[0] for k in range(width)]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(blocks, len(SEEDS), width * B, ACT, generator=generator)
    return Batch(*(torch.cat(field, 1) for field in zip(*parts, strict=True))), noise


def same_losses(metrics: dict[str, Tensor], run: int, losses: Losses) -> None:
    close(torch.stack([metrics[f"train/{name}"][run] for name in losses]), torch.tensor([*losses.values()]))


def same_networks(agent: Any, run: int, one: One) -> None:
    close(agent.actor_params[run].detach(), torch.cat([flat(one.actor), one.extra.detach()]))
    for k in range(len(one.critics)):
        close(agent.critic_params[run, k].detach(), flat(one.critics[k]))
        close(agent.critic_target[run, k], flat(one.targets[k]))


def cloning(config: SACConfig) -> SAC:
    """SAC that clones the first 8 transitions of a batch, every run with a weight of its own."""
    config = replace(config, bc_coef=0.7, batch_size=B)
    agent = SAC(config, ONLINE._replace(real_share=OneSAC.num_real / B))
    agent.bc_weight *= torch.tensor([1.0, 0.0, 20.0])
    return agent


AGENTS: dict[str, tuple[Callable[[], Any], type[One]]] = {
    "awac": (lambda: AWAC(with_shared(AWACConfig, SCALED, temperature=0.1, max_weight=3.0), ONLINE), OneAWAC),
    "iql": (lambda: IQL(with_shared(IQLConfig, SCALED, expectile=0.8, max_weight=2.0, value_lr=3e-2), ONLINE), OneIQL),
    "iql unscaled": (lambda: IQL(with_shared(IQLConfig, CONFIG, scale_rewards=False), ONLINE), OneIQL),
    "td3_bc": (
        lambda: TD3BC(with_shared(TD3BCConfig, SCALED, target_noise=0.3, target_noise_clip=0.4), ONLINE),
        OneTD3BC,
    ),
    "sac": (lambda: SAC(SCALED, ONLINE), OneSAC),
    "sac target entropy": (lambda: SAC(replace(CONFIG, target_entropy=3.0), ONLINE), OneSAC),
    "sac with cloning": (lambda: cloning(CONFIG), OneSAC),
    "moore_plus": (lambda: cloning(replace(REDQ, actor_value="mean", online_actor_interval=4)), OneSAC),
    "rlpd": (lambda: SAC(replace(REDQ, actor_value="mean", alpha_loss="alpha"), ONLINE), OneSAC),
    "cql": (
        lambda: CQL(with_shared(CQLConfig, CONFIG, **AUTHORS, entropy_backup=False, cql_coef=3.0), OFFLINE),
        OneSAC,
    ),
    "cql critics first": (lambda: CQL(with_shared(CQLConfig, CONFIG), OFFLINE), OneSAC),
    "cql with entropy": (lambda: CQL(with_shared(CQLConfig, CONFIG, **AUTHORS), OFFLINE), OneSAC),
    "cql online": (lambda: CQL(with_shared(CQLConfig, CONFIG, **AUTHORS), ONLINE), OneSAC),
    "cal_ql": (lambda: CQL(with_shared(CQLConfig, CONFIG, **AUTHORS, calibrated=True), OFFLINE), OneSAC),
    "wsrl": (lambda: CQL(with_shared(CQLConfig, REDQ, **WSRL), OFFLINE), OneSAC),
    "wsrl online": (lambda: CQL(with_shared(CQLConfig, REDQ, **WSRL, online_actor_interval=4), ONLINE), OneSAC),
}


@pytest.mark.parametrize("name", AGENTS)
def test_update_is_the_plain_one(name: str) -> None:
    """Breaks if a formula, a step, their order or a skipped actor is wrong, or runs mix their data or scales."""
    make, plain = AGENTS[name]
    agent = make()
    for run, size in enumerate(RETURNS):
        agent.fit_to_dataset(run, 0.5 * data(99)[0].obs[run] + run, size)
    if name == "iql":
        close(agent.reward_scale[:, 0], 1000 / torch.tensor(RETURNS))
    if name.startswith(("cql", "cal_ql", "wsrl")):
        assert agent.coef == {"cql": 3.0, "cql online": 0.0, "wsrl online": 0.0}.get(name, 5.0)
    ones = [plain(agent, run) for run in range(len(SEEDS))]
    for step in range(STEPS):
        batch: AnyBatch
        batch, noise = draw(step, agent.noise_blocks)
        if name == "cal_ql":  # around the values, and unknown for some
            batch = BatchWithReturns(*batch, torch.where(batch.reward > 1, -torch.inf, 0.3 * batch.reward))
        metrics = agent.update(batch, noise, step != 1)
        seen = batch._replace(
            **{key: (getattr(batch, key) - agent.obs_mean) / agent.obs_std for key in ("obs", "next_obs")}
        )
        for run, one in enumerate(ones):
            losses = one.update(type(batch)(*(x[run] for x in seen)), noise[:, run], step != 1)
            same_losses(metrics, run, losses)
            same_networks(agent, run, one)
    for run, one in enumerate(ones):
        if isinstance(one, OneSAC):
            close(agent.log_alpha[run], one.log_alpha.detach())
        elif isinstance(one, OneIQL):
            close(agent.value_params[run].detach(), flat(one.value))
        elif isinstance(one, OneTD3BC):
            close(agent.actor_target[run], flat(one.actor_target))


@pytest.mark.parametrize("stage", ["offline", "online"])
def test_balanced_replay(stage: str) -> None:
    """Breaks if offline agents are not CQL on minibatches of their own, or online targets, policy or sums are wrong."""
    count = 3
    config = with_shared(BalancedReplayConfig, CONFIG, num_agents=count, joint_step=True)
    agent = BalancedReplay(config, Setup(OBS, ACT, SEEDS, stage))
    groups = [[OneSAC(agent.agents, run * count + k) for k in range(count)] for run in range(len(SEEDS))]
    assert len({float(row[0]) for row in agent.agents.actor_params.detach()}) == count * len(SEEDS)  # none alike
    together = [Balanced(group) for group in groups]
    for step in range(STEPS):
        batch, noise = draw(step, agent.noise_blocks, width=agent.batch_size // CONFIG.batch_size)
        metrics = agent.update(batch, noise)
        for run, group in enumerate(groups):
            if stage == "online":
                same_losses(metrics, run, together[run].update(Batch(*(x[run] for x in batch)), noise[:, run]))
                continue
            losses = []
            for k, one in enumerate(group):
                rows = slice(k * B, (k + 1) * B)
                losses.append(one.update(Batch(*(x[run, rows] for x in batch)), noise[:, run, rows], True))
            same_losses(metrics, run, {"critic_loss": sum(one["critic_loss"] for one in losses) / count})
    for run, group in enumerate(groups):
        for k, one in enumerate(group):
            same_networks(agent.agents, run * count + k, one)
        if stage == "online":
            close(agent.log_alpha[run], together[run].log_alpha.detach())
