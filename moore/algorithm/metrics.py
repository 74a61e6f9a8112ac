"""Running means of what training reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


class Metrics:
    """Running means of [R] tensors, read once per log interval: no host sync in the hot loop."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one observation of each metric."""
        for key, value in values.items():
            self._sums[key] = self._sums[key] + value if key in self._sums else value.clone()
            self._counts[key] = self._counts.get(key, 0) + 1

    def flush(self) -> dict[str, list[float]]:
        """Means since the last flush, a list of R numbers for each metric."""
        means = {key: (total / self._counts[key]).tolist() for key, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state(self) -> dict[str, Any]:
        """The sums since the last flush."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
