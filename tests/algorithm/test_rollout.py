"""Imagination: branch by branch against a plain loop; uncertainty and penalty against NumPy."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from moore.agents.sac import SAC
from moore.algorithm.dynamics import Ensemble
from moore.algorithm.replay import ModelBuffer
from moore.algorithm.rollout import rollout
from moore.networks.batch import Batch, pack
from moore.networks.gaussian import squashed_gaussian
from moore.networks.random import Streams
from tests.support.core import make_cohort, tiny
from tests.support.dynamics import numpy_uncertainty
from tests.support.rollouts import ACT, COEF, KINDS, OBS, SEEDS, B, fell, make

H = 3


def plain_rollout(
    ensemble: Ensemble, agent: SAC, streams: Streams, start: Tensor, kinds: list[str], coef: Tensor, truncates: bool
) -> list[list[Tensor]]:
    """The transitions of each run in order, one branch at a time."""
    rows: list[list[Tensor]] = [[] for _ in kinds]
    obs, alive = start.clone(), np.ones((len(kinds), B), dtype=bool)
    for h in range(H):
        policy_noise, pick, noise = streams.normal(B, ACT), streams.uniform(B), streams.normal(B, OBS + 1)
        for run in range(len(kinds)):
            for i in range(B):
                if not alive[run, i]:
                    continue
                one = slice(run, run + 1), slice(i, i + 1)
                state = obs.new_zeros(len(kinds), 1, OBS)
                state[run, 0] = obs[run, i]
                head = agent.actor(agent.actor_params, state)[run, 0]
                action = squashed_gaussian(head, policy_noise[run, i])[0]
                actions = obs.new_zeros(len(kinds), 1, ACT)
                actions[run, 0] = action
                mean, std = (x[run, :, 0] for x in ensemble.predict(state, actions))
                member = ensemble.elite_idxs[run, int(pick[run, i] * 2)]
                sample = mean[member] + std[member] * noise[run, i]
                u = ensemble.uncertainty_scale[run] * numpy_uncertainty(kinds[run], mean.numpy(), std.numpy())
                epistemic = numpy_uncertainty("ensemble_std", mean.numpy(), std.numpy())
                ends = truncates and epistemic > ensemble.trusted[run]
                if ends and h > 0:
                    alive[run, i] = False
                    continue
                reward = sample[-1] - coef[run] * u
                over = bool(fell(sample[:-1]))
                rows[run].append(pack(Batch(obs[one][0, 0], action, reward, sample[:-1], torch.tensor(float(over)))))
                obs[run, i], alive[run, i] = sample[:-1], not (over or ends)
    return rows


@pytest.mark.parametrize("truncates", [False, True])
def test_rollout_is_the_plain_loop(truncates: bool) -> None:
    """Breaks if elites, noise, the penalty's sign or scale, termination, truncation or D_model's order is wrong."""
    ensemble, agent, streams, start = make(SEEDS)
    ensemble.uncertainty_scale = torch.tensor([1.0, 3.0, 0.25])
    with torch.no_grad():  # run 0 is trusted nowhere, run 1 most of the time, run 2 everywhere
        mean, _ = ensemble.predict(start, agent.act(start))
        middle = mean[1, ..., :-1].var(0, correction=0).mean(-1).sqrt().quantile(0.9)
        ensemble.trusted[:2] = torch.stack([torch.zeros(()), middle])
    buffer = ModelBuffer(3, 2 * B, OBS, ACT)  # too small for all: the first transitions give way
    with torch.no_grad():
        expected = plain_rollout(ensemble, agent, Streams(SEEDS, "rollout"), start, KINDS, COEF, truncates)
    metrics = rollout(ensemble, agent, start, H, fell, KINDS, COEF, streams, buffer, truncates=truncates)
    if truncates:
        assert buffer.written[0] == B < buffer.written[1] < buffer.written[2]
    assert buffer.written.tolist() == [len(rows) for rows in expected]
    assert len(set(buffer.written.tolist())) > 1  # else nothing is ragged
    assert max(buffer.written.tolist()) > 2 * B
    for run, rows in enumerate(expected):
        slots = {i % (2 * B): row for i, row in enumerate(rows)}
        held = torch.stack([slots[i] for i in range(len(slots))])
        torch.testing.assert_close(buffer.rows[run, : len(slots)], held, rtol=1e-4, atol=1e-5)
        reward = torch.stack(rows)[:, OBS + ACT].mean()
        torch.testing.assert_close(metrics["rollout/reward_penalized"][run], reward, rtol=1e-4, atol=1e-5)
        assert metrics["rollout/transitions"][run] == len(rows)
        assert metrics["rollout/terminated_share"][run] == pytest.approx(
            float(torch.stack(rows)[:, -1].mean()), abs=1e-6
        )
    gap = metrics["rollout/reward_raw"] - metrics["rollout/reward_penalized"]
    torch.testing.assert_close(gap, COEF * metrics["penalty/mean"], rtol=1e-4, atol=1e-5)
    assert (metrics["penalty/q20"] < metrics["penalty/q50"]).all()
    assert (metrics["penalty/q50"] < metrics["penalty/q80"]).all()


def test_trust_is_a_quantile_of_the_data() -> None:
    """Breaks if another run's members or data, or the policy's actions, are looked at."""
    quantile = 0.8
    config = tiny(rollout={"truncation_quantile": quantile}, dynamics={"offline_max_updates": 12})
    cohort = make_cohort([config, dataclasses.replace(config, seed=1)], "offline")
    assert cohort.ensemble.trusted.isinf().all()
    cohort.train_model(0)
    for run in range(2):
        rows = cohort.real_buffer.all_of(run)
        mean, std = cohort.ensemble.only(run).predict(rows.obs[None], rows.action[None])
        u = [numpy_uncertainty("ensemble_std", mean[0, :, i].numpy(), std[0, :, i].numpy()) for i in range(100)]
        assert float(cohort.ensemble.trusted[run]) == pytest.approx(np.quantile(u, quantile), rel=1e-4)
    assert cohort.ensemble.trusted[0] != cohort.ensemble.trusted[1]


def test_a_diverged_run_is_not_truncated() -> None:
    """Breaks if D_model of a run that diverged stays empty, which would hold up the cohort."""
    ensemble, agent, streams, start = make(SEEDS)
    ensemble.params[1], ensemble.trusted[:] = torch.nan, 1e9
    buffer = ModelBuffer(3, B * H, OBS, ACT)
    rollout(ensemble, agent, start, H, fell, KINDS, COEF, streams, buffer, truncates=True)
    assert buffer.written[1] == B * H
