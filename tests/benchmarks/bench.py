"""Speed, memory and arithmetic of everything that training is made of, against R."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from moore.base.errors import UserError
from moore.base.machine import available_cores
from moore.cli.options import check_device, check_writable
from moore.networks.mlp import Precision
from tests.benchmarks.cases import BATCH, BRANCHES, ENV, LENGTH, UNITS, Case, all_cases, prepared
from tests.benchmarks.report import report_facts, table, where, write_report
from tests.benchmarks.timing import held_mb, is_gpu, measure, peak, peak_mb

MEASURED = {"cpu": ("float32", "bf16"), "cuda": ("float32", "tf32", "bf16")}
RUNS = {"cpu": (1, 4, 8, 32), "cuda": (1, 4, 8, 32, 64)}
MINUTES = {"cpu": 60.0, "cuda": 7.5}  # after which nothing new begins
MOST_FLOPS = {"cpu": 3.5e11, "cuda": 1e14}  # of one call: more would be timed for half a minute and need gigabytes
WORDS = {"what": "what", "stage": "stage", "width": "width", "precision": "precision", "R": "runs"}  # column -> key
NUMBERS = {  # column -> key, unit, format
    "seconds": ("seconds", 1.0, ",.3f"),
    "MFLOP": ("flops", 1e6, ",.1f"),
    "GFLOP/s": ("flops_per_s", 1e9, ",.0f"),
    "matmul peak GFLOP/s": ("peak", 1e9, ",.0f"),
    "% of peak": ("peak_share", 0.01, ".0f"),
    "memory MB": ("mb", 1.0, ",.0f"),
}


class LeftOut(Exception):
    """Why a case has no row."""


def run_case(case: Case, device: str, threads: int, seconds: float) -> dict[str, Any]:
    """Measure a case in this process: vars(case) and the columns of its row."""
    if not is_gpu(device):
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"  # as a cohort has it
    before = held_mb(device)
    work = prepared(case, device)
    work.call()  # warms up
    row = vars(case) | {"mb": peak_mb(device) - before}  # now, before the matrices of the matmul peak
    first = peak(seconds / 4, device, case.precision)
    wall = measure(work.call, seconds)
    best = max(first, peak(seconds / 4, device, case.precision))  # a shared machine drifts
    row |= {"rate": work.amount / wall, "seconds": wall, "flops": work.flops / work.amount}
    return row | {"flops_per_s": work.flops / wall, "peak": best, "peak_share": work.flops / wall / best}


def in_own_process(device: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call function(*arguments), on a CPU in a fresh process, so that its peak memory is its own.

    Raises LeftOut if that process is killed, or memory is short on the device.
    """
    if is_gpu(device):  # every process would make a context of its own on the device: seconds each
        try:
            return function(*arguments)
        except torch.cuda.OutOfMemoryError:
            raise LeftOut("the device's memory does not hold it") from None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise LeftOut("its process was killed") from None


def main(
    out: Path | None = None,
    device: str = "cpu",
    seconds: float = 0.7,
    runs: tuple[int, ...] = (),
    widths: tuple[int, ...] = (64, 256),
    precisions: tuple[Precision, ...] = (),
    threads: int = 0,
    minutes: float | None = None,
) -> None:
    """Print the numbers; with --out, write bench.md and bench.json there (bench-cuda.* of a GPU).

    seconds: for each measurement; runs, precisions: none means those of the device; threads: 0 is all cores; minutes:
    nothing new begins after them.
    """
    check_device(device)
    kind = torch.device(device).type
    if out is not None:
        check_writable("--out", out)
    if min(runs, default=1) < 1:
        raise UserError(f"--runs: {runs} is not accepted; expected numbers from 1")
    load, start, threads = os.getloadavg()[0], time.monotonic(), threads or available_cores()
    limit = start + 60 * (MINUTES[kind] if minutes is None else minutes)
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    for case in all_cases(runs or RUNS[kind], widths, precisions or MEASURED[kind]):
        try:
            if case.unit == "run-updates" and case.flops > MOST_FLOPS[kind]:
                raise LeftOut(f"a call is {case.flops / 1e9:,.0f} GFLOP")
            if time.monotonic() > limit:
                raise LeftOut("the time was up")
            found.append(in_own_process(device, run_case, case, device, threads, seconds))
            print(f"{case.name:>72} {found[-1]['rate']:>14,.1f}/s", flush=True)
        except LeftOut as reason:
            missing.append(f"{case.name}: {reason}")
    facts = report_facts(device, load, start, threads=threads, seconds=seconds, left_out=missing)
    write_report(out, "bench", facts, found, bench_report(facts, found))


def bench_report(facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the report in Markdown: one table for each group of cases."""
    lines = [
        f"# Speed on {facts['device_name']}",
        "",
        where(facts),
        "",
        f"{ENV}'s sizes and batches of {BATCH}, {BRANCHES[torch.device(facts['device']).type]} branches of {LENGTH} "
        "steps in a rollout; the methods' own settings at paper scale. Each number is of the fastest calls within "
        f"{facts['seconds']:g} s. FLOP: matrix products only, of one of what is counted; peak: a large product in the "
        "same precision, right before or after, which is the limit of torch's libraries, not of the chip. Every update "
        "is timed and counted with the actor's step. Memory: the most of a process of its own over what it held before "
        "(of a GPU: allocated). A run-update is one update of one run; a transition of the ensemble's training counts "
        "for each member.",
        "",
    ]
    for group, unit in UNITS.items():
        numbers = {f"{unit}/s": ("rate", 1.0, ",.1f")} | NUMBERS
        cells = [
            [
                *(str(row[key]) for key in WORDS.values()),
                *(f"{row[key] / by:{form}}" for key, by, form in numbers.values()),
            ]
            for row in rows
            if row["group"] == group
        ]
        if cells:
            lines += [f"## {group[0].upper()}{group[1:]}", "", *table([*WORDS, *numbers], cells, words=2), ""]
    if facts["left_out"]:
        lines += ["## Left out", "", *(f"- {line}" for line in facts["left_out"]), ""]
    return "\n".join(lines).rstrip() + "\n"
