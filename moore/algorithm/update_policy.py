"""Updating policy and critics, N times after an environment step, on D_model and on a share of real transitions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from moore.agents.actor_critic import Agent
from moore.algorithm.config import RunConfig
from moore.algorithm.draws import ALL
from moore.algorithm.metrics import Metrics
from moore.base.plugins import is_plugin
from moore.networks.batch import AnyBatch, Batch
from moore.networks.graphs import Graphs
from moore.networks.random import scale_to_index

if TYPE_CHECKING:
    from moore.algorithm.cohort import Cohort

UPDATES_PER_DRAW = 50  # random numbers are drawn for so many updates at once: few calls, bounded memory


def update_policy(cohort: Cohort, t: int, count: int) -> None:
    """Update policy and critics `count` times in epoch t; but for the real share, batches are uniform in D_model."""
    agent, shared = cohort.agent, cohort.shared
    num_real = round(agent.batch_size * cohort.real_ratio)
    if agent.bc_weight is not None:
        # f of the paper with alpha = 1: the policy is held to the data less and less; ours
        agent.bc_weight.fill_(shared.agent.bc_coef / max(1, t))

    imagined = cohort.streams["minibatch"].uniform(count, agent.batch_size - num_real)
    noise = cohort.streams["update"].normal(count, agent.noise_blocks, agent.batch_size, cohort.spec.action_dim)
    actors = tuple(steps_actor(cohort, cohort.updates + i) for i in range(1, count + 1))
    cohort.updates += count

    weights = cohort.draws.minibatch_weights
    if weights is not None:  # one minibatch's rows are drawn by priorities that the one before has changed
        weights.add_online()
        for i, actor in enumerate(actors):
            index = cohort.draw("real_batches", t, "minibatch", num_real, ALL)
            cohort.metrics.add(weights.update(index, cohort.streams["density_ratio"]))
            update(cohort, actor, noise[:, i], imagined[:, i], index)
        return

    if num_real:
        index = cohort.draw("real_batches", t, "minibatch", count * num_real, ALL).unflatten(1, (count, num_real))
    else:
        index = imagined[..., :0].long()
    if isinstance(cohort.policy_call, Graphs):  # one recording of them all
        several = functools.partial(several_updates, cohort, actors)
        cohort.metrics.add(*cohort.policy_call(("updates", actors), several, noise, imagined, index))
        return
    for i, actor in enumerate(actors):
        update(cohort, actor, noise[:, i], imagined[:, i], index[:, i])


def steps_actor(cohort: Cohort, number: int) -> bool:
    """Tell whether update `number` of the stage, from 1, is of the actor, too."""
    frozen = cohort.shared.online.critic_first_updates if cohort.stage == "online" else 0
    return number % cohort.agent.actor_interval == 0 and number > frozen


def update(cohort: Cohort, actor: bool, noise: Tensor, imagined: Tensor, index: Tensor) -> None:
    """Update once."""
    batch = gather(cohort, imagined, index)
    step = functools.partial(update_step, cohort.agent, type(batch), actor)
    cohort.metrics.add(cohort.policy_call(("update", actor), step, noise, *batch))


def several_updates(
    cohort: Cohort, actors: Sequence[bool], noise: Tensor, imagined: Tensor, index: Tensor
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Update once for each of `actors`; returns the sums of metrics and of how many each one is."""
    metrics = Metrics()
    for i, actor in enumerate(actors):
        batch = gather(cohort, imagined[:, i], index[:, i])
        metrics.add(update_step(cohort.agent, type(batch), actor, noise[:, i], *batch))
    return metrics.sums, metrics.counts


def gather(cohort: Cohort, imagined: Tensor, index: Tensor) -> AnyBatch:
    """Return real transitions at rows [R, n] of the buffer, then those of D_model that uniforms [R, m] pick."""
    buffer, parts = cohort.real_buffer, list[AnyBatch]()
    if index.shape[1]:
        parts.append((buffer.gather_with_returns if cohort.shared.reads_returns else buffer.gather)(index))
    if imagined.shape[1]:
        parts.append(cohort.model_buffer.gather(scale_to_index(imagined, cohort.model_buffer.size[:, None])))
    return parts[0] if len(parts) == 1 else Batch(*(torch.cat(field, 1) for field in zip(*parts, strict=True)))


def update_step(agent: Agent, kind: type[AnyBatch], actor: bool, noise: Tensor, *fields: Tensor) -> dict[str, Tensor]:
    """Update as a function of tensors with the run axis first, which can be recorded or compiled."""
    return agent.update(kind(*fields), noise.transpose(0, 1), actor)


def step_settings(config: RunConfig, stage: str) -> object:
    """Return what a compiled update depends on beside inputs, shapes and actor's step.

    None: it is not to be compiled; of a plugin's it is not known what it does in Python and on which files it depends.
    """
    if is_plugin(config.algorithm):
        return None
    # behaviour cloning depends on which rows of a batch are real
    cloning = (config.real_ratio, config.online.real_ratio) if getattr(config.agent, "bc_coef", 0.0) else ()
    return config.algorithm, config.agent, config.precision, stage, *cloning


def updates_of(config: RunConfig, stage: str) -> int:
    """Return how many updates of the policy a stage makes."""
    online = config.online
    return config.offline.updates if stage == "offline" else online.epochs * online.epoch_steps * online.utd_ratio
