"""Steps for a GPU: recordings, with a recorder that runs the function again, and what a pretended GPU can tell."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from moore.algorithm.cohort import Cohort
from moore.networks.graphs import Graphs
from tests.support.agents import METHODS
from tests.support.recordings import check_recorded, tensors_of


def test_nothing_waits_for_a_gpu() -> None:
    """Breaks with tests/support/pretended_gpu.py, whose torch must not have done a backward pass before."""
    path = Path(__file__).parents[1] / "support" / "pretended_gpu.py"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=path.parent.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.split()[0] == "." * (11 + 2 + 1)


class Tape(TorchDispatchMode):
    """Writes down every operation with the very tensors that it reads and makes, as a CUDA graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        """Do the same again with the same memory, whatever has taken its place meanwhile."""
        with torch._C._AutoDispatchBelowAutograd(), torch.no_grad():
            for function, args, kwargs, out in self.operations:
                shared, again = storages((args, kwargs)), function(*args, **kwargs)
                for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in shared:
                        old.copy_(new)


def storages(values: Any) -> set[int]:
    """The memory of all tensors in nested values."""
    return {x.untyped_storage().data_ptr() for x in tree_leaves(values) if isinstance(x, Tensor)}


def taped(made: Cohort) -> Callable[[Callable[[], Any]], tuple[Any, Callable[[], None]]]:
    """A recorder like the real one: recording changes nothing, and what is replayed are operations, not Python."""

    def record(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        before = [tensor.detach().clone() for tensor in tensors_of(made).values()]
        with Tape() as tape:
            outputs = function()
        for tensor, old in zip(tensors_of(made).values(), before, strict=True):
            tensor.detach().copy_(old)
        return outputs, tape.replay

    return record


@pytest.mark.parametrize("stage", ["offline", "online"])
@pytest.mark.parametrize("name", METHODS)
def test_recorded_steps_are_the_plain_ones(name: str, stage: str) -> None:
    """Breaks if a recording depends on more than its key and inputs, or hands out its own memory."""
    check_recorded(name, stage, "cpu", taped)


def test_another_shape_is_another_recording() -> None:
    """Breaks if inputs are copied into a recording of another shape, or the first calls are not plain ones."""
    recorded: list[int] = []

    def record(function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        recorded.append(1)
        outputs = function()
        return outputs, lambda: outputs.copy_(function())

    call = Graphs(record)
    for size in (2, 5, 2, 5, 2, 5, 2):
        x = torch.arange(float(size))
        assert torch.equal(call("double", lambda x: 2 * x, x), 2 * x)
    assert len(recorded) == 2
