"""How everything is timed: the best of repeated calls, beside the matmul peak of the same process and device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from moore.studies.estimate import synchronize

MATMUL = {"cpu": 2048, "cuda": 8192}  # rows of the square product that saturates the device
BURST = 0.02  # s of work queued on a GPU between two looks at the clock: a wait for each call would be timed instead
# operands and whether a GPU may round float32 products to TF32
DTYPES = {"float32": (torch.float32, False), "tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}


@dataclass(frozen=True)
class Timing:
    """Best of several repetitions: wall seconds of a call, and processor seconds of that same call."""

    wall: float
    cpu: float


def measure(
    call: Callable[[], object], seconds: float, device: str = "cpu", least: int = 3, warm: bool = False
) -> Timing:
    """Time a call for about `seconds` and at least `least` times; the minimum is the least disturbed.

    One call comes before, unless it is warm already. On a GPU, several calls are queued between two looks at the
    clock, and their mean counts as one.
    """
    burst = 1
    if not warm:
        call()
    if torch.device(device).type == "cuda":
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        burst = max(1, math.ceil(BURST / (time.perf_counter() - start)))
    timings: list[Timing] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(timings) < least:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(burst):
            call()
        synchronize(device)
        timings.append(Timing((time.perf_counter() - wall) / burst, (time.process_time() - cpu) / burst))
    return min(timings, key=lambda t: t.wall)


def peak(seconds: float, device: str = "cpu", precision: str = "float32", rows: int | None = None) -> float:
    """Floating-point operations a second of a large square matrix product in a precision of the configuration."""
    rows = rows or MATMUL[torch.device(device).type]
    dtype, tf32 = DTYPES[precision]
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * rows**3 / measure(lambda: a @ b, seconds, device).wall
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
