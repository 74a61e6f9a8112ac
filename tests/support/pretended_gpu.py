"""The path for a GPU as far as a machine without one can go: run by test_graphs.py, in a process of its own.

Fake tensors have a device and a shape but no numbers: code that would wait for the device, mix devices or read a number
fails on them. Torch has to know of a device before its first backward pass, so no other test may run before these.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from moore.algorithm.train_model import draw_batch
from moore.networks.mlp import MLP, Init
from moore.networks.random import Streams
from tests.support.agents import three_strategies
from tests.support.state import tensors

# every kind of update, draw and imagination once: what is left out is a part of one of these
CASES = [
    *((name, "online") for name in ("moore", "awac", "iql", "td3_bc", "cal_ql", "rlpd", "balanced_replay")),
    *((name, "offline") for name in ("moore", "cal_ql", "wsrl", "balanced_replay")),
]
# bf16 is the networks' own matter: those with LayerNorm, without, and the ensemble's
PRECISIONS = [*((*case, "float32") for case in CASES), ("moore", "online", "bf16"), ("wsrl", "offline", "bf16")]


@pytest.fixture(scope="module")
def device() -> str:
    """A device that torch believes in, whose tensors have no numbers."""
    _setup_privateuseone_for_python_backend("pretended")
    return "pretended"


@pytest.fixture
def copies(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Fake tensors for everything; lists what was copied from Python's numbers to the device, which makes it wait.

    Random numbers, whose generators would need a real device, are just shapes.
    """
    copied: list[Any] = []
    as_tensor, tensor = torch.as_tensor, torch.tensor

    def streams(self: Streams, seeds: Any, *purpose: Any, device: Any = "cpu") -> None:
        self.device, self.generators = torch.device(device), [None] * len(seeds)

    def draw(dtype: torch.dtype) -> Callable[..., Tensor]:
        return lambda self, *shape: torch.empty(len(self.generators), *shape, device=self.device, dtype=dtype)

    def init(self: MLP, generators: Any, members: int | None = None, scheme: Init = "linear") -> Tensor:
        lead = (len(generators), members) if members else (len(generators),)
        return torch.empty(*lead, self.num_params, device=device)

    def onto(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def onto_device(data: Any, *, device: Any = "cpu", **more: Any) -> Tensor:
            if isinstance(data, Tensor) or torch.device(device).type == "cpu":
                return make(data, device=device, **more)
            copied.append(data)
            made = make(data, **more)
            return torch.empty(made.shape, dtype=made.dtype, device=device)

        return onto_device

    monkeypatch.setattr(Streams, "__init__", streams)
    monkeypatch.setattr(Streams, "normal", draw(torch.float32))
    monkeypatch.setattr(Streams, "uniform", draw(torch.float64))
    monkeypatch.setattr(MLP, "init", init)
    monkeypatch.setattr(torch, "tensor", onto(tensor))
    monkeypatch.setattr(torch, "as_tensor", onto(as_tensor))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield copied


@pytest.mark.parametrize(("name", "stage", "precision"), PRECISIONS)
def test_nothing_waits_for_the_gpu(name: str, stage: str, precision: str, device: str, copies: list[Any]) -> None:
    """Breaks if a rollout or an update, with its draws, reads a number off the device, copies one, or mixes devices."""
    made = three_strategies(name, stage, device, precision=precision)
    t = 1 if stage == "online" else 0
    for _ in range(2):  # what stays the same for an epoch is copied once
        copies.clear()
        if made.ensemble is not None:
            made.ensemble.fitted = True
            made.imagine(t)
            made.ensemble.update(draw_batch(made, t, "model_batches", 3 * 8, "train"), [True, False, True])
        made.update_policy(t, 3)
    assert not copies
    for key, tensor in tensors(made.agent).items():
        assert tensor.device.type == device, key


def test_a_wait_would_be_seen(device: str, copies: list[Any]) -> None:
    """Breaks if fake tensors let a number be read, so that the test above means nothing."""
    x = torch.zeros(3, device=device)
    with pytest.raises(DataDependentOutputException):
        float(x.sum())
    with pytest.raises(DynamicOutputShapeException):
        x[x > 0]
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.zeros(3)
    torch.tensor([1.0], device=device)
    assert copies == [[1.0]]
