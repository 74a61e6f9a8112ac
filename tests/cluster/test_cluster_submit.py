"""Submitting to a real Slurm: what is refused, how arrays are split, and that a second submit takes what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster

FOUR_UNITS: dict[str, Any] = {"seeds": 4, "epochs": 20, "profile": {"unit_runs": 1}}


@pytest.fixture
def small(cluster: Callable[..., Cluster]) -> Cluster:
    """The cluster of this module: arrays of five at most."""
    return cluster(MAX_ARRAY_SIZE=5)


def everything(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"partition": "nowhere"}, "partition: 'nowhere' is not one of SLURM's; accepted: main, scavenge"),
        ({"time": "2:00:00"}, "MaxTime"),
        ({"cpus": 99}, "sbatch refuses this"),
        ({"memory": "900G"}, "sbatch refuses this"),
        ({"gpus": 3}, "sbatch refuses this"),
        ({"gpus": 1, "gpu_type": "none-such"}, "sbatch refuses this"),
        ({"constraint": "none-such"}, "sbatch refuses this"),
        ({"sbatch": {"reservation": "none-such"}}, "sbatch refuses this"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_refused(small: Cluster, tmp_path: Path, profile: dict[str, Any], words: str, dry: bool) -> None:
    """Breaks if a job that could never start is submitted, or half of a submission stays behind."""
    experiment = Experiment(tmp_path, small, profile=profile)
    before = everything(tmp_path)
    line = experiment.refused("submit", *(["--dry-run"] if dry else []))
    assert words in line
    assert small.queue() == []
    after = everything(tmp_path)
    locks = {path for path in after if path.endswith("/lock")}
    assert after.keys() - locks == before.keys()
    assert not (dry and locks)


def test_dry_run_of_what_is_fine(small: Cluster, tmp_path: Path) -> None:
    """Breaks if a dry run writes or submits, or does not show the script that sbatch would get."""
    experiment = Experiment(tmp_path, small, seeds=7, profile={"unit_runs": 1, "partition": "scavenge"})
    before = everything(tmp_path)
    profile = ("--profile", str(tmp_path / "profile.yaml"), "--dry-run")
    code, out, err = experiment.moore("submit", *profile)
    assert code == 0, err
    assert "7 to submit" in out
    assert out.count("#SBATCH --partition=scavenge\n") == 2
    assert small.queue() == []
    assert everything(tmp_path) == before
    assert not experiment.root.exists()


def test_arrays_are_split_and_collected(small: Cluster, tmp_path: Path, quiet: Callable[..., Experiment]) -> None:
    """Breaks if an array is longer than the cluster takes, if a unit is lost at the seam, or the table is another."""
    settings: dict[str, Any] = {"seeds": 7, "epochs": 1, "profile": {"unit_runs": 1}}
    experiment = Experiment(tmp_path, small, **settings)
    assert experiment.submit() == 7
    queue = small.queue()
    jobs = sorted({element.name.split("_")[0] for element in queue}, key=int)
    assert [sum(e.name.startswith(f"{job}_") for e in queue) for job in jobs] == [5, 2]
    assert experiment.submit() == 0
    experiment.wait_finished()
    assert experiment.submit() == 0
    same_rows(experiment, quiet(experiment.slurm, **settings))
    code, out, err = experiment.moore("collect", "--out", str(tmp_path / "out"), "--figures", str(tmp_path / "figures"))
    assert code == 0, err
    collected = pd.read_parquet(tmp_path / "out" / "s-tiny" / "rows.parquet").drop(columns="wall_seconds")
    pd.testing.assert_frame_equal(collected, experiment.rows(), check_exact=True)
    assert "self:pendulum-medium" in out


def test_cancelled_elements_stay_cancelled_and_are_taken_again(
    small: Cluster, tmp_path: Path, quiet: Callable[..., Experiment]
) -> None:
    """Breaks if a submit takes what a live task has, if a cancelled task comes back by itself, or if the next submit
    misses an element that was cancelled, running or pending.
    """
    experiment = Experiment(tmp_path, small, **FOUR_UNITS | {"profile": {"unit_runs": 1, "parallel": 3}})
    assert experiment.submit() == 4
    assert experiment.submit() == 0
    unit = experiment.wait_online(2, epochs=2)[0]
    running, claim = experiment.element(unit).name, experiment.unit_file(unit, "claim")
    pending = next(element.name for element in small.queue() if element.state == "PENDING")
    small.run("scancel", running, pending)
    # one that requeues itself does so before it ends, and is then never gone
    gone = lambda: not {running, pending} & {element.name for element in small.queue()}  # noqa: E731
    experiment.wait(gone, 30, "the cancelled elements are gone")
    saved = experiment.unit_file(unit, "progress")["done"]
    assert experiment.submit() == 2
    assert experiment.submit() == 0
    assert experiment.first_epoch(unit, claim) >= saved > 0
    experiment.wait_finished()
    assert experiment.submit() == 0
    same_rows(experiment, quiet(experiment.slurm, **FOUR_UNITS))
