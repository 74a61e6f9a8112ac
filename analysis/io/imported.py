"""Other people's curves: a CSV file becomes a results folder of its own, which can be laid over a study of ours.

They are named `NAME:method (imported)` there, so that every table, legend and caption says what they are. They have no
part in the bold rule, in paired comparisons, in claims or in the number of seeds.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.io.methods import IMPORTED
from analysis.io.rows import COLUMNS, SCORE, Results, load_study, validate
from moore.base.errors import UserError
from moore.base.files import write_json
from moore.data.ids import resolve

HEADER = ("method", "task", "seed", "step", "score")


def import_curves(file: Path, out: Path, name: str | None = None) -> Path:
    """Write `out`/NAME/rows.parquet and manifest.json from a CSV file; returns the folder.

    Columns: method; task, a dataset id as in our rows; seed; step, environment steps since the switch (0: before the
    first); score, normalised, 0-100. Raises UserError naming the file, the line and what is accepted; a folder that
    holds anything but an import of the same file is left as it is.
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-") if name is None else name
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UserError(f"--name: {name!r} is not accepted; expected lower-case letters, digits, _ and -")
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not a text file in UTF-8") from None
    rows = _rows(text, str(file), name)
    digest, folder = hashlib.sha256(content).hexdigest(), out / name
    if folder.exists():
        _reject_other(folder, digest)
        return folder
    manifest = {
        "study": name,
        "imported": True,
        "file": file.name,
        "sha256": digest,
        "date": time.strftime("%Y-%m-%d"),
        "online_steps": int(rows["env_steps"].max()),
    }
    half = folder.with_name(f".{name}.{os.getpid()}.tmp")  # the folder appears whole or not at all
    try:
        half.mkdir(parents=True)
        rows.to_parquet(half / "rows.parquet", index=False, compression="zstd")
        write_json(half / "manifest.json", manifest)
        half.rename(folder)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        reason = f"cannot write results ({error.strerror}); choose another folder with --out"
        raise UserError(f"{folder}: {reason}") from None
    return folder


def overlay(study: Results, imported: Results) -> Results | None:
    """Our study with the imported curves of its tasks beside it, up to its own budget; None without a common task."""
    theirs = imported.rows[imported.rows["dataset"].isin(study.datasets)]
    if theirs.empty:
        return None
    within = theirs[theirs["env_steps"] <= study.online_steps]
    named = within.assign(
        study=study.name,
        method=imported.name + ":" + within["method"] + IMPORTED,
        run=imported.name + ":" + within["run"],
    )
    facts = {"name": imported.name, "cut": len(within) < len(theirs)}
    facts |= {key: imported.manifest.get(key, "unknown") for key in ("file", "sha256")}
    manifest = {**study.manifest, "overlays": [*study.manifest.get("overlays", []), facts]}
    rows = pd.concat([study.rows, named], ignore_index=True)
    return replace(study, name=f"{study.name}+{imported.name}", rows=rows, manifest=manifest)


def overlaid(studies: Sequence[Results], folder: Path) -> list[Results]:
    """Every study of ours that shares a task with an imported one, with its curves; UserError if there is none."""
    imported = load_study(folder)
    if not imported.imported:
        raise UserError(f"{folder}: not imported; --overlay takes a folder that `moore import` made")
    found = [joined for study in studies if not study.imported and (joined := overlay(study, imported)) is not None]
    if not found:
        tasks, ours = ", ".join(imported.datasets), sorted({name for study in studies for name in study.datasets})
        raise UserError(f"{folder}: no study has its tasks ({tasks}); ours are {', '.join(ours) or 'none'}")
    return found


def _rows(text: str, file: str, name: str) -> pd.DataFrame:
    """The lines as rows of a study, or UserError with the number of the first wrong one."""
    reader = csv.reader(io.StringIO(text, newline=""))
    header = [column.strip() for column in next(reader, [])]
    for wrong, words in (
        ([column for column in HEADER if column not in header], "missing column"),
        ([column for column in header if column not in HEADER], "unknown column"),
        ([column for column in HEADER if header.count(column) > 1], "column twice:"),
    ):
        if wrong:
            raise UserError(f"{file}: {words} {', '.join(wrong)}; expected exactly {', '.join(HEADER)}")
    records: list[dict[str, Any]] = []
    for cells in reader:
        if not cells:
            continue
        where = f"{file}: line {reader.line_num}"
        if len(cells) != len(header):
            raise UserError(f"{where}: {len(cells)} values, expected {len(header)}; is the file complete?")
        entry = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        method, task = entry["method"], _task(entry["task"], where)
        if not method:
            raise UserError(f"{where}: column method is empty")
        seed, step = (_whole(entry[key], f"{where}: {key}") for key in ("seed", "step"))
        record = dict.fromkeys(COLUMNS, 0) | {"study": name, "method": method, "dataset": task, "seed": seed}
        record |= {"run": f"{method}/{task}/{seed}", "phase": "online", "env_steps": step, "metric": SCORE}
        records.append(record | {"wall_seconds": math.nan, "value": _finite(entry["score"], f"{where}: score")})
    if not records:
        raise UserError(f"{file}: no curves, only a header")
    return validate(pd.DataFrame(records, columns=list(COLUMNS)), file)


def _task(text: str, where: str) -> str:
    try:
        return str(resolve(text))
    except UserError as error:
        raise UserError(f"{where}: task: {error}") from None


def _whole(text: str, where: str) -> int:
    if not re.fullmatch(r"\d+(\.0+)?", text):
        raise UserError(f"{where}: {text!r} is not accepted; expected a whole number, 0 or more")
    return int(text.split(".")[0])


def _finite(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {text!r} is not accepted; expected a number, the normalised score (0-100)")
    return value


def _reject_other(folder: Path, digest: str) -> None:
    """Results of ours and other imports are never written over."""
    try:
        manifest = load_study(folder).manifest
    except UserError:
        manifest = {}
    if not manifest.get("imported") or manifest.get("sha256") != digest:
        raise UserError(f"{folder}: exists and is no import of this file; choose another --name or remove it")
