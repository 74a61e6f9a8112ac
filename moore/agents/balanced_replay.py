"""Balanced Replay, also Off2On (Lee et al., arXiv 2107.00591; shlee94/Off2OnRL): a pessimistic ensemble, fine-tuned
on a replay that prefers transitions which look online (the priorities are in moore/algorithm/density_ratio.py).

Offline: independent CQL agents. Online: one policy, the Gaussian with the moments of the agents' mixture, and SAC's
losses with each agent's own pair of critics.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from moore.agents.actor_critic import Agent, Setup
from moore.agents.cql import CQL, CQLConfig, step_both
from moore.agents.registry import register
from moore.base.errors import UserError
from moore.base.strict import FORBID, Count
from moore.networks.adam import RunAdam
from moore.networks.batch import AnyBatch, Batch
from moore.networks.gaussian import LOG_STD_MAX, LOG_STD_MIN, deterministic_action, squashed_gaussian
from moore.networks.random import derive_seed
from moore.networks.tracing import Untraceable, is_tracing

TRACED_ACTIVATIONS = 2**26  # of a layer, in a compiled update of all runs and agents at once: bounds its memory

# what its agents do not read, of CQL's settings
FIXED = {
    "online_cql_coef": 0.0,
    "calibrated": False,
    "num_critics": 2,
    "target_critics": 2,
    "actor_value": "min",
    "alpha_loss": "log_alpha",
    "online_actor_interval": 1,
    "bc_coef": 0.0,
}


@dataclass(frozen=True, config=FORBID)
class BalancedReplayConfig(CQLConfig):
    """The settings of its CQL agents, and how many there are; `density_ratio` has those of its priorities."""

    num_agents: Count = 5

    def __post_init__(self) -> None:
        for key, only in FIXED.items():
            if getattr(self, key) != only:
                raise UserError(f"agent.{key}: {getattr(self, key)!r} is not accepted; expected {only!r} here")


@register("balanced_replay")
class BalancedReplay(Agent):
    """R runs of M agents each: the agents are M R runs of CQL, which lie run by run, [R M, ...]."""

    Config: ClassVar[type] = BalancedReplayConfig

    def __init__(self, config: BalancedReplayConfig, setup: Setup) -> None:
        seeds, stage, device = setup.seeds, setup.stage, setup.device
        self.config, self.num_agents, self.stage = config, config.num_agents, stage
        self.num_runs, self.action_dim = len(seeds), setup.action_dim
        agent_seeds = [derive_seed(seed, "agent", k) for seed in seeds for k in range(self.num_agents)]
        # CQL leaves the entropy out of its target, the online losses have it; the conservative term ends with the stage
        own = replace(config, entropy_backup=config.entropy_backup and stage == "online")
        self.agents = CQL(own, setup._replace(seeds=agent_seeds))
        self.noise_blocks = self.agents.noise_blocks
        # offline every agent has minibatches of its own; online one minibatch serves all
        self.batch_size = config.batch_size * (self.num_agents if stage == "offline" else 1)
        self.target_entropy = self.agents.target_entropy
        self.log_alpha = torch.full((len(seeds),), config.init_alpha, device=device).log()  # [R]
        self.alpha_adam = RunAdam(self.log_alpha, config.alpha_lr)

    def fit_to_dataset(self, run: int, obs: Tensor, return_range: float) -> None:
        for agent in range(run * self.num_agents, (run + 1) * self.num_agents):
            self.agents.fit_to_dataset(agent, obs, return_range)

    def act(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            head = self._policy(self.agents.actor_params, self._standardize(obs))
            return deterministic_action(head) if noise is None else squashed_gaussian(head, noise)[0]

    def update(self, batch: AnyBatch, noise: Tensor, update_actor: bool = True) -> dict[str, Tensor]:
        """Offline one CQL update of every agent on batch [R, M B]; online one update of the ensemble on [R, B]."""
        if self.stage == "online":
            return self._update_online(batch, noise)
        if is_tracing() and self.num_runs * self.num_agents * self.agents.activations > TRACED_ACTIVATIONS:
            raise Untraceable
        per_agent = Batch(*(x.unflatten(1, (self.num_agents, -1)).flatten(0, 1) for x in batch))
        noise = noise.unflatten(2, (self.num_agents, -1)).flatten(1, 2)
        return self._means(self.agents.update(per_agent, noise))

    def _update_online(self, batch: AnyBatch, noise: Tensor) -> dict[str, Tensor]:
        agents = self.agents
        obs, next_obs = self._standardize(batch.obs), self._standardize(batch.next_obs)
        action = self._each(batch.action)
        alpha = self.log_alpha.exp()[:, None]

        # Critics: every agent has a target of its own pair, all with the same next action.
        with torch.no_grad():
            next_action, next_log_prob = squashed_gaussian(self._policy(agents.actor_params, next_obs), noise[0])
            next_q = agents.q(agents.critic_target, next_obs, self._each(next_action)).amin(1)  # [R M, B]
            if self.config.entropy_backup:
                next_q = next_q - self._each(alpha * next_log_prob)
            target = self._each(batch.reward) + self.config.gamma * (1.0 - self._each(batch.terminated)) * next_q

        def loss(params: Tensor) -> tuple[Tensor, Tensor]:
            """Maximise the agents' mean value plus entropy; the agents' policies are trained together."""
            policy_action, log_prob = squashed_gaussian(self._policy(params, obs), noise[1])
            value = agents.q(agents.critic_params, obs, self._each(policy_action)).amin(1)
            value = value.unflatten(0, (self.num_runs, -1)).mean(1)
            return (alpha * log_prob - value).mean(-1), log_prob

        def step_critics() -> dict[str, Tensor]:
            return self._means(agents.step_critics(obs, action, target))

        def step_actor() -> dict[str, Tensor]:
            actor_loss, log_prob = agents.step_actor(loss)
            entropy = -log_prob.mean(-1)
            self.alpha_adam.step(entropy - agents.numbers.target_entropy)
            return {"train/actor_loss": actor_loss, "train/alpha": alpha[:, 0], "train/entropy": entropy}

        metrics = step_both(self.config.joint_step, step_critics, step_actor)
        agents.update_targets()
        return metrics

    def _means(self, metrics: dict[str, Tensor]) -> dict[str, Tensor]:
        """Average the agents' metrics [R M] to their runs' [R]."""
        return {key: value.unflatten(0, (self.num_runs, -1)).mean(1) for key, value in metrics.items()}

    def _policy(self, params: Tensor, obs: Tensor) -> Tensor:
        """Mean and log std [R, B, 2A] of the ensemble policy before tanh; obs [R M, B, obs_dim] standardised."""
        return ensemble_head(self.agents.policy(params, obs).unflatten(0, (self.num_runs, -1)))

    def _standardize(self, obs: Tensor) -> Tensor:
        return self.agents.standardize(self._each(obs))

    def _each(self, x: Tensor) -> Tensor:
        """[R, ...] repeated for the M agents of each run: [R M, ...]."""
        return x.repeat_interleave(self.num_agents, 0)

    def state(self) -> dict[str, Any]:
        """Return the state with the agents' tensors as [R, M, ...], so that the run axis leads everywhere."""
        state = super().state()
        return state | {"agents": _reshaped(state["agents"], lambda x: x.unflatten(0, (self.num_runs, -1)))}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load(dict(state) | {"agents": _reshaped(state["agents"], lambda x: x.flatten(0, 1))})


def _reshaped(state: Mapping[str, Any], reshape: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Apply `reshape` to every tensor of a nested state."""
    one = lambda x: _reshaped(x, reshape) if isinstance(x, Mapping) else reshape(x) if isinstance(x, Tensor) else x  # noqa: E731
    return {key: one(value) for key, value in state.items()}


def ensemble_head(heads: Tensor) -> Tensor:
    """Return the Gaussian [R, B, 2A] with mean and variance of the mixture of M Gaussians, heads [R, M, B, 2A].

    mean = average of the means; variance = average of (mean^2 + std^2) - mean^2 (Off2On, section 4.1).
    """
    means, log_stds = heads.chunk(2, -1)
    stds = log_stds.clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
    mean = means.mean(1)
    variance = (means.square() + stds.square()).mean(1) - mean.square()
    # rounding can make the variance of nearly deterministic agents zero or less, whose logarithm has no gradient
    return torch.cat([mean, 0.5 * variance.clamp(min=1e-12).log()], -1)
