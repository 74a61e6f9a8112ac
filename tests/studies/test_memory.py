"""The memory of a cohort: arithmetic by hand, and what a process really needs."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from moore.algorithm.config import RunConfig, from_mapping
from moore.algorithm.dynamics import PREDICT_FLOATS
from moore.envs.spec import find_spec
from moore.run.work import KEEP_MEMORY
from moore.studies.memory import PROCESS, checkpoint_bytes, cohort_memory, transitions_of

SMALL = {
    "env": "pendulum",
    "dataset": "self:pendulum-medium",
    "dataset_transitions": 100,
    "agent": {"hidden": [4], "batch_size": 8},
    "dynamics": {
        "ensemble_size": 2,
        "num_elites": 1,
        "hidden": [3, 5],
        "weight_decay": [0, 0, 0],
        "batch_size": 6,
        "max_holdout": 7,
    },
    "rollout": {"length": 2, "batch_size": 10, "retain": 3},
    "online": {"epochs": 2, "epoch_steps": 20, "retrain_interval": 10},
}
WIDTH = 3 + 1 + 1 + 3 + 1  # numbers of a transition of the pendulum: obs, action, reward, next obs, terminated
DATA = 4 * 100 * WIDTH


def small(**more: object) -> RunConfig:
    return from_mapping(SMALL | more, "test")


def test_a_small_cohort_by_hand() -> None:
    """Breaks if a buffer, a network, an optimiser or a step is left out or counted twice."""
    actor, critic = 3 * 4 + 4 + 4 * 2 + 2, 2 * (4 * 4 + 4 + 4 * 1 + 1)
    member = 4 * 3 + 3 + 3 * 5 + 5 + 5 * 8 + 8
    # with Adam's two moments: actor, critics, temperature; targets, moments of the observations
    agent = 3 * (actor + critic + 1) + critic + 2 * 3
    # parameters and bounds with Adam's moments, scalers of 4 inputs and 4 outputs, the uncertainty's scale
    ensemble = 3 * (2 * member + 2 * 4) + 2 * 4 + 2 * 4 + 1
    buffers = WIDTH * (2 * 20 + 3 * 2 * 10)
    counters = 5 * 4  # of five optimisers, int32
    elites = 8  # int64
    config = small()
    assert checkpoint_bytes(config, find_spec("pendulum")) == 4 * (agent + ensemble + buffers) + counters + elites

    critics = 3 * 8 * 2 * 4
    training = 2 * (3 * 6 * (3 + 5) + 5 * member)
    look = 2 * 2 * 7 * 5
    imagined = 6 * 10 * (2 * 4 + WIDTH)
    run = checkpoint_bytes(config, find_spec("pendulum")) + 4 * (critics + training + look + imagined)
    on_cpu, on_gpu = cohort_memory([config] * 3), cohort_memory([config] * 3, "cuda")
    assert on_cpu.runs == on_gpu.runs == (run, run, run)
    chunk = 4 * 3 * (3 * 2 * 10 * 5)  # less than what is predicted at once
    assert on_cpu.shared == PROCESS["cpu"] + 2 * DATA + chunk
    assert on_gpu.shared == PROCESS["cuda"] + DATA + chunk
    assert on_cpu.total == on_cpu.shared + 3 * run
    large = cohort_memory([small(rollout={"batch_size": 10**7})] * 2)
    assert large.shared == PROCESS["cpu"] + 2 * DATA + 4 * 3 * PREDICT_FLOATS["cpu"]


def test_datasets_are_shared_and_loaded() -> None:
    """Breaks if a dataset is counted once a run, or reading a large one is not seen."""
    one, other = small(), small(dataset="self:pendulum-low")
    assert cohort_memory([one, one, other]).shared - cohort_memory([one] * 3).shared == 2 * DATA
    large = cohort_memory([one], transitions=10**8)
    assert large.total == large.loading == PROCESS["cpu"] + 4 * 4 * 10**8 * WIDTH
    assert cohort_memory([small(dataset=None)]).loading == PROCESS["cpu"]


def test_transitions_of_a_run() -> None:
    """Breaks if a run from scratch gets a dataset, or a default size is forgotten."""
    assert transitions_of(small()) == 100
    assert transitions_of(small(dataset=None, dataset_transitions=None)) == 0
    assert transitions_of(small(dataset_transitions=None)) > 100


@pytest.mark.parametrize(
    ("strategy", "each"), [("prioritized", 0), ("model_error", 24), ("oorb", 24), ("density_ratio", 28)]
)
def test_weights_of_transitions_count_in_their_runs(strategy: str, each: int) -> None:
    """Breaks if a strategy's weights are left out, or paid by the runs beside it."""
    plain, weighed = small(), small(sampling={"start_states": strategy})
    more = [
        cohort_memory([plain, weighed], transitions=n).runs[1] - cohort_memory([plain], transitions=n).runs[0]
        for n in (0, 1000)
    ]
    assert more[1] - more[0] == 1000 * each
    assert cohort_memory([plain, weighed], transitions=1000).runs[0] == cohort_memory([plain], transitions=1000).runs[0]


