"""Networks, Adam and random streams on the run axis, against torch's own modules run by run."""

from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from moore.networks.adam import RunAdam
from moore.networks.fast_mlp import NARROW
from moore.networks.gaussian import deterministic_action, squashed_gaussian
from moore.networks.mlp import MLP, Init
from moore.networks.random import Streams, derive_seed, scale_to_index
from tests.support.agents import linear_stack

SEEDS = [3, 4, 5]


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "swish"])
@pytest.mark.parametrize("members", [None, 2])
def test_mlp_is_torch_sequential(layer_norm: bool, activation: str, members: int | None) -> None:
    """Breaks if layers, runs or members are mixed up, or an activation or norm sits in the wrong place."""
    mlp = MLP((3, 8, 7, 2), activation, layer_norm, layer_norm_eps=1e-2)
    params = mlp.init(Streams(SEEDS, "init").generators, members)
    lead = params.shape[:-1]
    assert lead == ((3,) if members is None else (3, 2))
    x = torch.randn(*lead, 5, 3, generator=torch.Generator().manual_seed(0))
    out = mlp(params, x)
    for index in torch.cartesian_prod(*map(torch.arange, lead)).reshape(-1, len(lead)).tolist():
        one = tuple(index)
        torch.testing.assert_close(out[one], linear_stack(mlp, params[one])(x[one]).detach())


@pytest.mark.parametrize("out", [1, 4])
@pytest.mark.parametrize("width", [12, NARROW + 1])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_mlp_gradients_are_autograds(activation: str, layer_norm: bool, width: int, out: int) -> None:
    """Breaks if any term of the backward pass is wrong, for parameters or for either part of the input."""
    mlp = MLP((5, 16, width, out), activation, layer_norm, layer_norm_eps=1e-2)
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()  # noqa: E731
    params = mlp.init(Streams(SEEDS, "init").generators, 2).double().requires_grad_()
    obs, action, weight = draw(3, 2, 7, 3), draw(3, 2, 7, 2), draw(3, 2, 7, out)

    leaves = (params, obs, action)
    for wanted in (leaves, leaves[:1], leaves[2:]):  # an actor's loss asks for the action's alone
        ours = torch.autograd.grad((mlp(params, obs, action) * weight).sum(), wanted)
        for one, other in zip(
            ours, torch.autograd.grad((mlp.plain(params, obs, action) * weight).sum(), wanted), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_bf16_is_close_but_not_equal(activation: str, layer_norm: bool) -> None:
    """Breaks if bf16 changes a formula, if nothing is computed in it, or if outputs or gradients are rounded to it."""
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(3, 64, size, generator=generator) for size in (5, 1))
    results = []
    for precision in ("float32", "bf16"):
        mlp = MLP((5, 64, 64, 64, 1), activation, layer_norm, precision)
        params = mlp.init(Streams(SEEDS, "init").generators).requires_grad_()
        leaf = x.clone().requires_grad_()
        out = mlp(params, leaf)
        assert torch.equal(mlp(params.detach(), x), out.detach())  # with and without a gradient
        for each in (out, mlp.plain(params, leaf)):
            results.append((each.detach(), *torch.autograd.grad((each * weight).sum(), (params, leaf))))
    exact, _, *both = results
    for rounded in both:  # as it is called, and as it is compiled
        for one, other in zip(exact, rounded, strict=True):
            error = (one - other).norm() / one.norm()
            assert 1e-4 < error < 0.1  # a wrong formula is wrong by half and more
            assert other.dtype == torch.float32
        assert not torch.equal(rounded[0], rounded[0].bfloat16().float())


@pytest.mark.parametrize("scheme", ["linear", "xavier"])
def test_uniform_init(scheme: Init) -> None:
    """Breaks if the bound is not 1/sqrt(fan_in) or sqrt(6 / (fan_in + fan_out)), or runs are alike or not their own."""
    mlp = MLP((4, 400, 1))
    params = mlp.init(Streams(SEEDS, "init").generators, scheme=scheme)
    for weight, bias in mlp.layers(params):
        fan_in, fan_out = weight.shape[-2:]
        bound = fan_in**-0.5 if scheme == "linear" else (6 / (fan_in + fan_out)) ** 0.5
        assert bias.abs().max() <= (bound if scheme == "linear" else 0.0)
        assert 0.95 * bound < weight.abs().max() <= bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not torch.equal(params[0], params[1])
    alone = mlp.init(Streams(SEEDS[2:], "init").generators, scheme=scheme)
    torch.testing.assert_close(alone[0], params[2], rtol=0, atol=0)


