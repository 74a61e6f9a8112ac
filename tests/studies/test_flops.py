"""The arithmetic of a whole stage: every part as often as it happens, the ensemble as far as it went."""

from dataclasses import replace
from itertools import pairwise

import pytest

from moore.cli.options import find_study
from moore.studies.flops import part_flops, ratio_flops, stage_tflop


def test_a_stage_counts_what_happens_in_it() -> None:
    """Breaks if evaluation counts, a rollout's steps or idle first steps do not, or a mean counts once."""
    runs = {run.method: run for run in find_study("all-methods", "mini").runs if run.env == "pendulum"}
    part, offline = part_flops(runs["moore"], "online"), part_flops(runs["moore"], "offline")
    # 5,000 steps, 40 trainings and rollouts, updates once D_model has rows, from step 125 on
    updates = runs["moore"].online.utd_ratio * (5000 - 124)
    by_hand = 5000 * part["environment steps"] + 40 * part["rollouts"] + updates * part["policy updates"]
    assert stage_tflop(runs["moore"], "online", {}) == pytest.approx(by_hand / 1e12)
    trained = by_hand + (2 * 30 + 2 * 50) * part["ensemble updates"]  # two trainings in each epoch
    assert stage_tflop(runs["moore"], "online", {250: 30, 500: 50}) == pytest.approx(trained / 1e12)
    imagined = runs["moore"].offline.updates // runs["moore"].offline.rollout_interval
    by_hand = runs["moore"].offline.updates * offline["policy updates"] + imagined * offline["rollouts"]
    by_hand += 2500 * offline["ensemble updates"]
    assert stage_tflop(runs["moore"], "offline", {0: 2500}) == pytest.approx(by_hand / 1e12)
    mbpo = replace(runs["mbpo"], online=replace(runs["mbpo"].online, exploration_steps=500))
    scratch = stage_tflop(mbpo, "online", {500: 3000, 750: 50}) - stage_tflop(mbpo, "online", {})
    assert scratch == pytest.approx((3000 + 2 * 50) * part["ensemble updates"] / 1e12)
    acting = part["environment steps"]
    assert stage_tflop(runs["mopo"], "online", {}) == pytest.approx(5000 * acting / 1e12)  # frozen: it only acts


def test_the_density_ratio_is_part_of_balanced_replay() -> None:
    """Breaks if the network that weighs transitions is left out, or its gradient or one of its two batches."""
    run = next(run for run in find_study("all-methods", "mini").runs if run.method == "balanced_replay")
    hidden = (3 + 1, *run.density_ratio.hidden, 1)
    forward = 2 * sum(n * m for n, m in pairwise(hidden))
    gradient = 3 * forward - 2 * hidden[0] * hidden[1]  # none for the observations
    by_hand = 2 * run.density_ratio.batch_size * gradient + run.agent.batch_size * forward
    assert ratio_flops(run) == by_hand
    without = replace(run, sampling=replace(run.sampling, real_batches="uniform"))
    assert part_flops(run, "online")["policy updates"] - part_flops(without, "online")["policy updates"] == by_hand
