"""SAC beyond its plain update, which is in test_updates.py: acting, and runs that break."""

import torch

from moore.agents.actor_critic import Setup
from moore.agents.sac import SAC, SACConfig
from tests.support.agents import ACT, OBS, SEEDS, B, data
from tests.support.state import tensors

CONFIG = SACConfig(hidden=(16, 12), actor_lr=1e-2, critic_lr=2e-2, alpha_lr=3e-2, gamma=0.9, tau=0.1, init_alpha=0.5)


def test_nan_stays_in_its_run() -> None:
    """Breaks if a reduction over runs lets one NaN spread."""
    clean, poisoned = (SAC(CONFIG, Setup(OBS, ACT, SEEDS)) for _ in range(2))
    poisoned.critic_params[1] = torch.nan
    for step in range(4):
        batch, noise = data(step)
        clean.update(batch, noise)
        metrics = poisoned.update(batch, noise)
    assert metrics["train/critic_loss"].isnan().tolist() == [False, True, False]
    for key, value in tensors(clean).items():
        assert torch.equal(value[[0, 2]], tensors(poisoned)[key][[0, 2]]), key


def test_act() -> None:
    """Breaks if evaluation is not the tanh of the mean or exploration ignores its noise."""
    agent = SAC(CONFIG, Setup(OBS, ACT, SEEDS))
    obs = data(0)[0].obs
    mean, log_std = agent.actor(agent.actor_params, obs).chunk(2, -1)
    torch.testing.assert_close(agent.act(obs), mean.tanh())
    noise = torch.randn(3, B, ACT)
    torch.testing.assert_close(agent.act(obs, noise), (mean + log_std.exp() * noise).tanh())
