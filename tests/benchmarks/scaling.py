"""What a run costs against R, N_off, rollout batch and ensemble width, and a whole paper study (`make bench-scaling`).

    OMP_NUM_THREADS=1 python -m tests.benchmarks.scaling --out tests/benchmarks/results

MOORe on halfcheetah with the settings of the scale `paper`. Shapes are never scaled down, only counts: single calls of
each part are timed on random data of that size and multiplied by how often they happen. One thread
on a CPU, as every unit has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from analysis.figures import save
from analysis.scaling import PANELS, caption, cost_table, figure
from moore.algorithm.config import RunConfig, cohort_key
from moore.base.machine import threads
from moore.cli.options import check_device, find_study
from moore.studies.estimate import TIMED, counts, times, weights_seconds
from tests.benchmarks.process import run
from tests.benchmarks.projection import column
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.whole_study import study_report

ENV = "halfcheetah"
MOST_BRANCHES = {"cpu": 20_000, "cuda": 10**7}  # start states of a timed rollout: on a CPU more take minutes
RUNS = {"cpu": (1, 2, 4, 8, 16, 32), "cuda": (1, 2, 4, 8, 16, 32, 64)}
BASE_RUNS = {"cpu": 4, "cuda": 16}
PART = {"policy updates": "policy updates", "ensemble updates": "ensemble training", "rollouts": "rollouts"}


@dataclass(frozen=True)
class Point:
    """A place on the four axes."""

    runs: int
    transitions: int
    branches: int
    width: int
    precision: str


def measured(point: Point, panel: str, device: str) -> dict[str, Any]:
    """One row: seconds of one run for one environment step, by part."""
    config, kind = configuration(point), torch.device(device).type
    one = times(cohort_key(config), "online", point.runs, device, point.transitions, MOST_BRANCHES[kind])
    seconds = dict.fromkeys((*PART.values(), "the rest"), 0.0)
    happens = counts(config)
    for what, field in TIMED.items():
        count = happens["online", what] / config.online_steps
        seconds[PART.get(what, "the rest")] += count * getattr(one, field)
    if panel == "transitions":  # what weights of single transitions would add
        weighed = replace(config, sampling=replace(config.sampling, model_batches="model_error"))
        rows = point.transitions + config.online_steps // 2
        trainings = happens["online", "rollouts"] / config.online_steps
        seconds["weights by model_error"] = trainings * weights_seconds(weighed, rows, device)
    return {"panel": panel, **asdict(point), "seconds": seconds}


def configuration(point: Point) -> RunConfig:
    """MOORe at the paper's scale with the sizes of a point."""
    paper = paper_run()
    return replace(
        paper,
        dynamics=replace(paper.dynamics, hidden=(point.width,) * len(paper.dynamics.hidden)),
        rollout=replace(paper.rollout, batch_size=point.branches),
        precision=point.precision,
    )


def paper_run() -> RunConfig:
    """The run whose sizes are varied."""
    return next(run for run in column() if run.env == ENV)


def points(
    base: Point,
    runs: Sequence[int],
    transitions: Sequence[int],
    branches: Sequence[int],
    widths: Sequence[int],
) -> Iterator[tuple[str, Point]]:
    """Every panel's points: one number is varied, the others stay."""
    for panel, values in zip(PANELS, (runs, transitions, branches, widths), strict=True):
        for value in values:
            yield panel, Point(**asdict(base) | {panel: value})


def main(
    out: Path | None = None,
    device: str = "cpu",
    runs: tuple[int, ...] = (),
    base_runs: int | None = None,
    transitions: tuple[int, ...] = (10_000, 100_000, 1_000_000),
    branches: tuple[int, ...] = (1000, 5000, 20_000, 50_000, 100_000),
    widths: tuple[int, ...] = (50, 100, 200, 400),
    precision: str = "float32",
    study: str = "main_table",
    scale: str = "paper",
) -> None:
    """Print the tables; with --out, write scaling.md, .json, .png and .pdf there (scaling-cuda.* of a GPU).

    runs: none means all that the device has; base_runs: R where it is not varied; study, scale: whose cost on 1, 4 and
    16 devices is worked out, measured like the panels and with its own precision.
    """
    check_device(device)
    torch.set_num_threads(int(threads(device, 1)["OMP_NUM_THREADS"]))
    load, kind, paper = os.getloadavg()[0], torch.device(device).type, paper_run()
    name = "scaling" if kind == "cpu" else f"scaling-{kind}"
    sizes = max(transitions), paper.rollout.batch_size, paper.dynamics.hidden[0]
    base = Point(base_runs or BASE_RUNS[kind], *sizes, precision)
    rows = []
    for panel, point in points(base, runs or RUNS[kind], transitions, branches, widths):
        row = measured(point, panel, device)
        print(f"{panel:>12} {row[panel]:>9,}: " + ", ".join(f"{k} {1e3 * v:.3g} ms" for k, v in row["seconds"].items()))
        rows.append(row)
    lines, whole = study_report(find_study(study, scale), device)
    facts = report_facts(
        load,
        device=kind,
        threads=torch.get_num_threads(),
        base=asdict(base),
        precision=precision,
        utd_ratio=paper.online.utd_ratio,
        retrain_interval=paper.online.retrain_interval,
        retrain_updates=paper.dynamics.online_max_updates,
        length=paper.rollout.length,
        most_branches=MOST_BRANCHES[kind],
        study=whole,
    )
    facts["device_name"] = facts["gpu"]["name"] if kind == "cuda" else facts["machine"]
    text = "\n".join(
        [
            f"# Cost against size on {facts['device_name']}",
            "",
            caption(facts),
            *(line for panel in PANELS for line in ("", f"## {PANELS[panel]}", "", *cost_table(rows, panel))),
            "",
            *lines,
            "",
        ]
    )
    print(text)
    write_report(out, name, facts, rows, text)
    if out is not None:
        save(figure(rows), out / name, caption(facts))
        (out / f"{name}.md").write_text(text, encoding="utf-8")  # `save` has put the caption there


if __name__ == "__main__":
    run(main, "tests.benchmarks.scaling")
