"""Sampling strategies with a weight for every transition, computed anew before each retraining of the ensemble.

`on_policy`: how likely the current policy takes the action (song970407/ARB; the authors' default averages over the
episode, here each transition counts for itself). `model_error`: how wrong the ensemble is about it (PER's rule, arXiv
1511.05952, with the model's error for the critic's; ours). `return_prioritized`: its offline episode's return
(yueyang130/ODPR, ODPR-R), beside the paper's priority of the source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from moore.agents.sac import SAC
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import CONSUMERS, ROW_STRATEGIES, Mixture, Moment, SamplingConfig, prioritized
from moore.networks.batch import Batch
from moore.networks.gaussian import LOG_STD_MAX, LOG_STD_MIN

CHUNK = 2**15  # rows of one forward pass: bounds the memory
LOG_PROB_RANGE = (-12.0, 7.0)  # of the log-density for each action dimension (song970407/ARB)
MAX_ATANH = 1.0 - 1e-6  # actions at the bounds have no finite pre-image under tanh
EPS = 1e-6  # PER: a transition without error can still be drawn


class Priorities:
    """Unnormalised weights of the rows of D_off and D_on, for each run and row strategy that it uses."""

    def __init__(
        self, configs: Sequence[SamplingConfig], buffer: RealBuffer, episode_returns: Sequence[Tensor | None]
    ) -> None:
        self.configs, self.buffer, self.episode_returns = configs, buffer, episode_returns
        self.used = [
            [name for name in ROW_STRATEGIES if name in {getattr(config, consumer) for consumer in CONSUMERS}]
            for config in configs
        ]
        self.offline: dict[str, Tensor] = {}  # by "<run>/<strategy>": [N_off]
        self.online: dict[str, Tensor] = {}  # [n_on at the last refresh]
        self._sum_and_max: dict[str, tuple[float, float]] = {}  # of the offline weights; of both sources'

    def refresh(self, agent: SAC, ensemble: Ensemble) -> None:
        """New weights from the current policy and ensemble."""
        for run, (config, names) in enumerate(zip(self.configs, self.used, strict=True)):
            if not names:
                continue
            rows, n_off = self.buffer.all_of(run), self.buffer.offline_size[run]
            for name in names:
                key = f"{run}/{name}"
                if name == "return_prioritized":
                    self.offline[key] = return_weights(self.episode_returns[run], config.return_base)
                    continue
                if name == "on_policy":
                    weights = on_policy_weights(agent, run, rows, config.on_policy_temperature)
                else:
                    weights = model_error_weights(ensemble, run, rows, config.error_exponent)
                self.offline[key], self.online[key] = weights[:n_off], weights[n_off:]
        self._sum_up()

    def mixture(self, run: int, name: str, now: Moment) -> Mixture:
        """One run's row strategy where both sources have rows; those since the last refresh weigh 1, or the most."""
        key = f"{run}/{name}"
        if name == "return_prioritized":
            return Mixture(prioritized(self.configs[run], now).online_share, self.offline[key])
        offline, online = self.offline[key], self.online[key]
        offline_sum, largest = self._sum_and_max[key]
        fresh = 1.0 if name == "on_policy" else largest
        online = torch.cat([online, online.new_full((now.n_on - len(online),), fresh)])
        total = float(online.sum())
        return Mixture(total / (total + offline_sum), offline, online)

    def state(self) -> dict[str, Tensor]:
        """The weights of the last refresh."""
        return {f"offline/{k}": v for k, v in self.offline.items()} | {f"online/{k}": v for k, v in self.online.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, weights in state.items():
            source, key = name.split("/", 1)
            getattr(self, source)[key] = weights.to(self.buffer.rows.device)
        self._sum_up()

    def _sum_up(self) -> None:
        """What does not change until the next refresh, and is not summed a million rows long for every draw."""
        for key, online in self.online.items():
            offline = self.offline[key]
            self._sum_and_max[key] = float(offline.sum()), float(torch.cat([offline, online]).amax())


def on_policy_weights(agent: SAC, run: int, rows: Batch, temperature: float) -> Tensor:
    """exp(clip(log pi(a | s) / dim(A)) / temperature), [N] of transitions [N], float64.

    log pi is the Gaussian's log-density before tanh plus log std, so that a narrow policy does not count as a better
    match: -z^2 / 2 - log(2 pi) / 2 for each dimension (song970407/ARB).
    """
    weights = []
    for obs, action in zip(rows.obs.split(CHUNK), rows.action.split(CHUNK), strict=True):
        with torch.no_grad():
            inputs = (obs - agent.obs_mean[run]) / agent.obs_std[run] if agent.config.normalize_obs else obs
            mean, log_std = agent.actor(agent.actor_params[run : run + 1], inputs[None])[0].chunk(2, -1)
        z = (action.clamp(-MAX_ATANH, MAX_ATANH).atanh() - mean) / log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
        log_prob = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).mean(-1)
        weights.append((log_prob.clamp(*LOG_PROB_RANGE).double() / temperature).exp())
    return torch.cat(weights)


def model_error_weights(ensemble: Ensemble, run: int, rows: Batch, exponent: float) -> Tensor:
    """(root mean squared error of the members' mean predictions + eps)^exponent, [N] of transitions [N], float64."""
    one = ensemble.only(run)
    errors = []
    for chunk in zip(*(field.split(CHUNK) for field in rows), strict=True):
        errors.append(one.squared_error(Batch(*(field[None] for field in chunk))).mean((1, 3))[0])
    return (torch.cat(errors).double().sqrt() + EPS) ** exponent


def return_weights(episode_returns: Tensor | None, base: float) -> Tensor:
    """The return [N] of every offline transition's episode, scaled to 0-1 over the dataset, plus base; float64."""
    assert episode_returns is not None, "a run from scratch has no offline transitions to weigh"
    returns = episode_returns.double()
    spread = returns.max() - returns.min()
    return (returns - returns.min()) / torch.where(spread > 0, spread, 1.0) + base
