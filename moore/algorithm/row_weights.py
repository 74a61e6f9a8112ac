"""Sampling strategies with a weight for every transition, computed anew before each retraining of the ensemble.

Such a strategy is a function of `Rows` with the mark `by_row`. It returns weights [N] of one run's transitions, offline
then online; or [N_off], of the offline ones alone, and then the source is chosen by the paper's priority.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from moore.agents.actor_critic import Agent
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import RealBuffer
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, STRATEGIES, Mixture, Moment, SamplingConfig, prioritized
from moore.base.errors import UserError
from moore.base.plugins import find
from moore.base.strict import choose
from moore.networks.batch import Batch
from moore.networks.gaussian import LOG_STD_MAX, LOG_STD_MIN
from moore.networks.state import State

CHUNK = 2**15  # rows of one forward pass: bounds the memory
LOG_PROB_RANGE = (-12.0, 7.0)  # of the log-density for each action dimension (song970407/ARB)
MAX_ATANH = 1.0 - 1e-6  # actions at the bounds have no finite pre-image under tanh
EPS = 1e-6  # PER: a transition without error can still be drawn


class Rows(NamedTuple):
    """What a strategy by row may look at: one run's transitions, policy, ensemble and settings."""

    batch: Batch  # fields [N, ...], offline then online
    num_offline: int
    episode_returns: Tensor | None  # [N_off], of each offline transition's episode; None from scratch
    agent: Any  # of the cohort; run `run` is this one
    ensemble: Ensemble
    run: int
    config: SamplingConfig


F = TypeVar("F", bound=Callable[[Rows], Tensor])


def by_row(fresh: float | None = None) -> Callable[[F], F]:
    """Mark a function of `Rows` as a strategy by row.

    fresh: the weight of transitions since the last retraining; None: the largest weight there is.
    """

    def mark(function: F) -> F:
        function.by_row, function.fresh = True, fresh  # type: ignore[attr-defined]
        return function

    return mark


@by_row(fresh=1.0)
def on_policy(rows: Rows) -> Tensor:
    """Return exp(clip(log pi(a | s) / dim(A)) / temperature): how likely the policy takes the action; float64.

    log pi is the Gaussian's log-density before tanh plus log std, so that a narrow policy does not count as a better
    match: -z^2 / 2 - log(2 pi) / 2 for each dimension (song970407/ARB, whose default averages over the episode).
    """
    agent, run, weights = rows.agent, rows.run, []
    for obs, action in zip(rows.batch.obs.split(CHUNK), rows.batch.action.split(CHUNK), strict=True):
        with torch.no_grad():
            inputs = (obs - agent.obs_mean[run]) / agent.obs_std[run] if agent.config.normalize_obs else obs
            mean, log_std = agent.actor(agent.actor_params[run : run + 1], inputs[None])[0].chunk(2, -1)
        z = (action.clamp(-MAX_ATANH, MAX_ATANH).atanh() - mean) / log_std.clamp(LOG_STD_MIN, LOG_STD_MAX).exp()
        log_prob = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).mean(-1)
        weights.append((log_prob.clamp(*LOG_PROB_RANGE).double() / rows.config.on_policy_temperature).exp())
    return torch.cat(weights)


@by_row()
def model_error(rows: Rows) -> Tensor:
    """Return (root mean squared error of the members' mean predictions + eps)^exponent; float64.

    PER's rule (arXiv 1511.05952) with the model's error in place of the critic's; ours.
    """
    return (row_errors(rows.ensemble, rows.run, rows.batch) + EPS) ** rows.config.error_exponent


def row_errors(ensemble: Ensemble, run: int, batch: Batch) -> Tensor:
    """Return root mean squared errors [N], float64, of the members' mean predictions on transitions [N] of a run."""
    one, errors = ensemble.only(run), []
    for chunk in zip(*(field.split(CHUNK) for field in batch), strict=True):
        errors.append(one.squared_error(Batch(*(field[None] for field in chunk))).mean((1, 3))[0])
    return torch.cat(errors).double().sqrt()


@by_row()
def self_tuned(rows: Rows) -> Tensor:
    """Weigh rows as model_error does, inside each source; the share of the sources is that of self_tuned.py."""
    return model_error(rows)


