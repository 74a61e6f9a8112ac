"""The dynamics ensemble on the run axis, against one run's training loop written with torch.nn, and against NumPy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from moore.algorithm.dynamics import PREDICT_FLOATS, DynamicsConfig, Ensemble
from moore.networks.batch import Batch
from moore.networks.random import Streams, scale_to_index
from tests.support.agents import linear_stack
from tests.support.dynamics import plain_fit, true_mean

OBS, ACT, K = 2, 1, 3
OUT = OBS + 1
CONFIG = DynamicsConfig(
    ensemble_size=K,
    num_elites=2,
    hidden=(12, 10),
    weight_decay=(0.3, 0.2, 0.1),
    lr=3e-3,
    batch_size=16,
    epoch_updates=8,
    patience=1,
    min_improvement=0.02,
)
SEEDS = [0, 1, 2]


def config(**changes: object) -> DynamicsConfig:
    return DynamicsConfig(**{**vars(CONFIG), **changes})


def system(n: int, seed: int, noise: float = 0.1, runs: int = 1) -> Batch:
    """A linear-Gaussian system: mean(next obs, reward) is linear in (obs, action), the same noise in each."""
    g = torch.Generator().manual_seed(seed)
    obs, action = torch.randn(runs, n, OBS, generator=g), torch.rand(runs, n, ACT, generator=g) * 2 - 1
    mean = true_mean(obs, action)
    y = mean + noise * torch.randn(mean.shape, generator=g)
    return Batch(obs, action, y[..., -1], y[..., :-1], torch.zeros(runs, n))


def stack(batches: list[Batch]) -> Batch:
    return Batch(*(torch.cat(fields) for fields in zip(*batches, strict=True)))


def drawer(data: Batch, seeds: list[int]) -> Callable[[int], Batch]:
    """Random minibatches [R, n] of data [R, N]; a run's rows depend on its seed alone."""
    streams = Streams(seeds, "draw")

    def draw(n: int) -> Batch:
        index = scale_to_index(streams.uniform(n), data.reward.shape[1])
        return Batch(*(torch.stack([x[run][index[run]] for run in range(len(seeds))]) for x in data))

    return draw


def three_runs() -> tuple[Batch, Batch]:
    """Training and holdout data of runs that converge at different times: clean, noisy and pure noise."""
    noises = (0.01, 1.0, 30.0)
    train = stack([system(200, 10 + i, noise) for i, noise in enumerate(noises)])
    return train, stack([system(60, 20 + i, noise) for i, noise in enumerate(noises)])


@pytest.mark.parametrize(("normalize_targets", "layer_norm"), [(False, False), (True, False), (True, True)])
def test_fit_is_the_plain_loop(normalize_targets: bool, layer_norm: bool) -> None:
    """Breaks if loss, decay, bootstrap, early stop, snapshots or elites are wrong, or a converged run moves."""
    train, holdout = three_runs()
    ensemble = Ensemble(config(normalize_targets=normalize_targets, layer_norm=layer_norm), OBS, ACT, SEEDS)
    assert ensemble.net.layer_norm == layer_norm  # which the plain loop reads off the network
    for run in SEEDS:
        ensemble.fit_scaler(run, Batch(*(x[run] for x in train)))
    expected = [
        plain_fit(
            ensemble,
            run,
            drawer(Batch(*(x[run : run + 1] for x in train)), [run]),
            Batch(*(x[run : run + 1] for x in holdout)),
            150,
        )
        for run in SEEDS
    ]
    metrics = ensemble.fit(drawer(train, SEEDS), holdout, 150)
    updates = metrics["model/updates"].tolist()
    assert updates == [count for _, _, count, _ in expected]
    assert len(set(updates)) > 1  # else the test shows nothing about runs that stop early
    assert ensemble.params_adam.steps.tolist() == ensemble.bounds_adam.steps.tolist() == updates
    for run, (params, elites, _, error) in enumerate(expected):
        assert float(metrics["model/holdout_mse"][run]) == pytest.approx(error, rel=1e-4)
        torch.testing.assert_close(ensemble.params[run], params, rtol=1e-3, atol=1e-4)
        assert ensemble.elite_idxs[run].tolist() == elites


