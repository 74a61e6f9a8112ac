"""Draws by kept plans take the rows, bit for bit, that an object which has kept nothing takes."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moore.algorithm.cohort import Cohort
from moore.algorithm.draws import ALL, Draws, Split
from moore.algorithm.row_weights import ROW_STRATEGIES
from moore.algorithm.sampling import CONSUMERS, DENSITY_RATIO, STRATEGIES, Mixture
from moore.networks.batch import unpack
from tests.support.agents import method
from tests.support.core import make_cohort, tiny
from tests.support.draws import draw, filled

COUNT = 40  # rows of a draw
EVERY_STRATEGY = (*STRATEGIES, *ROW_STRATEGIES, DENSITY_RATIO)
SPLITS = {
    "model_batches": (Split("train", 0.2, 2), Split("holdout", 0.2, 2)),
    "start_states": (ALL,),
    "real_batches": (ALL,),
}


def cohort_of(strategies: Sequence[Sequence[str]]) -> Cohort:
    """An online cohort whose run r has strategies[r] for its consumers."""
    small = {"hidden": [4], "batch_size": 8, "model_updates": 2}
    samplings = [dict(zip(CONSUMERS, names, strict=True)) | {"fresh_window": 0.1} for names in strategies]
    return make_cohort(
        [tiny(seed=run, sampling=sampling, density_ratio=small) for run, sampling in enumerate(samplings)], "online"
    )


def happen(cohort: Cohort, event: str, t: int) -> None:
    """Something after which draws may differ: steps, new weights of moved networks, or a checkpoint that is loaded."""
    buffer = cohort.real_buffer
    if event in ("step", "steps"):
        for _ in range(min(7 if event == "steps" else 1, buffer.online_capacity - buffer.online_size)):
            buffer.append(unpack(torch.randn(len(cohort.configs), buffer.rows.shape[1]), buffer.obs_dim))
    elif event in ("refresh", "load"):
        saved = copy.deepcopy(cohort.draws.state())
        with torch.no_grad():
            for params in (cohort.agent.actor_params, cohort.ensemble.params):  # type: ignore[attr-defined]
                params += torch.randn(params.shape)
        cohort.refresh_weights()
        if event == "load":
            check(cohort, t, "start_states")  # what is loaded is not what is there and was drawn by
            cohort.draws.load(saved)


def check(cohort: Cohort, t: int, consumer: str) -> None:
    """Draw, and draw the same by an object that has just loaded the state."""
    new = Draws(cohort.configs, cohort.real_buffer, [None] * len(cohort.configs), "online")
    new.load(copy.deepcopy(cohort.draws.state()))
    for split in SPLITS[consumer] * 2:
        uniforms = cohort.streams["minibatch"].uniform(2, COUNT).transpose(0, 1)
        for one, other in zip(
            cohort.draws.rows(consumer, t, uniforms, split), new.rows(consumer, t, uniforms, split), strict=True
        ):
            assert torch.equal(one, other)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(*[st.sampled_from(EVERY_STRATEGY)] * 3), min_size=2, max_size=3),
    st.lists(st.sampled_from(["step", "steps", "epoch", "refresh", "load"]), max_size=6),
)
def test_nothing_kept_is_out_of_date(strategies: list[tuple[str, ...]], events: list[str]) -> None:
    """Breaks if a plan outlives its epoch, its online transitions or its weights, or mixes up parts or sources."""
    if any(DENSITY_RATIO in names for names in strategies):
        strategies = [(*names[:2], DENSITY_RATIO) for names in strategies]  # all runs of a cohort learn it, or none
    cohort, t = cohort_of(strategies), 1
    for event in ["steps", "refresh", *events]:
        t += event == "epoch"
        happen(cohort, event, t)
        ratio = cohort.draws.density_ratio
        for consumer in CONSUMERS if event != "steps" or cohort.draws.row_weights.offline else ():
            if consumer == "model_batches" and ratio and ratio.known_online < cohort.online_size:
                continue  # the ensemble's data are drawn right after a refresh
            check(cohort, t, consumer)


def test_weights_that_change_with_every_minibatch() -> None:
    """Breaks if anything of Balanced Replay's draws is kept: its weights change in place, with no refresh between."""
    cohort = make_cohort([method("balanced_replay", seed=seed) for seed in range(2)], "online")
    weights = cohort.draws.minibatch_weights
    for _ in range(5):
        happen(cohort, "step", 1)
        weights.add_online()
        for _ in range(3):
            weights.priorities.uniform_(1e-3, 10.0)
            check(cohort, 1, "real_batches")


def test_every_consumer_has_its_own_strategy() -> None:
    """Breaks if a consumer reads another one's setting, or a run another run's: exact shares on a grid."""
    cohort = cohort_of([("half_half", "pure_online", "fixed_ratio"), ("pure_online", "uniform", "half_half")])
    happen(cohort, "steps", 1)
    grid = ((torch.arange(214) + 0.5) / 214).double().expand(2, 2, -1)  # 100 offline rows, 7 online
    found = [cohort.draws.rows(consumer, 1, grid, ALL)[1].tolist() for consumer in CONSUMERS]
    assert found == [[0.5, 1.0], [1.0, pytest.approx(7 / 107)], [0.5, 0.5]]


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_draw_is_a_function_of_tensors(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if a draw by a kept plan makes a tensor of numbers, or a number of a tensor: on a GPU each is a wait."""
    cohort = cohort_of([[strategy] * 3] * 2)
    happen(cohort, "steps", 1)
    cohort.refresh_weights()
    uniforms = torch.rand(2, 2, COUNT, dtype=torch.float64)
    draws = [(consumer, split) for consumer in CONSUMERS for split in SPLITS[consumer]]
    before = [cohort.draws.rows(consumer, 1, uniforms, split) for consumer, split in draws]

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the device would be waited for")

    for name in ("tensor", "as_tensor", "from_numpy", "nonzero"):
        monkeypatch.setattr(torch, name, refuse)
    for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__", "__index__"):
        monkeypatch.setattr(Tensor, name, refuse)
    again = [cohort.draws.rows(consumer, 1, uniforms, split) for consumer, split in draws]
    monkeypatch.undo()
    for pair, known in zip(again, before, strict=True):
        assert all(map(torch.equal, pair, known))


def test_shares_are_compared_in_double_precision() -> None:
    """Breaks if a share is rounded to float32, in which 0.1 is larger than 0.1."""
    uniforms = torch.tensor([0.1 - 1e-12, 0.1, 0.1 + 1e-9], dtype=torch.float64).expand(2, 1, -1)
    index, _ = draw(filled([9], 4), [Mixture(0.1)], uniforms)
    assert index.tolist() == [[9, 0, 0]]