@by_row()
def return_prioritized(rows: Rows) -> Tensor:
    """Return each offline episode's return, scaled to 0-1 over the dataset, plus a base (yueyang130/ODPR); float64."""
    assert rows.episode_returns is not None, "a run from scratch has no offline transitions to weigh"
    returns = rows.episode_returns.double()
    spread = returns.max() - returns.min()
    return (returns - returns.min()) / torch.where(spread > 0, spread, 1.0) + rows.config.return_base


ROW_STRATEGIES: dict[str, Callable[[Rows], Tensor]] = {
    f.__name__: f for f in (on_policy, return_prioritized, model_error, self_tuned)
}


def is_by_row(strategy: Callable[..., Any]) -> bool:
    """Tell a strategy by row from one by source."""
    return getattr(strategy, "by_row", False)


def find_strategy(name: str, key: str) -> Callable[..., Any]:
    """Return a strategy by its name, or from `package.module:name`. Raises UserError naming the key."""
    ours: dict[str, Callable[..., Any]] = {**STRATEGIES, **ROW_STRATEGIES}
    return find(name, ours, key)


def check_strategies(config: SamplingConfig, uses_model: bool, from_scratch: bool) -> None:
    """Raise UserError unless every consumer's strategy is there and can be used in such a run."""
    rows_are_weighed = uses_model and not from_scratch  # anew with each training of the model
    names = [*STRATEGIES, *(ROW_STRATEGIES if rows_are_weighed else ()), *(() if from_scratch else (DENSITY_RATIO,))]
    for consumer in CONSUMERS:
        key, name = f"sampling.{consumer}", getattr(config, consumer)
        if ":" not in name:
            choose(key, name, names)
        elif is_by_row(find_strategy(name, key)) and not rows_are_weighed:
            raise UserError(f"{key}: {name!r} weighs rows; expected a strategy by source without model or dataset")


class RowWeights(State):
    """Unnormalised weights of the rows of D_off and D_on, for each run and strategy by row that it uses."""

    def __init__(
        self, configs: Sequence[SamplingConfig], buffer: RealBuffer, episode_returns: Sequence[Tensor | None]
    ) -> None:
        self._configs, self._buffer, self._episode_returns = configs, buffer, episode_returns
        self._used: list[dict[str, Callable[[Rows], Tensor]]] = []
        for config in configs:
            names = {getattr(config, consumer): consumer for consumer in CONSUMERS}
            found = {n: find_strategy(n, f"sampling.{c}") for n, c in names.items() if n != DENSITY_RATIO}
            self._used.append({name: strategy for name, strategy in sorted(found.items()) if is_by_row(strategy)})
        self.offline: dict[str, Tensor] = {}  # by "<run>/<strategy>": [N_off]
        self.online: dict[str, Tensor] = {}  # [n_on at the last refresh], where it weighs them too
        self._sum_and_max: dict[str, tuple[float, float]] = {}  # of the offline weights; of both sources'

    def refresh(self, agent: Agent, ensemble: Ensemble) -> None:
        """Compute the weights anew from the current policy and ensemble."""
        for run, (config, used) in enumerate(zip(self._configs, self._used, strict=True)):
            if not used:
                continue
            batch, n_off = self._buffer.all_of(run), self._buffer.offline_size[run]
            rows = Rows(batch, n_off, self._episode_returns[run], agent, ensemble, run, config)
            for name, strategy in used.items():
                weights = strategy(rows)
                self.offline[f"{run}/{name}"] = weights[:n_off]
                if len(weights) > n_off:
                    self.online[f"{run}/{name}"] = weights[n_off:]
        self._sum_up()

    def mixture(self, run: int, name: str, now: Moment) -> Mixture:
        """Return one run's distribution where both sources have rows; fresh ones weigh what the strategy says."""
        key = f"{run}/{name}"
        if key not in self.online:
            return Mixture(prioritized(self._configs[run], now).online_share, self.offline[key])
        offline, online = self.offline[key], self.online[key]
        offline_sum, largest = self._sum_and_max[key]
        fresh = getattr(self._used[run][name], "fresh", None)
        online = torch.cat([online, online.new_full((now.n_on - len(online),), largest if fresh is None else fresh)])
        total = float(online.sum())
        return Mixture(total / (total + offline_sum), offline, online)

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load(state)
        self._sum_up()

    def _sum_up(self) -> None:
        """Sum what does not change until the next refresh: not a million rows for every draw."""
        for key, online in self.online.items():
            offline = self.offline[key]
            self._sum_and_max[key] = float(offline.sum()), float(torch.maximum(offline.amax(), online.amax()))
