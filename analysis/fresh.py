"""Whether the tables and figures of some studies are there already, drawn by this code from these rows.

Drawing takes seconds and gives the same bytes again. So a record of the last drawing says from what it was made and
what it made, both as sha256. Anything else than the same rows, manifest, code, package versions and files, untouched,
means to draw again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from moore.base.files import replacing

ROOT = Path(__file__).resolve().parents[1]
CODE = tuple(f"{folder}/**/*{kind}" for folder in ("analysis", "moore", "ablations") for kind in (".py", ".yaml"))
PACKAGES = ("arch", "matplotlib", "numpy", "pandas", "pillow", "pyarrow", "PyYAML", "rliable", "scipy", "seaborn")


def sources(results_dirs: Iterable[Path]) -> str:
    """sha256 of all that tables and figures are made of: rows and manifests, this code, Python and packages."""
    files = [folder / name for folder in results_dirs for name in ("manifest.json", "rows.parquet")]
    code = sorted(file for pattern in CODE for file in ROOT.glob(pattern))
    parts = [sys.version, *(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)]
    parts += [f"{file.relative_to(ROOT)} {_sha256(file)}" for file in code]
    parts += [f"{file.parent.name}/{file.name} {_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_drawn(record: Path, made_of: str, out: Path) -> bool:
    """Whether `record` says that the files below `out` were made of `made_of` (see `sources`), and they still are."""
    try:
        known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        return known["sources"] == made_of and all(_sha256(out / name) == sha for name, sha in known["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, another form, or a file is gone
        return False


def remember(record: Path, made_of: str, out: Path, files: Sequence[Path]) -> None:
    """Write the record of `files` below `out`. Raises UserError where it cannot be written."""
    content = {"sources": made_of, "files": {str(file.relative_to(out)): _sha256(file) for file in files}}
    with replacing(record, sync=False) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
