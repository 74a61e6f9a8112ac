"""Running means of what training reports."""

from collections.abc import Mapping

from torch import Tensor

from moore.networks.state import State


class Metrics(State):
    """Running means of [R] tensors, read once per log interval: no host sync in the hot loop."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor], counts: Mapping[str, int] | None = None) -> None:
        """Add one observation of each metric, or the sum of as many as `counts` says."""
        for key, value in values.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value.clone()
            self.counts[key] = self.counts.get(key, 0) + (1 if counts is None else counts[key])

    def flush(self) -> dict[str, list[float]]:
        """Means since the last flush, a list of R numbers for each metric."""
        means = {key: (total / self.counts[key]).tolist() for key, total in self.sums.items()}
        self.sums, self.counts = {}, {}
        return means
