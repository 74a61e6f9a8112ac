"""One case after the other, on a CPU each in a process of its own, so that its peak memory is its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch

from moore.run.units import KEEP_MEMORY
from tests.benchmarks.cases import Case, Prepared, prepared, update_flops
from tests.benchmarks.memory import held_mb, peak_mb
from tests.benchmarks.speed import measure, peak
from tests.benchmarks.tracing import physics_share

MOST_FLOPS = {"cpu": 3.5e11, "cuda": 1e14}  # of one call: more would be timed for half a minute and need gigabytes
UPDATES = ("SAC updates", "other methods")


@dataclass(frozen=True)
class Settings:
    """How everything is timed."""

    device: str = "cpu"
    threads: int = 1
    seconds: float = 0.7  # for each case, and half of it for the peak before and after
    matmul_rows: int | None = None  # of the product that is the peak; None: what saturates the device

    @property
    def kind(self) -> str:
        """The device's type."""
        return torch.device(self.device).type


class LeftOut(Exception):
    """Why a case has no row."""


def run_case(case: Case, settings: Settings) -> dict[str, Any]:
    """The row of a case: vars(case), and what was measured in this process."""
    if settings.kind == "cpu":
        torch.set_num_threads(settings.threads)
    torch.backends.cuda.matmul.allow_tf32 = case.precision == "tf32"  # as a cohort has it
    before = held_mb(settings.device)
    with prepared(case, settings.device) as work:
        share = physics_share(work.call)  # the first call, which warms up
        row = vars(case) | ({"physics_share": share} if work.physics else {})
        if not case.rows:  # a dataset that is loaded was made in this process
            row["mb"] = peak_mb(settings.device) - before  # now, before the matrices of the matmul peak
        return row | _timed(case, work, settings)


def _timed(case: Case, work: Prepared, settings: Settings) -> dict[str, Any]:
    """The columns of a call that has been made before."""
    device, limits = settings.device, list[float]()

    def look_at_peak() -> None:
        if work.flops:
            limits.append(peak(settings.seconds / 4, device, case.precision, settings.matmul_rows))

    look_at_peak()
    timing = measure(work.call, settings.seconds, device, least=1, warm=True)
    look_at_peak()  # a shared machine drifts: the better of both sides
    row: dict[str, Any] = {
        "rate": work.amount / timing.wall,
        "seconds": timing.wall,
        "cpu_per_wall": timing.cpu / timing.wall,
    }
    if work.flops:
        row["flops"], row["flops_per_s"] = work.flops / work.amount, work.flops / timing.wall
        row["peak"], row["peak_share"] = max(limits), row["flops_per_s"] / max(limits)
    return row


class Runner:
    """Calls functions with their arguments, on a CPU each in a fresh process that has everything imported."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, "tests.benchmarks.phases"])
        if settings.kind == "cpu":
            os.environ.update(KEEP_MEMORY)  # like the processes that train; read when a process starts

    def row(self, case: Case) -> dict[str, Any]:
        """The case's row. Raises LeftOut, and UserError where its configuration is not accepted."""
        if case.group in UPDATES and (flops := update_flops(case)) > MOST_FLOPS[self._settings.kind]:
            raise LeftOut(f"a call is {flops / 1e9:,.0f} GFLOP")
        return self.call(run_case, case, self._settings)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """function(*arguments). Raises LeftOut if its process is killed, or memory is short on the device."""
        if self._settings.kind != "cpu":  # every process would make a context of its own on the device: seconds each
            try:
                return function(*arguments)
            except torch.cuda.OutOfMemoryError:
                raise LeftOut("the device's memory does not hold it") from None
        with ProcessPoolExecutor(1, self._context) as pool:
            try:
                return pool.submit(function, *arguments).result()
            except BrokenProcessPool:
                raise LeftOut("its process was killed") from None
