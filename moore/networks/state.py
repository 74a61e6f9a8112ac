"""State of training, collected by walking objects: no class keeps a list of what it saves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PLAIN = (bool, int, float, str, type(None))


class State:
    """An object whose public attributes are its state, as far as they can change in training.

    These are tensors, arrays, numbers, texts, lists and dictionaries of them, and other State objects. An attribute
    whose name begins with an underscore is no state: a constant, a view, or an object that somebody else owns.
    Everything else (configurations, networks without parameters of their own, functions) is no state either.
    """

    def state(self) -> dict[str, Any]:
        """Return what is needed to continue, nested like the objects, in types that torch.save takes.

        Tensors are the objects' own, not copies.
        """
        return {key: _saved(value) for key, value in vars(self).items() if key[0] != "_" and _is_state(value)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; tensors of the same shape in place, so that views of them stay valid."""
        for key, saved in state.items():
            setattr(self, key, _restored(getattr(self, key), saved))


def _is_state(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_state(item) for item in value.values())
    if isinstance(value, list):
        return all(isinstance(item, (*_PLAIN, Tensor)) for item in value)
    return isinstance(value, (*_PLAIN, State, Tensor, np.ndarray))


def _saved(value: Any) -> Any:
    if isinstance(value, State):
        return value.state()
    if isinstance(value, Mapping):
        return {key: _saved(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return list(value) if isinstance(value, list) else value


def _restored(now: Any, saved: Any) -> Any:
    if isinstance(now, State):
        now.load(saved)
        return now
    if isinstance(now, dict):
        return {key: _restored(now.get(key), value) for key, value in saved.items()}
    if isinstance(now, np.ndarray):
        return saved.numpy().copy()
    if isinstance(now, Tensor) and isinstance(saved, Tensor) and now.shape == saved.shape:
        with torch.no_grad():
            return now.copy_(saved)
    return saved


def runs_of(state: Mapping[str, Any], run: int) -> dict[str, Any]:
    """Copy one run's part [1, ...] of every tensor [R, ...] of a state; plain values belong to the stage, not to it."""
    parts = {key: runs_of(value, run) for key, value in state.items() if isinstance(value, Mapping)}
    return parts | {
        key: value[run : run + 1].detach().clone() for key, value in state.items() if isinstance(value, Tensor)
    }


def joined(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put the runs of several states behind each other: the inverse of `runs_of`."""
    return {
        key: joined([state[key] for state in states])
        if isinstance(first, Mapping)
        else torch.cat([state[key] for state in states])
        for key, first in states[0].items()
    }
