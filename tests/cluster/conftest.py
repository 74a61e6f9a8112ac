"""Fixtures of the tests on a real Slurm (`make test-slurm`): clusters, and the rows of a study that nobody disturbs."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.experiment import Experiment
from tests.cluster.local_slurm import Cluster, missing_packages


@pytest.fixture(scope="session", autouse=True)
def slurm() -> None:
    """Without Slurm on this machine nothing of this folder can be tested."""
    missing = missing_packages()
    if missing:
        pytest.skip(f"no Slurm here: Debian's {', '.join(missing)} are missing; as root, tests/cluster/install.sh")


@pytest.fixture
def cluster() -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster with these knobs (see start.sh), which takes a second; it ends with the test."""
    with ExitStack() as stack:

        def start(**knobs: Any) -> Cluster:
            # not pytest's folder: a socket's path may have 107 characters
            started = Cluster(Path(tempfile.mkdtemp(prefix="moore-slurm-")), **knobs)
            stack.callback(started.stop)
            started.start()
            return started

        yield start


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Four runs trained with --local, undisturbed, each a unit; for all tests that compare their runs with it."""
    experiment = Experiment(tmp_path_factory.mktemp("reference"), seeds=4, profile={"cpus": 2})
    experiment.submit("--local")
    return experiment
