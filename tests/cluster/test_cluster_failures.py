"""Units that fail in a task of a real Slurm: their pack goes on, they are told apart, none trains without its GPU."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from moore.studies.identity import run_id
from tests.cluster.experiment import Experiment, same_rows
from tests.cluster.local_slurm import Cluster, kill


def test_one_failing_unit_in_a_pack(cluster: Callable[..., Cluster], tmp_path: Path, reference: Experiment) -> None:
    """Breaks if a run that diverges or dies takes another with it, is tried for ever, or `retry` does not."""
    variants: dict[str, Any] = {"prioritized": {}, "diverging": {"agent": {"actor_lr": 1e30, "hidden": [9]}}}
    pack = {"units_per_task": 4, "slots": 2, "cpus": 2, "memory": "3G"}
    experiment = Experiment(tmp_path, cluster(NODES=1), seeds=2, variants=variants, profile=pack)
    assert experiment.submit() == 4
    assert len(experiment.slurm.queue()) == 1
    unit = experiment.wait_online(method="prioritized")[0]  # the others' turn comes before
    for attempt in (1, 2):
        claim = experiment.unit_file(unit, "claim")
        kill(claim["pid"])
        recorded = lambda: experiment.unit_file(unit, "failed").get("attempts") == attempt  # noqa: B023, E731
        experiment.wait(recorded, 30, f"attempt {attempt} of {unit} is recorded")
        if attempt == 1:
            experiment.first_epoch(unit, claim)
    experiment.wait(lambda: not experiment.slurm.queue(), 120, "the task ends")
    failed = experiment.unit_file(unit, "failed")
    assert (failed["kind"], failed["exit_code"], failed["final"]) == ("failed", -9, True)
    (run,) = experiment.missing()
    assert experiment.submit() == 0
    code, out, err = experiment.moore("failures", "--json")
    assert code == 0, err
    assert run in out
    code, out, err = experiment.moore("retry", run)
    assert code == 0, err
    assert experiment.submit() == 1
    experiment.wait_finished()
    same_rows(experiment, reference)
    diverged = {run_id(r): r.method == "diverging" for r in experiment.study.runs}
    rows = experiment.rows()
    assert {name: bool((rows.loc[rows["run"] == name, "metric"] == "diverged").any()) for name in diverged} == diverged


def test_promised_gpus_are_missing(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a task that was promised a GPU and has none trains, or goes round for ever."""
    if torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the cluster only pretends to have")
    experiment = Experiment(tmp_path, cluster(), profile={"gpus": 1, "stalled_requeues": 1})
    experiment.submit()
    experiment.wait(lambda: any(e.restarts for e in experiment.slurm.queue()), 60, "it gives itself back")
    experiment.wait(lambda: not experiment.slurm.queue(), 60, "it gives up")
    (failed,) = [json.loads(path.read_text()) for path in experiment.units.glob("*.failed.json")]
    assert failed["kind"] == "resources"
    assert "promised 1 GPUs" in failed["reason"]
    assert list(experiment.units.glob("*.claim.json")) + list(experiment.units.glob("*.log")) == []
    assert len(experiment.missing()) == 1


def test_out_of_memory(cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    """Breaks if a cohort that the kernel killed for its memory is not known as such and halved."""
    slurm = cluster(NODES=1)
    if "proctrack/cgroup" not in (slurm.folder / "slurm.conf").read_text():
        pytest.skip("no memory limits here: cgroup v1 cannot be written")
    # rollouts of 350 000 states take some 570 MB for every run beside the 300 of Python and the 260 of the task
    rollout = {"length": 2, "batch_size": 350_000, "retain": 20}
    profile = {"memory": "1200M", "attempts": 1, "unit_runs": 2}
    experiment = Experiment(tmp_path, slurm, seeds=2, epochs=3, profile=profile, rollout=rollout)
    assert experiment.submit() == 2
    experiment.wait(lambda: not slurm.queue(), 120, "the task ends")
    (split,) = experiment.units.glob("*.split.json")
    assert json.loads(split.read_text())["reason"].startswith("out of memory")
    assert experiment.missing() == []
    assert list(experiment.units.glob("*.failed.json")) == []
