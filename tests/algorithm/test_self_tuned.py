"""MOORe+'s schedule: the share against a literal loop, and its floor in draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moore.algorithm.draws import ALL
from moore.algorithm.sampling import Moment, SamplingConfig, prioritized
from moore.algorithm.self_tuned import SelfTuned, tuned_share
from moore.networks.batch import Batch
from moore.networks.random import Streams
from tests.algorithm.test_row_weights import append, literal_model_error, make_buffer, make_ensemble
from tests.support.core import make_cohort, strategy, tiny

pytestmark = pytest.mark.usefixtures("double_precision")


@given(*[st.floats(1e-3, 10.0)] * 3, st.floats(0.0, 0.9), st.floats(0.0, 0.99))
def test_the_formula(offline: float, online: float, rate: float, share: float, floor: float) -> None:
    """Breaks if the share falls where the online error is larger, or leaves its bounds."""
    expected = share * math.exp(rate * (online - offline) / (online + offline))
    found = tuned_share(share, offline, online, rate, floor)
    assert found == pytest.approx(max(floor, min(0.9, expected)))


def test_shares_of_runs_are_the_loop() -> None:
    """Breaks if trained rows count, another run's errors do, or the latest rows stay the latest ones for ever."""
    # a low curve and a high rate, so that the errors have a say
    configs = [SamplingConfig("self_tuned", tuning_rate=20.0, decay_rate=1e-3), SamplingConfig()]
    configs.append(SamplingConfig("uniform", "self_tuned", tuning_rate=30.0, decay_rate=3e-3))
    buffer, held_out = make_buffer(), [2, 1, 3]  # offline rows 11, 6, 11
    ensemble, tuned = make_ensemble(buffer), SelfTuned(configs, buffer, held_out)
    expected, known = [0.0, 0.0, 0.0], 0
    for t in (1, 2, 3):
        moments = [Moment(t, buffer.offline_size[run], buffer.online_size, 10, 5) for run in range(3)]
        tuned.refresh(ensemble, moments)
        for run in (0, 2):
            errors = literal_model_error(ensemble, run, buffer.all_of(run), 1.0)
            n_off = buffer.offline_size[run]
            off, on = np.mean(errors[n_off - held_out[run] : n_off]), np.mean(errors[n_off + known :])
            q = expected[run] * math.exp(configs[run].tuning_rate * (on - off) / (on + off))
            paper = moments[run].n_on / (moments[run].n_on + n_off / (configs[run].decay_rate * t))
            expected[run] = max(min(q, 0.9), paper)
        np.testing.assert_allclose(tuned.share, expected, rtol=1e-4)  # eps of the literal errors
        known = buffer.online_size
        append(buffer, known)
    assert tuned.known == 7


def test_draws_have_the_share_and_never_fall_below_the_paper() -> None:
    """Breaks if a consumer ignores the tuned share, or the paper's curve between two retrainings."""
    cohort = make_cohort([tiny(sampling=strategy("self_tuned")), tiny(sampling=strategy("prioritized"))], "online")
    stream = Streams([0, 1], "online rows")
    for _ in range(12):
        obs, next_obs = stream.normal(2, 3).unbind(1)
        cohort.real_buffer.append(Batch(obs, stream.normal(1).tanh(), stream.normal(), next_obs, torch.zeros(2)))
    cohort.draws.refresh(cohort.agent, cohort.ensemble, cohort.streams["density_ratio"])
    paper = float(prioritized(SamplingConfig(), Moment(1, 100, 12, 3, 20)).online_share)
    assert cohort.draws.self_tuned.share == pytest.approx([paper, 0.0])
    cohort.draws.self_tuned.share[0] = 0.75
    count = 1000
    grid = ((torch.arange(count) + 0.5) / count).expand(2, 2, count)
    for t, share in ((1, 0.75), (40, 12 / (12 + 100 / 40))):
        cohort.draws._plans.clear()
        _, found = cohort.draws.rows("start_states", t, grid, ALL)
        assert found[0].item() == pytest.approx(share, abs=1e-3)
        assert found[1].item() == pytest.approx(12 / (12 + 100 / t), abs=1e-3)
