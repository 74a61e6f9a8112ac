"""A run's configuration: defaults, and numbers that are none."""

import math
from typing import Any

import pytest

from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.strict import dotted, nested
from moore.studies.axes import merge

ALGORITHMS = ("moore", "sac", "awac", "cql", "iql", "td3_bc", "balanced_replay")


def test_defaults() -> None:
    """Breaks if nested changes reset their neighbours, or an empty mapping is not the defaults."""
    config = from_mapping({"env": "pendulum", "agent": {"actor_lr": 1e-3, "hidden": [4]}}, "x")
    assert (config.agent.actor_lr, config.agent.hidden, config.agent.gamma) == (1e-3, (4,), 0.99)
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}
    assert RunConfig("pendulum") == from_mapping({"env": "pendulum"}, "x")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_setting_is_nan_or_infinite(algorithm: str) -> None:
    """Breaks if a new number has no range."""
    base: dict[str, Any] = {"env": "pendulum", "dataset": "self:pendulum-medium", "algorithm": algorithm}
    for key, value in dotted(to_mapping(from_mapping(base, "x"))).items():
        for bad in (math.nan, math.inf, -math.inf):
            with pytest.raises(UserError):
                from_mapping(nested(base | {key: [bad] * len(value) if isinstance(value, list) else bad}), "x")
