"""Time and memory of a call: the best of repetitions, beside the matmul peak of the same process and device."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from moore.base.machine import peak_bytes

MATMUL = {"cpu": 2048, "cuda": 8192}  # rows of the square product that saturates the device
BURST = 0.02  # s of work queued on a GPU between two looks at the clock: a wait for each call would be timed instead
# operands and whether a GPU may round float32 products to TF32
DTYPES = {"float32": (torch.float32, False), "tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}


@dataclass(frozen=True)
class Timing:
    """Best of several repetitions: wall seconds of a call, and processor seconds of that same call."""

    wall: float
    cpu: float


def is_gpu(device: str) -> bool:
    """Tell whether calls have to be waited for."""
    return torch.device(device).type == "cuda"


def synchronize(device: str) -> None:
    """Wait for what a GPU still has to do."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


def measure(call: Callable[[], object], seconds: float, device: str = "cpu") -> Timing:
    """Time a call for about `seconds`; the minimum is the least disturbed. One call comes before.

    On a GPU, several calls are queued between two looks at the clock, and their mean counts as one.
    """
    synchronize(device)
    start, burst = time.perf_counter(), 1
    call()
    synchronize(device)
    if is_gpu(device):
        burst = max(1, math.ceil(BURST / (time.perf_counter() - start)))
    timings: list[Timing] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not timings:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(burst):
            call()
        synchronize(device)
        timings.append(Timing((time.perf_counter() - wall) / burst, (time.process_time() - cpu) / burst))
    return min(timings, key=lambda t: t.wall)


def peak(seconds: float, device: str = "cpu", precision: str = "float32", rows: int | None = None) -> float:
    """Measure floating-point operations a second of a large square product in a precision of the configuration."""
    rows = rows or MATMUL[torch.device(device).type]
    dtype, tf32 = DTYPES[precision]
    a, b = (torch.randn(rows, rows, device=device).to(dtype) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        return 2 * rows**3 / measure(lambda: a @ b, seconds, device).wall
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def held_mb(device: str) -> float:
    """MB now: resident, or allocated on a GPU, where unused memory is given back and the peak begins anew."""
    if is_gpu(device):
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(device: str) -> float:
    """MB at most: since the process began, or on a GPU since `held_mb`."""
    return (torch.cuda.max_memory_allocated(device) if is_gpu(device) else peak_bytes()) / 1e6
