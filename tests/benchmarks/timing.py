"""Time and memory of a call: the best of repetitions, beside the matmul peak of the same process and device."""

import gc
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from moore.base.machine import peak_bytes
from moore.studies.estimate import synchronize

MATMUL = {"cpu": 2048, "cuda": 8192}  # rows of the square product that saturates the device
BURST = 0.02  # s of work queued on a GPU between two looks at the clock: a wait for each call would be timed instead
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}  # operands of the products


class Timing(NamedTuple):
    """Best of several repetitions: wall seconds of a call, and processor seconds of that same call."""

    wall: float
    cpu: float


def is_gpu(device: str) -> bool:
    """Tell whether calls have to be waited for."""
    return torch.device(device).type == "cuda"


def measure(call: Callable[[], object], seconds: float, device: str = "cpu") -> Timing:
    """Time a call for about `seconds`; the minimum is the least disturbed. One call comes before.

    On a GPU, several calls are queued between two looks at the clock, and their mean counts as one.
    """
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    burst = max(1, math.ceil(BURST / (time.perf_counter() - start))) if is_gpu(device) else 1
    timings: list[Timing] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not timings:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(burst):
            call()
        synchronize(device)
        timings.append(Timing((time.perf_counter() - wall) / burst, (time.process_time() - cpu) / burst))
    return min(timings)


def peak(seconds: float, device: str, precision: str) -> float:
    """Measure floating-point operations a second of a large square product, with the process's switch for TF32."""
    rows = MATMUL[torch.device(device).type]
    a, b = (torch.randn(rows, rows, device=device).to(DTYPES[precision]) for _ in range(2))
    return 2 * rows**3 / measure(lambda: a @ b, seconds, device).wall


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
