"""What a run costs against R, N_off, rollout batch and ensemble width.

MOORe on halfcheetah with the settings of the scale `paper`. Shapes are never scaled down, only counts: single calls of
each part are timed on random data of that size and multiplied by how often they happen. One thread on a CPU, as every
unit has.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moore.algorithm.config import RunConfig, cohort_key
from moore.base.machine import threads
from moore.cli.options import check_device
from moore.networks.mlp import Precision
from moore.studies.estimate import counts, times, weights_seconds
from tests.benchmarks.projection import column
from tests.benchmarks.report import report_facts, table, where, write_report

MOST_BRANCHES = {"cpu": 20_000, "cuda": 10**7}  # start states of a timed rollout: on a CPU more take minutes
RUNS = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (1, 2, 4, 8, 16, 32, 64)}
BASE_RUNS = {"cpu": 4, "cuda": 16}
NAMES = {"policy updates": "policy updates", "ensemble updates": "ensemble training", "rollouts": "rollouts"}
WEIGHTS = "weights by model_error"
PARTS = (*NAMES.values(), "the rest", WEIGHTS)
PANELS = {  # what is varied -> its name
    "runs": "R, runs in one process",
    "transitions": "N_off, offline transitions",
    "branches": "start states of a rollout",
    "width": "units of the ensemble's layers",
}


def measured(point: Mapping[str, int], panel: str, device: str, paper: RunConfig) -> dict[str, Any]:
    """One row: seconds of one run for one environment step, by part. point: a number for each panel."""
    config = replace(
        paper,
        dynamics=replace(paper.dynamics, hidden=(point["width"],) * len(paper.dynamics.hidden)),
        rollout=replace(paper.rollout, batch_size=point["branches"]),
    )
    most = MOST_BRANCHES[torch.device(device).type]
    one = times(cohort_key(config), "online", point["runs"], device, point["transitions"], most)
    seconds, happens = dict.fromkeys(PARTS[:4], 0.0), counts(config)
    for what, taken in one.items():
        seconds[NAMES.get(what, "the rest")] += happens["online", what] / config.online_steps * taken
    if panel == "transitions":  # what weights of single transitions would add
        weighed = replace(cohort_key(config), sampling=replace(config.sampling, model_batches="model_error"))
        rows = point["transitions"] + config.online_steps // 2
        trainings = happens["online", "rollouts"] / config.online_steps
        seconds[WEIGHTS] = trainings * weights_seconds(weighed, rows, device)
    return {"panel": panel, **point, "seconds": seconds}


def cost_table(rows: Sequence[Mapping[str, Any]], panel: str) -> list[str]:
    """Milliseconds of one run for one environment step, by part; the sum is without the weights of single rows."""
    here = sorted((row for row in rows if row["panel"] == panel), key=lambda row: row[panel])
    parts = [part for part in PARTS if any(part in row["seconds"] for row in here)]
    body = [
        [
            f"{row[panel]:,}",
            *(f"{1e3 * row['seconds'][part]:.4g}" for part in parts),
            f"{1e3 * sum(row['seconds'][part] for part in PARTS[:4]):.4g}",
        ]
        for row in here
    ]
    return table([PANELS[panel], *(f"{part} (ms)" for part in parts), "all (ms)"], body, words=0)


def main(
    out: Path | None = None,
    device: str = "cpu",
    runs: tuple[int, ...] = (),
    transitions: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    branches: tuple[int, ...] = (1000, 5000, 20_000, 50_000, 100_000),
    widths: tuple[int, ...] = (50, 100, 200, 400),
    precision: Precision = "float32",
) -> None:
    """Print the tables; with --out, write scaling.md and scaling.json there (scaling-cuda.* of a GPU).

    runs: none means all that the device has.
    """
    check_device(device)
    torch.set_num_threads(int(threads(device, 1)["OMP_NUM_THREADS"]))
    load, start, kind = os.getloadavg()[0], time.monotonic(), torch.device(device).type
    paper = replace(next(run for run in column() if run.env == "halfcheetah"), precision=precision)
    usual = BASE_RUNS[kind], max(transitions), paper.rollout.batch_size, paper.dynamics.hidden[0]
    base = dict(zip(PANELS, usual, strict=True))
    panels = dict(zip(PANELS, (runs or RUNS[kind], transitions, branches, widths), strict=True))
    rows = [
        measured(base | {panel: value}, panel, device, paper) for panel, values in panels.items() for value in values
    ]
    facts = report_facts(device, load, start, threads=torch.get_num_threads(), base=base, precision=precision)
    text = [
        f"# Cost against size on {facts['device_name']}",
        "",
        f"{where(facts)} Precision {precision}.",
        "",
        "One run for one environment step of MOORe's online stage with everything that belongs to it: halfcheetah at "
        f"the scale `paper` ({paper.online.utd_ratio} policy updates a step; {paper.dynamics.online_max_updates:,} "
        f"ensemble updates and a rollout of {paper.rollout.length} steps every {paper.online.retrain_interval} steps). "
        f"What a table does not vary: R {base['runs']}, N_off {base['transitions']:,}, {base['branches']:,} start "
        f"states, width {base['width']}. Of a rollout one step is timed, with at most {MOST_BRANCHES[kind]:,} start "
        "states in all.",
        "",
        *(line for panel in PANELS for line in (f"## {PANELS[panel]}", "", *cost_table(rows, panel), "")),
    ]
    write_report(out, "scaling", facts, rows, "\n".join(text))
