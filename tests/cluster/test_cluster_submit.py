"""Submitting to a real Slurm: what is refused, how arrays are split, and that a second submit takes what is missing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster, missing_packages


def refused(slurm: Cluster, folder: Path, profile: dict[str, Any], words: str) -> None:
    """Check that a job that could never start is not submitted, and that no half of a submission stays behind."""
    experiment = Experiment(folder, slurm, profile=profile)
    assert words in experiment.refused("submit", "--dry-run")
    assert not experiment.root.exists()
    assert words in experiment.refused("submit")
    assert {path.name for path in experiment.root.rglob("*") if path.is_file()} <= {"lock"}
    assert slurm.queue() == []


def test_refused(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a job that could never start is submitted, or half of a submission stays behind."""
    slurm = cluster(NODES=2)
    wrong: list[dict[str, Any]] = [
        *({"partition": "nowhere"}, {"cpus": 99}, {"memory": "900G"}, {"gpus": 3}, {"constraint": "none-such"}),
        *({"gpus": 1, "gpu_type": "none-such"}, {"sbatch": {"reservation": "none-such"}}),
    ]
    for number, profile in enumerate(wrong):
        refused(slurm, tmp_path / str(number), profile, "sbatch refuses this")
    # more than the partition's MaxTime is taken by Slurm, and waits for ever
    experiment = Experiment(tmp_path / "long", slurm, profile={"time": "2:00:00"})
    assert experiment.submit() == 1
    experiment.wait(lambda: "NEVER STARTS" in experiment.moore("status")[1], 30, "the reason is known")


def test_wrong_account_and_qos(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if sbatch's refusal is not said in its words, leaves a submission behind, or hits a right account."""
    missing = missing_packages(accounting=True)
    if missing:
        needed = f"no accounting here: Debian's {', '.join(missing)} are missing"
        pytest.skip(f"{needed}; as root, DBD=1 tests/cluster/install.sh")
    slurm = cluster(DBD=1, NODES=1)
    refused(slurm, tmp_path / "account", {"account": "nobody"}, "Invalid account")
    refused(slurm, tmp_path / "qos", {"qos": "none"}, "Invalid qos")
    assert Experiment(tmp_path / "right", slurm, profile={"account": "lab", "qos": "normal"}).submit() == 1
    assert len(slurm.queue()) == 1


def test_again_and_again(cluster: Callable[..., Cluster], tmp_path: Path, reference: Experiment) -> None:
    """Breaks if a dry run writes, an array is too long, or a submit takes more or less than what is missing."""
    slurm = cluster(NODES=2, MAX_ARRAY_SIZE=3)
    experiment = Experiment(tmp_path, slurm, seeds=4, profile={"parallel": 3, "partition": "scavenge"})
    code, out, err = experiment.moore("submit", "--profile", str(tmp_path / "profile.yaml"), "--dry-run")
    assert code == 0, err
    assert "4 to submit" in out
    assert out.count("#SBATCH --partition=scavenge\n") == 2
    assert slurm.queue() == []
    assert not experiment.root.exists()
    assert experiment.submit() == 4
    jobs = Counter(element.name.split("_")[0] for element in slurm.queue())
    assert sorted(jobs.values()) == [1, 3]
    assert experiment.submit() == 0
    unit = experiment.wait_online(2, epochs=2)[0]
    running, claim = experiment.element(unit).name, experiment.unit_file(unit, "claim")
    pending = next(element.name for element in slurm.queue() if element.state == "PENDING")
    slurm.run("scancel", running, pending)
    # one that requeues itself does so before it ends, and is then never gone
    gone = lambda: not {running, pending} & {element.name for element in slurm.queue()}  # noqa: E731
    experiment.wait(gone, 30, "the cancelled elements are gone")
    saved = experiment.unit_file(unit, "progress")["done"]
    assert experiment.submit() == 2
    assert experiment.submit() == 0
    assert experiment.first_epoch(unit, claim) >= saved > 0
    experiment.wait_finished()
    assert experiment.submit() == 0
    same_rows(experiment, reference)
    code, out, err = experiment.moore("collect", "--out", str(tmp_path / "out"), "--figures", str(tmp_path / "build"))
    assert code == 0, err
    collected = pd.read_parquet(tmp_path / "out" / "s-tiny" / "rows.parquet").drop(columns="wall_seconds")
    pd.testing.assert_frame_equal(collected, experiment.rows(), check_exact=True)
