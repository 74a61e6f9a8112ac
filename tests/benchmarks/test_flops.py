"""The arithmetic that the reports divide by: by hand, and against what the suite's own networks multiply."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from moore.cli.options import find_study
from moore.studies.flops import part_flops, update_flops
from tests.benchmarks.cases import METHOD_STAGES, Case, prepared
from tests.benchmarks.slice import column

ACTOR, CRITIC = 2 * (17 * 256 + 256**2 + 256 * 12), 2 * (23 * 256 + 256**2 + 256)  # of one row in halfcheetah
OBS = 2 * 17 * 256  # of the first layers: no gradient is needed for observations


@pytest.mark.parametrize(("method", "stage"), [("sac", "online"), *METHOD_STAGES])
def test_networks_of_the_suite_multiply_no_more_than_is_counted(method: str, stage: str) -> None:
    """They save what the plain formulas have to do; a product more would make every share of the peak too low."""
    work = prepared(Case("other methods", method, 2, 8, stage), "cpu")
    with FlopCounterMode(display=False) as counter:
        work.call()
    assert 0.3 * work.flops < counter.get_total_flops() <= work.flops


def test_flops_of_the_paper_scale() -> None:
    """Breaks if a part's arithmetic leaves out the batch, the members, the imagined steps or a pass of a network."""
    flops = part_flops(column()[0], "online")
    member, batch = 2 * (23 * 200 + 3 * 200 * 200 + 200 * 36), 256
    assert flops["rollouts"] == 50_000 * 5 * (7 * member + ACTOR)
    assert flops["ensemble updates"] == 7 * batch * (3 * member - 2 * 23 * 200)
    assert flops["evaluation steps"] == flops["environment steps"] == ACTOR
    target, critics = ACTOR + 2 * CRITIC, 2 * (3 * CRITIC - 2 * 23 * 256)
    assert flops["policy updates"] == batch * (target + critics + (3 * ACTOR - OBS) + 2 * (2 * CRITIC - OBS))


def test_an_actor_that_steps_less_often_costs_less() -> None:
    """Breaks if the arithmetic of RLPD's updates has an actor's step in each of them, not in one of twenty."""
    config = next(run for run in find_study("main_table", "paper").runs if run.method == "rlpd")
    each = replace(config, agent=replace(config.agent, online_actor_interval=1))
    per_update, with_actor = (part_flops(one, "online")["policy updates"] for one in (config, each))
    step = 256 * (3 * ACTOR - OBS + 10 * (2 * CRITIC - OBS))
    assert with_actor - per_update == pytest.approx(step * 19 / 20)
    assert with_actor == update_flops(each, "online")