def test_caps_and_fresh_optimizer() -> None:
    """Breaks if a cap is overrun or `fresh_optimizer` does not decide over old moments."""
    train, holdout = three_runs()
    for fresh, steps in ((False, 14.0), (True, 7.0)):
        ensemble = Ensemble(config(fresh_optimizer=fresh), OBS, ACT, SEEDS)
        for _ in range(2):
            updates = ensemble.fit(drawer(train, SEEDS), holdout, 7)["model/updates"]
        assert updates.tolist() == [7.0] * 3
        assert ensemble.params_adam.steps.tolist() == ensemble.bounds_adam.steps.tolist() == [steps] * 3


def test_prediction_is_the_members() -> None:
    """Breaks if the bounds of the noise, or the way back to raw units, is wrong."""
    train = system(64, 1, runs=2)
    ensemble = Ensemble(config(normalize_targets=True), OBS, ACT, SEEDS[:2])
    for run in range(2):
        ensemble.fit_scaler(run, Batch(*(3.0 * x[run] + 1.0 for x in train)))
    ensemble.bounds += torch.linspace(-0.3, 0.3, 2 * 2 * OUT).view(2, 2, OUT)
    next_mean, next_std = ensemble.predict(train.obs, train.action)
    for run in range(2):
        inputs = (torch.cat([train.obs[run], train.action[run]], -1) - ensemble.input_mean[run, 0]) / (
            ensemble.input_std[run, 0]
        )
        top, low = ensemble.bounds[run].numpy()
        t_mean, t_std = ensemble.target_mean[run, 0, 0].numpy(), ensemble.target_std[run, 0, 0].numpy()
        for k in range(K):
            mean, logvar = np.split(linear_stack(ensemble.net, ensemble.params[run, k])(inputs).detach().numpy(), 2, -1)
            logvar = low + np.logaddexp(0, top - np.logaddexp(0, top - logvar) - low)
            raw = mean * t_std + t_mean + np.append(train.obs[run].numpy(), np.zeros((64, 1)), 1)
            np.testing.assert_allclose(next_mean[run, k], raw, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(next_std[run, k], np.exp(logvar / 2) * t_std, rtol=1e-4)


def test_scaler() -> None:
    """Breaks if moments are taken over the wrong axis or another run's are touched."""
    ensemble = Ensemble(config(normalize_targets=True), OBS, ACT, SEEDS)
    data = system(50, 3)
    ensemble.fit_scaler(1, Batch(*(x[0] for x in data)))
    inputs = torch.cat([data.obs, data.action], -1)[0]
    torch.testing.assert_close(ensemble.input_mean[1, 0, 0], inputs.mean(0))
    torch.testing.assert_close(ensemble.input_std[1, 0, 0], inputs.std(0, correction=0))
    targets = torch.cat([data.next_obs - data.obs, data.reward[..., None]], -1)[0]
    torch.testing.assert_close(ensemble.target_std[1, 0, 0], targets.std(0, correction=0))
    assert (ensemble.input_mean[[0, 2]] == 0).all()
    assert (ensemble.input_std[[0, 2]] == 1).all()
    constant = data._replace(obs=data.obs * torch.tensor([1.0, 0.0]) + 5.0)
    ensemble.fit_scaler(0, Batch(*(x[0] for x in constant)))
    assert ensemble.input_std[0, 0, 0, 1] == 1.0  # not a division by almost nothing


def test_predictions_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks if chunks are put together in the wrong order."""
    ensemble, data = Ensemble(CONFIG, OBS, ACT, SEEDS), system(50, 4, runs=3)
    whole = ensemble.predict(data.obs, data.action)
    monkeypatch.setitem(PREDICT_FLOATS, "cpu", 7 * 3 * K * 12)
    for got, expected in zip(ensemble.predict(data.obs, data.action), whole, strict=True):
        torch.testing.assert_close(got, expected)


def test_nan_stays_in_its_run() -> None:
    """Breaks if one run's broken data reach another run, or a broken fit does not go back to its start."""
    train, holdout = three_runs()
    poison = train._replace(reward=train.reward.index_fill(0, torch.tensor([1]), torch.nan))
    clean, poisoned = (Ensemble(CONFIG, OBS, ACT, SEEDS) for _ in range(2))
    start = clean.params.clone()
    clean.fit(drawer(train, SEEDS), holdout, 40)
    poisoned.fit(drawer(poison, SEEDS), holdout, 40)
    for run in (0, 2):
        assert torch.equal(clean.params[run], poisoned.params[run])
    assert torch.equal(poisoned.params[1], start[1])
