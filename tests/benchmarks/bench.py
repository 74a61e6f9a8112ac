"""Speed, memory and arithmetic of everything that training is made of, against R, and a mini run split by phase.

    python -m tests.benchmarks --out tests/benchmarks/results
    python -m tests.benchmarks --out tests/benchmarks/results --device cuda

Nothing but the processes that are timed should run on the machine; what others take shows in CPU/wall and in the peak.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

from analysis.figures import save
from moore.algorithm.config import check_choice
from moore.base.errors import UserError
from moore.base.machine import available_cores
from moore.cli.options import check_device, check_writable
from moore.networks.mlp import PRECISIONS
from moore.studies.study import ABLATIONS_DIR, find_yaml
from tests.benchmarks.cases import Case, all_cases
from tests.benchmarks.drawing import CAPTION, cost_against_runs
from tests.benchmarks.phases import cohort_of, epoch, trained
from tests.benchmarks.report import report_facts, write_report
from tests.benchmarks.running import LeftOut, Runner, Settings
from tests.benchmarks.tables import explanation, group_tables, left_out, phase_tables

MEASURED = {"cpu": ("float32", "bf16"), "cuda": ("float32", "tf32", "bf16")}
RUNS = {"cpu": (1, 4, 8, 32), "cuda": (1, 4, 8, 32, 64)}
MINUTES = {"cpu": 60.0, "cuda": 7.5}  # after which nothing new begins
ENVS = ("pendulum", "inverted_double_pendulum")


def main(
    out: Path | None = None,
    device: str = "cpu",
    seconds: float = 0.7,
    runs: tuple[int, ...] = (),
    widths: tuple[int, ...] = (64, 256),
    precisions: tuple[str, ...] = (),
    threads: int = 0,
    whole: bool = False,
    minutes: float | None = None,
    scale: str = "mini",
    envs: tuple[str, ...] = ENVS,
    rows: int = 100_000,
    matmul_rows: int | None = None,
) -> None:
    """Print the numbers; with --out, write bench.md, bench.json and bench.png there (bench-cuda.* of a GPU).

    seconds: for each measurement; runs, precisions: none means those of the device; threads: 0 is all cores (a mini
    run has one, as every unit does on a CPU); whole: train whole mini units too; minutes: nothing new begins after
    them; scale, envs: of the runs that are split by phase; rows: of the dataset that is loaded; matmul_rows: of the
    product that is the peak.
    """
    check_device(device)
    runs = runs or RUNS[torch.device(device).type]
    if out is not None:
        check_writable("--out", out)
    for key, counts in (("--runs", runs), ("--widths", widths)):
        if not counts or min(counts) < 1:
            raise UserError(f"{key}: {counts} is not accepted; expected numbers from 1")
    settings = Settings(device, threads or available_cores(), seconds, matmul_rows)
    precisions = precisions or MEASURED[settings.kind]
    for precision in precisions:
        check_choice("--precisions", precision, PRECISIONS)
    load, start, runner = os.getloadavg()[0], time.monotonic(), Runner(settings)
    limit = start + 60 * (MINUTES[settings.kind] if minutes is None else minutes)
    found: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    missing: list[tuple[Case | str, str]] = []

    def attempt(what: Case | str, call: Any, *arguments: Any) -> Any:
        """The result; None, and a line in the report, where there is none."""
        try:
            if time.monotonic() > limit:
                raise LeftOut("the time was up")
            return call(*arguments)
        except (LeftOut, UserError) as reason:
            missing.append((what, str(reason)))
            print(f"left out: {left_out(missing[-1:])[0]}", flush=True)
            return None

    cohorts = {env: cohort_of(env, find_yaml(scale, ABLATIONS_DIR / "scales")) for env in envs}
    unit_threads = 1 if settings.kind == "cpu" else settings.threads
    for split, label in ((epoch, "an epoch"), *(((trained, "a whole unit"),) if whole else ())):
        for env, cohort in cohorts.items():
            split_rows = attempt(f"{label} of {env}", runner.call, split, cohort, device, unit_threads)
            phases += split_rows or []
            for row in split_rows or []:
                print(f"{env:>28} {row['of']:<28} {row['phase']:<32} {row['seconds']:>9.2f} s", flush=True)
    for case in all_cases(device, runs, widths, precisions, rows):
        row = attempt(case, runner.row, case)
        if row is not None:
            found.append(row)
            share = f"  {100 * row['peak_share']:.0f} % of peak" if "peak_share" in row else ""
            print(f"{case.name + f', R = {case.runs}':>66} {row['rate']:>14,.1f}/s{share}", flush=True)
    facts = report_facts(
        load,
        device=device,
        threads=settings.threads,
        seconds=seconds,
        minutes=(time.monotonic() - start) / 60,
        left_out=left_out(missing),
    )
    if out is not None:
        name = "bench" if settings.kind == "cpu" else f"bench-{settings.kind}"
        if found:
            save(cost_against_runs(found), out / name, CAPTION)  # its caption's file becomes the report, which has it
        write_report(out, name, facts, found + phases, _text(name, facts, found, phases))


def _text(
    name: str,
    facts: dict[str, Any],
    found: list[dict[str, Any]],
    phases: list[dict[str, Any]],
) -> str:
    lines = explanation(facts)
    if phases:
        lines += [
            "## Where the time of a mini run goes",
            "",
            "One unit of the study `sampling`: four strategies, five seeds, one process"
            f"{', one thread' if facts['device'] == 'cpu' else ', waiting for the GPU after every call'}. The epoch "
            "has one evaluation and one checkpoint. From its parts: the time of an epoch and of a piece of the offline "
            "stage, multiplied by how often everything happens; there, all evaluations play full episodes with the "
            "shipped behaviour policy, an upper bound, as a unit's own policies may fall early, and the first training "
            "of the ensemble counts with its cap. Lines with `of it` are parts of the evaluation.",
            "",
            *phase_tables(phases),
        ]
    if found:
        lines += [*group_tables(found), "## Cost against R", "", f"![Cost against R]({name}.png)", "", CAPTION, ""]
    if facts["left_out"]:
        lines += ["## Left out", "", *(f"- {line}" for line in facts["left_out"]), ""]
    return "\n".join(lines).rstrip() + "\n"
