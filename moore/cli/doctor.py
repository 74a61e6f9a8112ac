"""`moore doctor` and `moore --version`: what is here, and what is missing would enable."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator

from moore.base.machine import available_cores, commit, short

PACKAGES = ("torch", "gymnasium", "mujoco", "numpy", "pandas", "scipy", "submitit")
FOLDERS = {"d4rl": "D4RL_DATASET_DIR", "minari": "MINARI_DATASETS_PATH"}  # by default ~/.<name>/datasets


def version() -> str:
    """Return the version and commit of this code."""
    return f"moore {_installed('moore') or 'from a checkout that is not installed'}, commit {short(commit())}"


def doctor() -> None:
    """Print a line for everything that this suite can use: what is there, or what it would enable."""
    for name, found, enables in _findings():
        print(f"{name:10} {found or f'missing: {enables}'}")


def _findings() -> Iterator[tuple[str, str, str]]:
    """Yield what, what of it is there, and what it would enable."""
    import torch

    from moore.data.d4rl import named_folder
    from moore.networks.compiled import compiler

    yield "moore", version(), ""
    yield "python", f"{platform.python_version()} on {platform.platform(terse=True)}", ""
    for name in PACKAGES:
        yield name, _installed(name), "needed; pip install -e ."
    yield "cores", f"{available_cores()}: as many units at once", ""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield "gpu", ", ".join(gpus), "--device cuda (a CUDA build of torch and a driver)"
    yield "compiler", shutil.which(compiler()) or "", "compiled updates, faster in long stages (g++, or $CXX)"
    for name, variable in FOLDERS.items():
        folder = named_folder(variable, f"~/.{name}/datasets")
        files = len(list(folder.rglob("*.hdf5"))) if folder.is_dir() else 0
        enables = f"{name}: datasets (moore/data/README.md; {variable} names the folder)"
        yield name, f"{files} files in {folder}" if files else "", enables
    yield "slurm", shutil.which("sbatch") or "", "moore study submit to a cluster; here --local does the same"


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
