"""What a manifest says about code and machine."""

import importlib.metadata
import os
import platform
from typing import Any

import torch

from moore.base.machine import answer, commit, processor

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "pandas", "scipy")


def environment_facts() -> dict[str, Any]:
    """Collect what a manifest says about code and machine: commit, packages, processor, host and, with CUDA, GPU."""
    facts: dict[str, Any] = {
        "git_commit": commit(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "host": platform.node(),
    }
    if torch.cuda.is_available():
        drivers = answer("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()
        facts["gpu"] = {"name": torch.cuda.get_device_name(), "driver": drivers[0] if drivers else "unknown"}
    return facts
