"""States as flat tensors, for comparisons."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from moore.base.strict import dotted
from moore.networks.state import State


def tensors(of: State | Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state by their path: `actor_adam/exp_avg`."""
    flat = dotted(of.state() if isinstance(of, State) else of)
    return {key.replace(".", "/"): value for key, value in flat.items() if isinstance(value, Tensor)}
