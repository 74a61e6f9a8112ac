"""CUDA graphs: a step of hundreds of small kernels is recorded once and from then on launched as one.

Off unless MOORE_CUDA_GRAPHS is 1: calling the functions themselves is the reference that graphs are compared with.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

T = TypeVar("T")
WARM_UP = 2  # calls before the recording, in which cuBLAS and others set themselves up

# Runs a function and returns what it returned, and a function that runs it again into the same tensors
Record = Callable[[Callable[[], T]], tuple[T, Callable[[], None]]]


class Graphs:
    """Calls functions of tensors, from the third call with a key on by replaying a recording.

    Such a function may change tensors in place. Beside its inputs it may depend only on tensors that stay where they
    are and on values that belong to the key. It must not wait for the device. It returns tensors, and numbers that
    belong to the key, in dictionaries, lists or tuples. Callers get copies: the next call with the key overwrites the
    originals.
    """

    def __init__(self, record: Record[Any]) -> None:
        self._record = record
        self._calls: dict[Hashable, int] = {}
        # by key and shapes: inputs and outputs of the recording, and what replays it
        self._steps: dict[Hashable, tuple[list[Tensor], Any, Callable[[], None]]] = {}

    def __call__(self, key: Hashable, function: Callable[..., T], *inputs: Tensor) -> T:
        """function(*inputs); inputs of other shapes are another recording."""
        key = (key, *(tuple(x.shape) for x in inputs))
        self._calls[key] = self._calls.get(key, 0) + 1
        if self._calls[key] <= WARM_UP:
            return function(*inputs)
        if key not in self._steps:
            copies = [x.clone(memory_format=torch.contiguous_format) for x in inputs]
            self._steps[key] = copies, *self._record(lambda: function(*copies))
        own, outputs, replay = self._steps[key]
        torch._foreach_copy_(own, list(inputs))
        replay()
        return tree_map_only(Tensor, Tensor.clone, outputs)


class CudaRecorder:
    """Records what runs on one device; the recordings share their memory, as they are replayed one after the other."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        with torch.cuda.device(self._device):  # the stream that is recorded is the current device's
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):  # nothing is executed yet
                outputs = function()
        return outputs, graph.replay
