"""A cluster with accounts: a wrong one is refused before anything is submitted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.experiment import Experiment
from tests.cluster.local_slurm import Cluster, missing_packages


def test_wrong_account_and_qos(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if sbatch's refusal is not said in its words, or leaves a submission behind."""
    missing = missing_packages(accounting=True)
    if missing:
        pytest.skip(
            f"no accounting here: Debian's {', '.join(missing)} are missing; as root, DBD=1 tests/cluster/install.sh"
        )
    slurm = cluster(DBD=1, NODES=1)
    for profile, words in (({"account": "nobody"}, "Invalid account"), ({"qos": "none"}, "Invalid qos")):
        experiment = Experiment(tmp_path / words.split()[1], slurm, profile=profile)
        for dry in ((), ("--dry-run",)):
            assert words in experiment.refused("submit", *dry)
        assert not list(experiment.root.glob("*/submissions/*"))
    assert slurm.queue() == []
    experiment = Experiment(tmp_path / "right", slurm, profile={"account": "lab", "qos": "normal"})
    assert experiment.submit() == 2
    assert [element.state for element in slurm.queue()] != []
