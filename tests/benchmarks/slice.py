"""A slice of the paper's scale: both stages of one unit, in its shapes, cut by counts, and what the whole would take.

The runs are those of the study `sampling` on halfcheetah-medium, each strategy on a random dataset of its own, on which
every training of the ensemble goes to its cap.
"""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.machine import peak_bytes, threads
from moore.cli.options import check_device, find_study
from moore.studies.axes import merge
from moore.studies.estimate import random_transitions
from tests.benchmarks.projection import projection, slice_report
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.stages import train
from tests.benchmarks.timing import is_gpu

DATASET = "d4rl:halfcheetah-medium-v2"  # the task whose settings the runs have
OFFLINE_SHARE = 0.5  # of the time: what is left then belongs to the online stage
NEVER = 10**9  # patience of an ensemble that goes to its cap


@dataclass(frozen=True)
class Size:
    """How much of the paper scale is run; the defaults have its shapes.

    Every number but these is the scale's: runs, transitions of each dataset, units of a hidden layer of actor and
    critics and of the ensemble, start states of a rollout, updates of the first training of the ensemble (its cap), of
    the policy, environment steps online; and intervals, in updates or steps, that a test shortens.
    """

    runs: int = 20
    transitions: int = 1_000_000
    width: int = 256
    model_width: int = 200
    branches: int = 50_000
    model_updates: int = 2000
    offline_updates: int = 20_000
    online_steps: int = 2000
    rollout_interval: int = 1000
    retrain_interval: int = 250
    retrain_updates: int = 1000
    utd_ratio: int = 20
    eval_episodes: int = 10
    precision: str = "float32"


TINY = Size(2, 300, 8, 8, 10, 3, 6, 8, 2, 4, 2, 2, 1)  # seconds on a CPU, for tests and dry runs


def configurations(size: Size) -> list[RunConfig]:
    """The slice's runs: the strategies of the study `sampling`, each on its own random dataset."""
    runs = [run for run in find_study("sampling", "paper").runs if run.dataset == DATASET]
    strategies = list(dict.fromkeys(run.method for run in runs))
    values: dict[str, Any] = {
        "agent": {"hidden": [size.width] * len(runs[0].agent.hidden)},
        "dynamics": {
            "hidden": [size.model_width] * len(runs[0].dynamics.hidden),
            "patience": NEVER,
            "offline_max_updates": size.model_updates,
            "online_max_updates": size.retrain_updates,
        },
        "rollout": {"batch_size": size.branches},
        "offline": {"rollout_interval": size.rollout_interval},
        "online": {"retrain_interval": size.retrain_interval, "utd_ratio": size.utd_ratio},
        "eval_episodes": size.eval_episodes,
        "dataset_transitions": size.transitions,
        "precision": size.precision,
    }
    if not 1 <= size.runs <= len(runs):
        raise UserError(f"--runs: {size.runs} is not accepted; expected 1 to {len(runs)}")
    own = lambda run: values | {"dataset": f"random:{strategies.index(run.method)}"}  # noqa: E731
    chosen = sorted(runs, key=lambda run: run.seed)[: size.runs]
    return [from_mapping(merge(to_mapping(run), own(run)), "the slice") for run in chosen]


def limit(size: Size, seconds: float) -> Callable[[Cohort], bool]:
    """Return what tells that a stage did its share of the slice, or that its share of the time, from now, is up."""
    start = time.monotonic()

    def enough(cohort: Cohort) -> bool:
        offline = cohort.stage == "offline"
        steps = (cohort.clock.t - 1) * cohort.shared.online.epoch_steps + cohort.clock.tau - 1
        done = cohort.updates >= size.offline_updates if offline else steps >= size.online_steps
        return done or time.monotonic() > start + seconds * (OFFLINE_SHARE if offline else 1)

    return enough


def peak_memory(device: str) -> dict[str, int]:
    """Bytes: of a GPU what its tensors took at most and what the allocator held for them, else of the process."""
    if is_gpu(device):
        held = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return dict(zip(("allocated", "reserved"), held, strict=True))
    return {"resident": peak_bytes()}


def main(
    size: Annotated[Size, tyro.conf.arg(name="")] = Size(),
    out: Path | None = None,
    device: str = "cuda",
    minutes: float = 7.5,
) -> None:
    """Run the slice and print its report; with --out, write slice.md and slice.json there (slice-cuda.* of a GPU).

    minutes: after which it stops, wherever it is, and projects from what was done; a single rollout is not cut off.
    """
    check_device(device)
    start, load = time.monotonic(), os.getloadavg()[0]
    torch.set_num_threads(int(threads(device, 1)["OMP_NUM_THREADS"]))
    configs = configurations(size)
    names = dict.fromkeys(config.dataset for config in configs)
    data = {str(name): random_transitions(configs[0].env, size.transitions, seed) for seed, name in enumerate(names)}
    clock = train(configs, data, device, limit(size, 60 * minutes - (time.monotonic() - start)))
    rows = projection(configs, clock)
    more = {"memory": peak_memory(device), "size": asdict(size), "full": asdict(Size())}
    facts = report_facts(device, load, start, threads=torch.get_num_threads(), **more)
    write_report(out, "slice", facts, rows, slice_report(facts, rows))