def test_sampled_actions_are_chunked() -> None:
    """Breaks if CQL's widest layer grows with the number of runs, or is left out."""
    plain = {"env": "pendulum", "dataset": "self:pendulum-medium", "dataset_transitions": 100}
    sac = from_mapping(plain | {"real_ratio": 1.0}, "test")
    cql = from_mapping(plain | {"algorithm": "cql", "real_ratio": 1.0}, "test")
    assert cohort_memory([cql] * 2).shared == cohort_memory([cql]).shared
    assert cohort_memory([cql]).shared - cohort_memory([sac]).shared >= 4 * 3 * 10 * 256 * 2 * 256
    agents = dataclasses.replace(cql, algorithm="balanced_replay")
    assert cohort_memory([agents]).runs[0] > 4 * cohort_memory([cql]).runs[0] - 4 * 4 * WIDTH * cql.online_steps


PROCESS_CODE = """
import json, sys
from pathlib import Path
import torch
import moore.run.unit
from moore.algorithm.config import from_mapping
from moore.memory import PROCESS, cohort_memory
from moore.timing import random_cohort
torch.set_num_threads(1)
# not getrusage, whose maximum begins with the parent's
peak = lambda: 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
values, runs, rows = json.loads(sys.argv[1])
config = from_mapping(values, "test")
before = peak()
cohort = random_cohort(config, runs, "online", "cpu", rows)
cohort.train_model(2)
cohort.update_policy(2, 20)
cohort.imagine(2)
estimate = cohort_memory(cohort.configs, "cpu", rows)
print(peak() - before, estimate.total - PROCESS["cpu"])
"""


@pytest.mark.parametrize(
    ("runs", "rows", "model", "rollout"),
    [
        (24, 2000, [64, 64], {"length": 2, "batch_size": 100, "retain": 2}),  # networks
        (4, 2000, [16], {"length": 1, "batch_size": 20_000, "retain": 1}),  # rollouts
    ],
)
def test_a_process_needs_about_that(runs: int, rows: int, model: list[int], rollout: dict[str, int]) -> None:
    """Breaks if the estimate promises much less than is needed, or several times as much; without what all have."""
    dynamics = {
        "hidden": model,
        "weight_decay": [0] * (len(model) + 1),
        "offline_max_updates": 3,
        "online_max_updates": 3,
    }
    values = SMALL | {"agent": {"hidden": [64, 64]}, "dynamics": dynamics, "rollout": rollout}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS_CODE, json.dumps([values, runs, rows])],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | KEEP_MEMORY | {"OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    used, estimated = map(int, done.stdout.split())
    assert estimated / 3 < used < 1.25 * estimated, f"{used / 2**20:.0f} MiB, estimated {estimated / 2**20:.0f}"
