"""Memory that a process holds: resident on a CPU, allocated by torch on a GPU."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

from moore.base.machine import peak_bytes


def held_mb(device: str) -> float:
    """MB now. On a GPU, where one process measures several things, unused memory is given back and the peak begins."""
    if torch.device(device).type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb(device: str) -> float:
    """MB at most: since the process began, or on a GPU since `held_mb`."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_bytes() / 1e6
