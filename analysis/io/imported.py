"""Other people's curves: their files become a results folder, whose curves can be laid over a study of ours.

They are named `NAME:method (imported)` there, so that every table, legend and caption says what they are. They have no
part in the bold rule, in paired comparisons, in claims or in the number of seeds.
"""

import hashlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.io.foreign import read_curves
from analysis.io.methods import IMPORTED
from analysis.io.rows import MANIFEST, SCORE, Results, load_study, validate
from moore.base.errors import UserError
from moore.base.files import replacing, write_json
from moore.base.rows import COLUMNS
from moore.data.ids import resolve

APART = "imported/score"  # of a curve that is drawn at its own steps, and in no table
SPREAD, SEEDS = "imported/spread", "imported/n"  # of a summary: its ± and over how many runs
RAW = 200  # a median score beyond it is hardly normalised


def import_curves(
    files: Sequence[Path],
    out: Path,
    name: str | None = None,
    form: str = "csv",
    columns: Mapping[str, str] | None = None,
    given: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Path:
    """Write `out`/NAME/rows.parquet and manifest.json from files that `read_curves` reads; returns the folder.

    aliases: their task -> the one of ours that it is laid over. Raises UserError naming the file and what is accepted;
    a folder that holds anything but an import of the same files is left as it is.
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", files[0].resolve().stem.lower()).strip("-") if name is None else name
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise UserError(f"--name: {name!r} is not accepted; expected lower-case letters, digits, _ and -")
    curves = pd.concat([read_curves(file, form, columns or {}, given or {}) for file in files], ignore_index=True)
    tasks, other = list(curves["task"].unique()), dict(aliases or {})
    if unknown := [task for task in other if task not in tasks]:
        raise UserError(f"--task-alias: {unknown[0]!r} is not in the files; accepted: {', '.join(tasks)}")
    curves["task"] = curves["task"].map({task: _task(other.get(task, task)) for task in tasks})
    if (middle := curves["score"].abs().median()) > RAW:
        said = f"{files[0]}: the median score is {middle:.0f}: raw returns? 0-100 is meant"
        print(f"moore: warning: {said}", file=sys.stderr)
    rows = validate(_rows(curves, name), str(files[0]))
    digest, folder = hashlib.sha256(curves.to_csv().encode()).hexdigest(), out / name
    if folder.exists():
        with suppress(UserError):  # neither results of ours nor another import are written over
            if (manifest := load_study(folder).manifest).get("imported") and manifest.get("sha256") == digest:
                return folder
        raise UserError(f"{folder}: exists and is no import of this file; choose another --name or remove it")
    facts = {"study": name, "imported": True, "file": ", ".join(file.name for file in files), "sha256": digest}
    facts |= {"date": time.strftime("%Y-%m-%d"), "aliases": other}
    with replacing(folder / "rows.parquet", "; choose another folder with --out") as parquet:
        rows.to_parquet(parquet, index=False, compression="zstd")
    write_json(folder / MANIFEST, facts | {"online_steps": max(1, int(rows["env_steps"].max()))})
    return folder


def overlay(study: Results, imported: Results) -> Results | None:
    """Lay the imported curves of a study's tasks beside ours, up to its own budget; None without a common task."""
    theirs = imported.rows[imported.rows["dataset"].isin(study.datasets)]
    if theirs.empty:
        return None
    cut = theirs["env_steps"] > study.online_steps
    facts = {"name": imported.name, "cut": bool(cut.any()), "aliases": imported.manifest.get("aliases", {})}
    facts |= {key: imported.manifest.get(key, "unknown") for key in ("file", "sha256")}
    laid = [
        _laid(run, study.select(SCORE), study.online_steps)
        for _, run in theirs[theirs["metric"] == SCORE].groupby("run")
    ]
    rest = theirs[(theirs["metric"] != SCORE) & ~cut]
    apart = [one[["method", "dataset"]].iloc[0] for one in laid if (one["metric"] == APART).any()]
    facts["apart"] = sorted({" on ".join(names) for names in apart})
    manifest = {**study.manifest, "overlays": [*study.manifest.get("overlays", []), facts]}
    rows = pd.concat([study.rows, *(_named(one, imported.name) for one in (*laid, rest))], ignore_index=True)
    rows["study"] = study.name
    return replace(study, name=f"{study.name}+{imported.name}", rows=rows, manifest=manifest)


def overlaid(studies: Sequence[Results], folder: Path) -> list[Results]:
    """Find every study of ours that shares a task with an imported one, with its curves; without any, those alone."""
    imported = load_study(folder)
    if not imported.imported:
        raise UserError(f"{folder}: not imported; --overlay takes a folder that `moore import` made")
    found = [joined for study in studies if not study.imported and (joined := overlay(study, imported)) is not None]
    return found or [replace(imported, rows=_named(imported.rows, imported.name))]


def _named(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows.assign(method=name + ":" + rows["method"] + IMPORTED, run=name + ":" + rows["run"])


def _laid(run: pd.DataFrame, ours: pd.DataFrame, budget: int) -> pd.DataFrame:
    """One of their runs at the steps where we evaluate, interpolated, as far as it goes.

    Each of our steps takes a value if they evaluated within half of our largest distance between evaluations, 0 aside;
    if a step up to their last one has no such evaluation, the run keeps its own steps as `APART`.
    """
    grid = np.unique(ours.loc[ours["dataset"] == run["dataset"].iloc[0], "env_steps"].to_numpy(float))
    run = run.sort_values("env_steps")
    x, y = run["env_steps"].to_numpy(float), run["value"].to_numpy(float)
    reach = np.diff(grid).max() / 2 if len(grid) > 1 else 0.0
    wanted = grid[grid <= x[-1] + reach]
    near = np.abs(wanted[:, None] - x).min(axis=1, initial=np.inf) <= reach
    if not near[wanted > 0].all() or not near.any():
        return run[x <= budget].assign(metric=APART)
    first = run.iloc[[0] * int(near.sum())]
    return first.assign(env_steps=wanted[near].astype(int), value=np.interp(wanted[near], x, y))


def _rows(curves: pd.DataFrame, name: str) -> pd.DataFrame:
    """Make the rows of a study from evaluations; a summary is three rows of its own metrics."""
    rows = curves.assign(study=name, dataset=curves["task"], env_steps=curves["step"], phase="online", updates=0)
    rows["run"] = curves["method"] + "/" + curves["task"] + "/" + curves["seed"].astype(int).astype(str)
    summary = curves["spread"].notna() | curves["n"].notna()
    own = {SCORE: ("score", ~summary), APART: ("score", summary), SPREAD: ("spread", summary), SEEDS: ("n", summary)}
    parts = []
    for metric, (column, part) in own.items():
        mine = rows[part & curves[column].notna()]
        parts.append(mine.assign(metric=metric, value=mine[column], wall_seconds=np.nan))
    return pd.concat(parts)[list(COLUMNS)]


def _task(text: str) -> str:
    """Return a dataset id where it is one, `hopper-medium-v2` for D4RL's too; any other name as `other:NAME`."""
    for one in (text, f"d4rl:{text}"):
        try:
            return str(resolve(one))
        except UserError:
            continue
    said = f"{text}: no dataset id, kept as other:{text}; --task-alias {text}=ID lays it over one"
    print(f"moore: {said}", file=sys.stderr)
    return f"other:{text}"
