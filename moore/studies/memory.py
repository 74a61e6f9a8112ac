"""The memory that a cohort needs: what all its runs share, and what each run adds.

Counted from the shapes of what is held and of what a step works with.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from moore.agents.actor_critic import ACTIVATIONS, Setup
from moore.agents.registry import find_agent
from moore.algorithm import density_ratio, dynamics
from moore.algorithm.config import RunConfig
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO
from moore.envs.spec import EnvSpec, find_spec

FLOAT = 4  # bytes
# Bytes of a process before its first run: on a CPU interpreter, libraries and a small dataset (measured: the peak of
# units of 5 to 90 runs, continued to none), on a GPU the context, its libraries' work space and the allocator's blocks.
PROCESS = {"cpu": 375 * 2**20, "cuda": 2**30}
# Copies of what a step works with. Counted from the code, then rounded up to what processes were seen to use.
GRADIENT = 3  # of the activations in a gradient step: before and after the activation, and a gradient
OPTIMISED = 5  # of the ensemble's parameters in training: gradient, best snapshot, the optimiser's intermediate results
HELD_OUT = 2  # of a layer's activations where the ensemble is tried on held-out transitions
IMAGINED = 6  # of the members' means, of their standard deviations and of the transitions of one imagined step
ROW_WEIGHTS = 3 * 8  # bytes of a transition with a weight: float64, its running sum over all rows and over a part's
LOADING = 4  # times a dataset while it is loaded into memory: as read, packed, shuffled, in the table
LOADED = 2  # times afterwards on a CPU: as read, and in the table


@dataclass(frozen=True)
class Memory:
    """Bytes of one cohort on its device.

    shared: the process and the datasets; runs: what each run adds, its state, online and imagined transitions and its
    part of the steps; loading: the peak while the datasets are read.
    """

    shared: int
    runs: tuple[int, ...]
    loading: int

    @property
    def total(self) -> int:
        """The peak."""
        return max(self.loading, self.shared + sum(self.runs))


def cohort_memory(runs: Sequence[RunConfig], device: str = "cpu", transitions: int | None = None) -> Memory:
    """What a cohort needs on a device; transitions of each dataset, by default as many as `transitions_of` says.

    The steps are a critic update, an ensemble update, a look at held-out transitions and one step of a rollout. They
    are added up: an allocator seldom finds room for the tensors of one in what another one has left. A rollout's
    activations are computed in chunks (`PREDICT_FLOATS`) and count as shared, as those of CQL's sampled actions do.
    """
    config, spec = runs[0], find_spec(runs[0].env)
    kind = torch.device(device).type
    rows = transitions_of(config) if transitions is None else transitions
    data = FLOAT * rows * _width(spec) * len({run.dataset for run in runs if run.dataset is not None})
    state, steps = checkpoint_bytes(config, spec), FLOAT * _step_floats(config, spec)
    shared = PROCESS[kind] + (LOADED if kind == "cpu" else 1) * data + FLOAT * _chunk_floats(config, kind, len(runs))
    weights = [_weight_bytes(run, rows + run.online_steps) for run in runs]
    loading = PROCESS[kind] + (LOADING * data if kind == "cpu" else 0)
    return Memory(shared, tuple(state + steps + more for more in weights), loading)


def transitions_of(run: RunConfig) -> int:
    """Transitions of a run's dataset, as far as its configuration tells: a file may have fewer."""
    return run.dataset_transitions or (find_spec(run.env).default_transitions if run.dataset else 0)


def checkpoint_bytes(config: RunConfig, spec: EnvSpec) -> int:
    """Parameters, optimisers, online and imagined transitions of one run at the end of its online stage."""
    agent = find_agent(config.algorithm)(config.agent, Setup(spec.obs_dim, spec.action_dim, [0]))
    total = _size(agent.state()) + FLOAT * _width(spec) * config.online_steps
    if config.uses_model:
        total += _size(Ensemble(config.dynamics, spec.obs_dim, spec.action_dim, [0]).state())
        length = max(config.rollout.length, config.online.rollout_length or 0)
        total += FLOAT * _width(spec) * config.rollout.retain * length * config.rollout.batch_size
    return total


def _width(spec: EnvSpec) -> int:
    """Numbers of a transition."""
    return 2 * spec.obs_dim + spec.action_dim + 2


def _step_floats(config: RunConfig, spec: EnvSpec) -> int:
    """Numbers that the steps of one run work with."""
    agents = config.agent.num_agents if config.algorithm == "balanced_replay" else 1
    total = GRADIENT * config.agent.batch_size * agents * config.agent.num_critics * sum(config.agent.hidden)
    if config.uses_model:
        model, outputs = config.dynamics, 2 * (spec.obs_dim + 1)
        sizes = (spec.obs_dim + spec.action_dim, *model.hidden, outputs)
        params = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(sizes))
        training = GRADIENT * model.batch_size * sum(model.hidden) + OPTIMISED * params
        total += model.ensemble_size * (training + HELD_OUT * model.max_holdout * max(model.hidden))
        total += IMAGINED * config.rollout.batch_size * (model.ensemble_size * outputs // 2 + _width(spec))
    return total


def _chunk_floats(config: RunConfig, kind: str, runs: int) -> int:
    """Numbers of activations that are computed a chunk at a time, for all runs together."""
    model, floats = config.dynamics, 0
    if config.uses_model:
        layer = runs * model.ensemble_size * config.rollout.batch_size * max(model.hidden)
        floats = GRADIENT * min(layer, dynamics.PREDICT_FLOATS[kind])
    if config.algorithm in ("cql", "balanced_replay"):  # a layer of one run at least is held
        layer = (
            3 * config.agent.num_actions * config.agent.batch_size * config.agent.num_critics * max(config.agent.hidden)
        )
        floats += GRADIENT * len(config.agent.hidden) * max(layer, ACTIVATIONS[kind])
    return floats


def _weight_bytes(run: RunConfig, rows: int) -> int:
    """What a run's weights of single transitions need: the weights, and one pass of what computes them."""
    used = (
        {getattr(run.sampling, consumer) for consumer in CONSUMERS} if run.uses_model else {run.sampling.real_batches}
    )
    total = ROW_WEIGHTS * rows * len(used & {*ROW_STRATEGIES, "oorb"})
    if DENSITY_RATIO in used:
        total += (FLOAT + ROW_WEIGHTS) * rows
        total += FLOAT * GRADIENT * density_ratio.CHUNK * sum(run.density_ratio.hidden)
    return total


def _size(state: Any) -> int:
    """Bytes of the tensors of a state."""
    if isinstance(state, dict):
        return sum(map(_size, state.values()))
    return state.numel() * state.element_size() if isinstance(state, torch.Tensor) else 0
