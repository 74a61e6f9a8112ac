"""A run in another physics than its dataset was recorded with: what is measured of it, and the sentence that tells."""

from dataclasses import dataclass

UNKNOWN = "unknown"
REPLAY_ROWS = 2000  # of a dataset, replayed one step to find its physics


@dataclass(frozen=True)
class PhysicsMismatch:
    """How far one step of the run's physics leads from a dataset's rows; as a mapping, an entry of the manifests.

    dataset_physics is UNKNOWN where the dataset does not say. median, p99 and max are over rows, of the largest
    absolute component of the observation error; None where the dataset stores no simulator states to start from.
    """

    dataset_physics: str
    run_physics: str
    median: float | None
    p99: float | None
    max: float | None

    def sentence(self, dataset: str) -> str:
        """Say it for a terminal or a caption; `dataset` is the id."""
        if self.dataset_physics == UNKNOWN:
            what = f"{dataset} does not record its physics; its runs have physics {self.run_physics}"
        else:
            what = f"{dataset} was recorded with physics {self.dataset_physics}; its runs have {self.run_physics}"
        if self.median is None:
            return f"{what}. How far one step differs cannot be told: the file stores no simulator states."
        return (
            f"{what}. From the file's states, one step differs by median {self.median:.1e}, p99 {self.p99:.1e}, "
            f"max {self.max:.1e} (largest component of the observation)."
        )