def test_orthogonal_init() -> None:
    """Breaks if neither rows nor columns are orthogonal, a gain is not the authors', or a bias is not zero."""
    mlp = MLP((4, 16, 9, 2))
    params = mlp.init(Streams(SEEDS, "init").generators, 2, "orthogonal")
    assert not torch.equal(params[0, 0], params[0, 1])
    for (weight, bias), gain in zip(mlp.layers(params), (2**0.5, 2**0.5, 0.01), strict=True):
        wide = weight if weight.shape[-2] <= weight.shape[-1] else weight.mT
        gram = torch.eye(wide.shape[-2]).expand(3, 2, -1, -1) * gain**2
        torch.testing.assert_close(wide @ wide.mT, gram, atol=1e-5 * gain**2, rtol=0)
        assert not bias.any()


def test_squashed_gaussian_is_torch_distribution() -> None:
    """Breaks if the tanh correction or the clamp of the log std is wrong."""
    generator = torch.Generator().manual_seed(1)
    head = torch.randn(2, 50, 6, generator=generator, dtype=torch.float64)
    head[0, 0, 3:] = torch.tensor([-30.0, 5.0, 0.0])  # outside the clamp
    noise = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64)
    action, log_prob = squashed_gaussian(head, noise)
    mean, std = head[..., :3], head[..., 3:].clamp(-20, 2).exp()
    policy = TransformedDistribution(Independent(Normal(mean, std), 1), [TanhTransform(cache_size=1)])
    pre_tanh = mean + std * noise
    torch.testing.assert_close(action, pre_tanh.tanh())
    expected = policy.base_dist.log_prob(pre_tanh) - TanhTransform().log_abs_det_jacobian(pre_tanh, action).sum(-1)
    torch.testing.assert_close(log_prob, expected)
    moderate = (pre_tanh.abs() < 3).all(-1)  # where torch can invert tanh
    torch.testing.assert_close(log_prob[moderate], policy.log_prob(action)[moderate], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(deterministic_action(head), mean.tanh())


def test_squashed_gaussian_is_finite_far_out() -> None:
    """Breaks if the correction is computed as log(1 - tanh^2)."""
    head = torch.tensor([[[200.0, 2.0]], [[-200.0, 2.0]]])
    action, log_prob = squashed_gaussian(head, torch.ones(2, 1, 1))
    assert log_prob.isfinite().all()
    assert action.flatten().tolist() == [1.0, -1.0]


def test_run_adam_is_separate_adams() -> None:
    """Breaks if a paused run moves, counts a step, or a reset leaves moments behind."""
    generator = torch.Generator().manual_seed(2)
    params = torch.randn(3, 4, 2, generator=generator)
    ours = RunAdam(params, lr=0.1)
    rows = [row.clone().requires_grad_() for row in params]
    theirs = [torch.optim.Adam([row], lr=0.1) for row in rows]
    for step in range(12):
        if step == 7:
            ours.reset()
            theirs = [torch.optim.Adam([row], lr=0.1) for row in rows]
        grad = torch.randn(3, 4, 2, generator=generator)
        active = [True, step % 2 == 0, step < 3] if step else None
        ours.step(grad, active)
        for run, adam in enumerate(theirs):
            if active is None or active[run]:
                rows[run].grad = grad[run].clone()
                adam.step()
        torch.testing.assert_close(params, torch.stack([row.detach() for row in rows]))
    assert ours.steps.tolist() == [5.0, 2.0, 0.0]


def test_streams_do_not_know_the_cohort() -> None:
    """Breaks if one generator serves several runs or purposes."""
    for kind in ("normal", "uniform"):
        together = getattr(Streams(SEEDS, "online", "policy"), kind)(40, 2)
        for run, seed in enumerate(SEEDS):
            alone = Streams([seed], "online", "policy")
            assert torch.equal(getattr(alone, kind)(40, 2)[0], together[run])
            assert not torch.equal(getattr(Streams([seed], "offline", "policy"), kind)(40, 2)[0], together[run])
    assert together.dtype == torch.float64


def test_derived_seeds_are_distinct() -> None:
    """Breaks if seed, purpose or their order does not enter the derived seed."""
    purposes: tuple[tuple[Any, ...], ...] = (("a", "b"), ("c", "b"), ("b", "c"), ("b",), ("d", 1), ("d", 2))
    derived = [derive_seed(seed, *purpose) for seed in range(200) for purpose in purposes]
    assert len(set(derived)) == len(derived)
    assert all(0 <= value < 2**63 for value in derived)


@example(1.0, 10)  # a uniform that was rounded up
@given(st.floats(0, 1), st.integers(1, 2**40))
def test_scale_to_index_is_in_range(uniform: float, size: int) -> None:
    """Breaks if rounding up to `size` is not caught, or a number is not rounded down."""
    u = torch.tensor([[uniform]], dtype=torch.float64)
    index = int(scale_to_index(u, torch.tensor([[size]])))
    assert index == int(scale_to_index(u, size)) == min(int(uniform * size), size - 1)
