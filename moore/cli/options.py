"""What the commands of `moore` ask of their options: a study that is there, a device, cores, a folder to write in."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from moore.base.errors import UserError
from moore.base.machine import available_cores

if TYPE_CHECKING:  # what brings torch is imported by the command that needs it, so that `--help` is quick
    from moore.studies.study import Study

STUDY, SCALE = "a file in ablations/, by name or path", "a file in ablations/scales/, by name or path"
StudyName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=STUDY, metavar="STUDY")]
ScaleName = Annotated[str, tyro.conf.arg(help=SCALE)]
Root = Annotated[Path, tyro.conf.arg(help="folder of datasets, checkpoints and rows: the same for all of a study")]


def find_study(study: str, scale: str, folder: str = "") -> Study:
    """Load the study of these two files, by path or by name in ablations/ and its `folder`; says what is left out."""
    from moore.studies.study import ABLATIONS_DIR, find_yaml, load_study

    loaded = load_study(find_yaml(study, ABLATIONS_DIR / folder), find_yaml(scale, ABLATIONS_DIR / "scales"))
    for double, first in loaded.collapsed.items():
        print(f"moore: {double} has the settings of {first}: trained once, as {first}", file=sys.stderr)
    return loaded


def trained_study(study: str, scale: str, root: Path) -> Study:
    """Load a study as `find_study` does. Raises UserError if nothing of it is below root."""
    loaded = find_study(study, scale)
    if not (root / loaded.name).is_dir():
        raise UserError(f"{root / loaded.name}: is not there; accepted: the --root that the study was submitted with")
    return loaded


def number_of_workers(workers: int, device: str = "cpu") -> int:
    """Return the number of processes; 0 is one for each core, or one for a GPU. Raises UserError below 0."""
    if workers < 0:
        raise UserError(f"--workers: {workers} is not accepted; expected 0 (one for each core or GPU) or more")
    return workers or (available_cores() if device.startswith("cpu") else 1)


def pairs(key: str, words: Sequence[str]) -> dict[str, str]:
    """Take NAME=VALUE words apart. Raises UserError naming the option and the first that is none."""
    if wrong := [text for text in words if "=" not in text]:
        raise UserError(f"{key}: {wrong[0]!r} is not accepted; expected NAME=TEXT")
    return dict(text.split("=", 1) for text in words)


def check_device(device: str) -> None:
    """Raise UserError unless torch has this device."""
    import torch

    try:
        known = torch.zeros(1, device=device).device.type in ("cpu", "cuda")
    except (RuntimeError, AssertionError):  # torch's errors for an unknown and for an absent device
        known = False
    if not known:
        raise UserError(f"--device: {device!r} is not available here; expected cpu, or cuda where torch sees a GPU")


def check_writable(key: str, folder: Path) -> None:
    """Raise UserError naming the option unless files can be made in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{key}: cannot write in {folder} ({error.strerror}); choose another folder") from None
