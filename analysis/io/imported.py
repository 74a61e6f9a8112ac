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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from analysis.io.methods import IMPORTED
from analysis.io.rows import SCORE, Results, load_study, validate
from moore.base.errors import UserError
from moore.base.files import write_json
from moore.base.rows import NUMBER_COLUMNS, TEXT_COLUMNS
from moore.base.strict import FORBID
from moore.data.ids import resolve

Int64 = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True, config=FORBID)
class Point:
    """One line of the file, with its columns."""

    method: Annotated[str, Field(min_length=1)]
    task: Annotated[str, AfterValidator(lambda text: str(resolve(text)))]  # a dataset id as in our rows
    seed: Int64
    step: Int64  # environment steps since the switch; 0: before the first
    score: Annotated[float, Field(allow_inf_nan=False)]  # normalised, 0-100


HEADER = tuple(Point.__dataclass_fields__)


def import_curves(file: Path, out: Path, name: str | None = None) -> Path:
    """Write `out`/NAME/rows.parquet and manifest.json from a CSV file with the columns of `Point`; returns the folder.

    Raises UserError naming the file, the line and what is accepted; a folder that holds anything but an import of the
    same file is left as it is.
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", file.stem.lower()).strip("-") if name is None else name
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UserError(f"--name: {name!r} is not accepted; expected lower-case letters, digits, _ and -")
    try:
        content = file.read_bytes()
        rows = _rows(content.decode("utf-8-sig"), str(file), name)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not a text file in UTF-8") from None
    digest, folder = hashlib.sha256(content).hexdigest(), out / name
    if folder.exists():
        _reject_other(folder, digest)
        return folder
    facts = {"study": name, "imported": True, "file": file.name, "sha256": digest, "date": time.strftime("%Y-%m-%d")}
    half = folder.with_name(f".{name}.{os.getpid()}.tmp")  # the folder appears whole or not at all
    try:
        half.mkdir(parents=True)
        rows.to_parquet(half / "rows.parquet", index=False, compression="zstd")
        write_json(half / "manifest.json", facts | {"online_steps": int(rows["env_steps"].max())})
        half.rename(folder)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        reason = f"cannot write results ({error.strerror}); choose another folder with --out"
        raise UserError(f"{folder}: {reason}") from None
    return folder


def overlay(study: Results, imported: Results) -> Results | None:
    """Lay the imported curves of a study's tasks beside ours, up to its own budget; None without a common task."""
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
    """Find every study of ours that shares a task with an imported one, with its curves; UserError if there is none."""
    imported = load_study(folder)
    if not imported.imported:
        raise UserError(f"{folder}: not imported; --overlay takes a folder that `moore import` made")
    found = [joined for study in studies if not study.imported and (joined := overlay(study, imported)) is not None]
    if not found:
        tasks, ours = ", ".join(imported.datasets), sorted({name for study in studies for name in study.datasets})
        raise UserError(f"{folder}: no study has its tasks ({tasks}); ours are {', '.join(ours) or 'none'}")
    return found


def _rows(text: str, file: str, name: str) -> pd.DataFrame:
    """Read the lines as rows of a study. Raises UserError with the number of the first wrong one."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [column.strip() for column in next(reader, [])]
    if sorted(header) != sorted(HEADER):
        raise UserError(f"{file}: columns {', '.join(header) or 'missing'}; expected exactly {', '.join(HEADER)}")
    records, point_of = [], TypeAdapter(Point)
    for cells in filter(None, _lines(reader, file)):
        where = f"{file}: line {reader.line_num}"
        if len(cells) != len(header):
            raise UserError(f"{where}: {len(cells)} values, expected {len(header)}; is the file complete?")
        try:
            point = point_of.validate_python(dict(zip(header, map(str.strip, cells), strict=True)))
        except UserError as error:  # from the dataset id
            raise UserError(f"{where}: task: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"{where}: {first['loc'][0]}: {first['input']!r} is not accepted; {first['msg']}") from None
        run = f"{point.method}/{point.task}/{point.seed}"
        owner = (name, point.method, point.task, run, "online", SCORE)
        records.append((*owner, point.seed, point.step, 0, math.nan, point.score))
    if not records:
        raise UserError(f"{file}: no curves, only a header")
    rows = validate(pd.DataFrame(records, columns=[*TEXT_COLUMNS, *NUMBER_COLUMNS]), file)
    for (method, task), curves in rows.groupby(["method", "dataset"]):
        seen = [set(curve["env_steps"]) for _, curve in curves.groupby("seed")]
        if odd := sorted(set.union(*seen) - set.intersection(*seen)):
            problem = f"{method} on {task}: step {odd[0]} is not in all seeds"
            raise UserError(f"{file}: {problem}; accepted: seeds evaluated at the same steps, as by interpolation")
    return rows


def _lines(reader: Any, file: str) -> Iterator[list[str]]:
    """Yield the cells of every line. Raises UserError where a quote is not closed or stands inside a cell."""
    try:
        yield from reader
    except csv.Error as error:
        raise UserError(f"{file}: line {reader.line_num}: {error}; accepted: CSV, its quotes in pairs") from None


def _reject_other(folder: Path, digest: str) -> None:
    """Refuse to write over results of ours and other imports."""
    try:
        manifest = load_study(folder).manifest
    except UserError:
        manifest = {}
    if not manifest.get("imported") or manifest.get("sha256") != digest:
        raise UserError(f"{folder}: exists and is no import of this file; choose another --name or remove it")
