"""State by walking: what is saved, what is not, and in-place restoring."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from moore.networks.adam import RunAdam
from moore.networks.random import Streams
from moore.networks.state import State, joined, runs_of


class Inner(State):
    def __init__(self) -> None:
        self.weights = torch.zeros(3, 2)
        self.view = None
        self.count = 0


class Outer(State):
    def __init__(self) -> None:
        self.inner, self.array, self.items = Inner(), np.zeros(3), [1, 2]
        self.streams = {"a": Streams([0, 1, 2], "a")}
        self.sums: dict[str, torch.Tensor] = {}
        self.adam = RunAdam(self.inner.weights, 0.1)
        self._constant, self.function = torch.ones(2), torch.relu
        self.maybe: torch.Tensor | None = None


def changed() -> Outer:
    outer = Outer()
    outer.adam.step(torch.ones(3, 2))
    outer.inner.count, outer.array[1], outer.items, outer.maybe = 5, 2.5, [7, 8], torch.tensor(1.5)
    outer.sums["loss"] = torch.arange(3.0)
    outer.streams["a"].normal(4)
    return outer


def test_saved_and_restored(tmp_path: Path) -> None:
    """Breaks if an attribute is missed, a view goes stale, or torch.load refuses what is saved."""
    before = changed()
    torch.save(before.state(), tmp_path / "state.pt")
    after = Outer()
    view = after.inner.weights[0]
    after.load(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(after.inner.weights, before.inner.weights)
    assert view.data_ptr() == after.inner.weights.data_ptr()
    assert torch.equal(view, before.inner.weights[0])
    assert (after.inner.count, after.array[1], after.items) == (5, 2.5, [7, 8])
    assert after.maybe == 1.5
    assert torch.equal(after.sums["loss"], torch.arange(3.0))
    assert torch.equal(after.streams["a"].normal(2), before.streams["a"].normal(2))
    gradient = torch.full((3, 2), 0.5)  # moments and step counts too: the next step is the same
    before.adam.step(gradient)
    after.adam.step(gradient)
    assert torch.equal(after.inner.weights, before.inner.weights)


def test_what_is_no_state() -> None:
    """Breaks if constants, functions or foreign objects are saved."""
    assert not {"_constant", "function"} & Outer().state().keys()


def test_runs_are_forked_by_the_leading_axis() -> None:
    """Breaks if a fork takes another run's part, or carries plain values into another stage."""
    state: dict[str, Any] = {"a": torch.arange(6.0).view(3, 2), "stage": "offline", "in": {"b": torch.arange(3)}}
    forked = joined([runs_of(state, run) for run in (2, 0)])
    assert torch.equal(forked["a"], state["a"][[2, 0]])
    assert torch.equal(forked["in"]["b"], torch.tensor([2, 0]))
    assert "stage" not in forked
