"""A slice of the paper's scale: both stages of one unit, in its shapes, cut by counts, and what the whole would take.

The runs are those of the study `sampling` on halfcheetah-medium, each strategy on a random dataset of its own, on which
every training of the ensemble goes to its cap.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from moore.algorithm.cohort import Cohort
from moore.algorithm.config import RunConfig, from_mapping, to_mapping
from moore.base.errors import UserError
from moore.base.machine import peak_bytes, threads
from moore.base.words import duration
from moore.cli.options import check_device, find_study
from moore.studies.axes import merge
from moore.studies.estimate import counts, random_transitions
from moore.studies.flops import part_flops
from tests.benchmarks.report import report_facts, table, where, write_report
from tests.benchmarks.stages import Clock, train
from tests.benchmarks.timing import is_gpu

DATASET = "d4rl:halfcheetah-medium-v2"  # the task whose settings the runs have
OFFLINE_SHARE = 0.5  # of the time: what is left then belongs to the online stage
NEVER = 10**9  # patience of an ensemble that goes to its cap
COLUMNS = ("stage", "part", "calls", "time (s)", "each (ms)", "TFLOP/s", "calls of a unit", "all")


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
    if not 1 <= size.runs <= len(runs):
        raise UserError(f"--runs: {size.runs} is not accepted; expected 1 to {len(runs)}")
    strategies = list(dict.fromkeys(run.method for run in runs))
    agent, dynamics = runs[0].agent, runs[0].dynamics
    caps = {"offline_max_updates": size.model_updates, "online_max_updates": size.retrain_updates, "patience": NEVER}
    values: dict[str, Any] = {
        "agent": {"hidden": [size.width] * len(agent.hidden)},
        "dynamics": caps | {"hidden": [size.model_width] * len(dynamics.hidden)},
        "rollout": {"batch_size": size.branches},
        "offline": {"rollout_interval": size.rollout_interval},
        "online": {"retrain_interval": size.retrain_interval, "utd_ratio": size.utd_ratio},
        "eval_episodes": size.eval_episodes,
        "dataset_transitions": size.transitions,
        "precision": size.precision,
    }
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


@cache
def column() -> tuple[RunConfig, ...]:
    """MOORe's runs in the main table at the paper's scale."""
    return tuple(run for run in find_study("main_table", "paper").runs if run.method == "moore")


def projection(configs: Sequence[RunConfig], clock: Clock) -> list[dict[str, Any]]:
    """Every part of a unit of these runs: calls and seconds that were measured, flops (matrix products) of a call of
    all runs, and `count`, its calls, and `total`, their seconds, at the paper scale; None where no call was measured.
    """
    paper, config = column()[0], configs[0]
    caps = {key: getattr(paper.dynamics, key) for key in ("offline_max_updates", "online_max_updates")}
    full = replace(config, offline=paper.offline, online=paper.online, eval_episodes=paper.eval_episodes)
    full = replace(full, dynamics=replace(config.dynamics, **caps))
    rows = []
    for (stage, what), count in counts(full).items():
        calls, seconds = clock.calls[stage, what], clock.seconds[stage, what]
        row = {"stage": stage, "what": what, "calls": calls, "seconds": seconds, "count": count}
        flops = len(configs) * part_flops(config, stage)[what]
        rows.append(row | {"flops": flops, "total": seconds / calls * count if calls else None})
    return rows


def slice_report(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the report in Markdown: what was measured, peak memory, and the projection part by part."""
    runs, units = facts["size"]["runs"], len(column()) / facts["size"]["runs"]
    changed = ", ".join(f"{key} {value}" for key, value in facts["size"].items() if value != facts["full"][key])
    body = []
    for row in rows:
        measured, whole = ["not reached", "", "", ""], "?"
        if row["calls"]:
            each, whole = row["seconds"] / row["calls"], duration(row["total"])
            measured = [f"{row['calls']:,}", f"{row['seconds']:.1f}", f"{1e3 * each:.3f}"]
            measured.append(f"{row['flops'] / each / 1e12:.2f}")
        body.append([row["stage"], row["what"], *measured, f"{row['count']:,}", whole])
    known = sum(row["total"] or 0.0 for row in rows)
    said = f"{duration(known)}; {units:g} one after the other: {duration(units * known)}"
    if any(row["total"] is None for row in rows):
        said = f"more than {duration(known)}; the slice did not reach every part"
    lines = [
        f"# A slice of the paper's scale on {facts['device_name']}",
        "",
        f"{where(facts)} Precision {facts['size']['precision']}. {runs} runs of MOORe (halfcheetah) in one "
        "process; random data, on which every training of the ensemble goes to its cap.",
        "",
        f"Not the paper scale's slice: {changed}." if changed else "All shapes are the paper scale's.",
        "",
        f"Peak memory: {', '.join(f'{key} {value / 2**30:.2f} GiB' for key, value in facts['memory'].items())}.",
        "",
        *table(COLUMNS, body, words=2),
        "",
        f"MOORe's {len(column())} runs are {units:g} units of {runs}, all priced as halfcheetah. A unit: {said}.",
        "",
    ]
    return "\n".join(lines)


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
    memory = {"resident": peak_bytes()}  # of the process; of a GPU what its tensors took, what the allocator held
    if is_gpu(device):
        memory = {"allocated": torch.cuda.max_memory_allocated(device)}
        memory["reserved"] = torch.cuda.max_memory_reserved(device)
    facts = report_facts(device, load, start, threads=torch.get_num_threads(), memory=memory)
    facts |= {"size": asdict(size), "full": asdict(Size())}
    rows = projection(configs, clock)
    write_report(out, "slice", facts, rows, slice_report(facts, rows))
