"""Which settings belong to which algorithm: a scale serves all methods, a study may ask a method only for its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Switches that only some algorithms have, by dotted key or whole section; every other key belongs to all.
_MODEL = (
    "real_ratio",
    "dynamics",
    "penalty",
    "rollout",
    "sampling.model_batches",
    "sampling.start_states",
    "sampling.on_policy_temperature",
    "sampling.return_base",
    "sampling.error_exponent",
    "density_ratio.model_updates",
    "offline.rollout_interval",
    "online.retrain_interval",
    "online.rollout_length",
    "online.real_ratio",
)
_ENTROPY = ("sac.alpha_lr", "sac.init_alpha", "sac.target_entropy", "sac.entropy_backup")
_ENSEMBLE = ("sac.num_critics", "sac.target_critics", "sac.actor_value", "online.actor_interval")
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "sac": (*_MODEL, *_ENTROPY, *_ENSEMBLE),
    "awac": ("awac",),
    "iql": ("iql",),
    "cql": ("cql.offline_coef", "cql.online_coef", "cql.num_actions", "cql.calibrated", *_ENTROPY, *_ENSEMBLE),
    "td3_bc": ("td3_bc",),
    "balanced_replay": ("balanced_replay", "cql.offline_coef", "cql.num_actions", *_ENTROPY),
}
_OPTIONAL = frozenset(key for keys in ALGORITHMS.values() for key in keys)


def has_switch(algorithm: str, key: str) -> bool:
    """Whether an algorithm reads a dotted key (`awac.temperature`) or section; unknown keys count as read."""
    lacking = _OPTIONAL - set(ALGORITHMS.get(algorithm, _OPTIONAL))
    return not any(key == other or key.startswith(f"{other}.") for other in lacking)


def dotted_keys(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """`{"awac": {"temperature": 1}}` -> ["awac.temperature"]."""
    keys: list[str] = []
    for key, value in values.items():
        keys += dotted_keys(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [f"{prefix}{key}"]
    return keys


def without_foreign(values: Mapping[str, Any], algorithm: str, prefix: str = "") -> dict[str, Any]:
    """A nested mapping without the keys that an algorithm does not read, such as a scale's for other methods."""
    return {
        key: without_foreign(value, algorithm, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in values.items()
        if has_switch(algorithm, f"{prefix}{key}")
    }
