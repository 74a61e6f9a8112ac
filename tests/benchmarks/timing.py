"""Time and memory of a call, beside the matmul peak of the same process and device."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

from moore.base.machine import peak_bytes

MATMUL = {"cpu": 2048, "cuda": 8192}  # rows of the square product that saturates the device
DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}  # operands of the products


def is_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"


def measure(call: Callable[[], object], seconds: float) -> float:
    """Return the seconds of a call, of the fastest of the blocks of calls within about `seconds`, after a first one.

    A GPU is waited for at the end of a block, whose calls are queued.
    """
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return min(timer.blocked_autorange(min_run_time=seconds).times)


def peak(seconds: float, device: str, precision: str) -> float:
    """Measure floating-point operations a second of a large square product, with the process's switch for TF32."""
    rows = MATMUL[torch.device(device).type]
    a, b = (torch.randn(rows, rows, device=device).to(DTYPES[precision]) for _ in range(2))
    return 2 * rows**3 / measure(lambda: a @ b, seconds)


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
