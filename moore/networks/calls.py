"""How a step of training, a function of tensors and of the objects whose state it changes, is called."""

import os
import shutil
import sys
from collections.abc import Callable, Hashable
from functools import cache
from typing import Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
GRAPHS = "MOORE_CUDA_GRAPHS"  # 1: recordings on a GPU
COMPILE = "MOORE_COMPILE"  # 0: never, 1: always; else where there are enough updates to pay for it
WORTH_COMPILING = 3000  # updates: building takes about a minute of a core, once on a machine


class Call(Protocol):
    """How a step is called: `plain`, a `Graphs` or a `Compiled`."""

    def __call__(self, key: Hashable, function: Callable[..., T], *inputs: Tensor) -> T:
        """function(*inputs)."""


def plain(key: Hashable, function: Callable[..., T], *inputs: Tensor) -> T:
    """Call the function itself: the reference."""
    return function(*inputs)


def caller(device: torch.device, settings: object, updates: int, activations: int) -> Call:
    """Return how a step of a stage is called: recorded on a GPU where asked for, compiled on a CPU where it pays.

    settings: all that decides what a step computes beside its code, key and shapes, told apart by its repr; None: it is
    not to be compiled. activations: numbers that one run has in a layer.
    """
    if device.type == "cuda" and os.environ.get(GRAPHS) == "1":
        from moore.networks.graphs import CudaRecorder, Graphs

        return Graphs(CudaRecorder(device))
    asked = os.environ.get(COMPILE)
    pays = asked == "1" or (asked != "0" and updates >= WORTH_COMPILING)
    if device.type == "cpu" and settings is not None and pays:
        from moore.networks.compiled import Compiled, compiler

        if _is_here(compiler()):
            return Compiled(repr(settings), activations)
    return plain


@cache
def _is_here(compiler: str) -> bool:
    """Tell whether there is such a compiler; say once if not."""
    found = shutil.which(compiler) is not None
    if not found:
        print(f"moore: no {compiler} here: updates are not compiled, and take longer", file=sys.stderr, flush=True)
    return found
