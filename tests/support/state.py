"""States as flat tensors, for comparisons."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moore.networks.state import State


def tensors(of: State | Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a state by their path: `actor_adam/exp_avg`."""
    flat: dict[str, Tensor] = {}
    for key, value in (of.state() if isinstance(of, State) else of).items():
        if isinstance(value, Mapping):
            flat |= tensors(value, f"{prefix}{key}/")
        elif isinstance(value, Tensor):
            flat[prefix + key] = value
    return flat
