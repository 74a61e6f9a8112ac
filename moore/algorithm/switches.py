"""Which settings belong to which algorithm; for the analysis, until its manifests say so themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moore.base.strict import dotted

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "moore": ("real_ratio", "dynamics", "penalty", "rollout"),
    "sac": (),
    "awac": (),
    "iql": (),
    "cql": (),
    "td3_bc": (),
    "balanced_replay": (),
}


def dotted_keys(values: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of nested settings."""
    return list(dotted(values))
