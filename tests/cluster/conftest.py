"""Fixtures of the tests on a real Slurm (`make test-slurm`): clusters, and tiny studies for them."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, Cluster]]:
    """The clusters that the tests of a module share, by their knobs; gone after it."""
    with ExitStack() as stack:
        running: dict[str, Cluster] = {}
        yield running
        for cluster in running.values():
            stack.callback(cluster.stop)


@pytest.fixture
def cluster(shared: dict[str, Cluster]) -> Iterator[Callable[..., Cluster]]:
    """A cluster with these knobs (see start.sh), without jobs; `fresh`: for this test alone, which harms it."""
    with ExitStack() as stack:

        def get(fresh: bool = False, **knobs: Any) -> Cluster:
            key = repr(sorted(knobs.items()))
            if not fresh and key in shared:
                return shared[key]
            # not pytest's folder: a socket's path may have 107 characters
            started = Cluster(Path(tempfile.mkdtemp(prefix="moore-slurm-")), **knobs)
            if fresh:
                stack.callback(started.stop)
            else:
                shared[key] = started
            started.start()
            return started

        yield get
        for one in shared.values():
            one.clear()


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Experiment]:
    """The same study trained with --local, undisturbed; once for all tests that compare with it.

    The cluster says that no task of its has the study.
    """
    done: dict[str, Experiment] = {}

    def get(cluster: Cluster, **settings: Any) -> Experiment:
        key = repr(sorted(settings.items()))
        if key not in done:
            experiment = Experiment(tmp_path_factory.mktemp("quiet"), cluster, **settings)
            experiment.set_profile(**(settings.get("profile") or {}) | {"cpus": 2})  # two units at once
            experiment.submit("--local")
            done[key] = experiment
        return done[key]

    return get
