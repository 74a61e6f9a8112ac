"""Other people's files, read as curves: a line an evaluation, with the columns `FIELDS`.

    csv          these columns, or those that `columns` names; others are ignored; `spread` or `n`: a line is a summary
    wandb        a chart's export: its x axis, then `RUN - METRIC` for each run (__MIN and __MAX are left out)
    tensorboard  a scalar's export, `Wall time,Step,Value`, a file a run; or a folder of event files
    corl         CORL's finetune_scores.pickle, {algorithm: {task: [(offline scores, online scores, regret), ...]}}

Where no column says it, a run's name does: `awac-s1` and `awac_seed=1` are method awac, seed 1.
"""

import io
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moore.base.errors import UserError

FIELDS = ("method", "task", "seed", "step", "score", "spread", "n")
LEAST = {"seed": 0, "step": 0, "score": -np.inf, "spread": 0, "n": 1}  # of what a number may be
WHOLE = ("seed", "step", "n")
RUN = re.compile(r"(.+?)[-_ /]+(?:seed|s)?[-_=: ]*(\d+)")
FILE = re.compile(r"(?:run[-_])?(.+?)[-_]tag[-_].*")  # TensorBoard's name of an export
CORL_STEPS = 5000  # online, between CORL's evaluations


def read_curves(file: Path, form: str, columns: Mapping[str, str], given: Mapping[str, str]) -> pd.DataFrame:
    """Read one file. columns: field -> the file's name for it; given: method or task of all its runs.

    Without seeds there is one, 0. Raises UserError naming the file, the row and what is accepted.
    """
    if unknown := [name for name in columns if name not in FIELDS]:
        raise UserError(f"--map: {unknown[0]!r} is no field; accepted: {', '.join(FIELDS)}")
    try:
        found = READERS[form](file, columns)
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: {reason}; accepted: CSV in UTF-8, a header and lines as long as it") from None
    found = found.assign(**given)
    lacking = [name for name in ("method", "task", "step", "score") if name not in found]
    if lacking:
        ways = "".join(f"; --{name} NAME" for name in lacking if name in ("method", "task"))
        raise UserError(f"{file}: no {', '.join(lacking)}; accepted: --map FIELD=COLUMN{ways}")
    if found.empty:
        raise UserError(f"{file}: no curves, only a header")
    return _checked(found.assign(seed=found.get("seed", 0)).reindex(columns=[*FIELDS]), file)


def _checked(found: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Turn texts into numbers; the first wrong one is an error. Summaries alone have `spread` and `n`."""
    for name in ("method", "task"):
        if len(empty := np.flatnonzero(found[name].astype(str).str.strip() == "")):
            raise UserError(f"{file}: row {empty[0] + 1}: {name}: empty")
    for name, least in LEAST.items():
        values = pd.to_numeric(found[name], errors="coerce").astype(float)
        good = np.isfinite(values) & (values >= least) & (values < 2**53)
        good &= (values % 1 == 0) if name in WHOLE else True
        if name in ("spread", "n"):
            good |= found[name].isna() | (found[name].astype(str) == "")
        if len(bad := np.flatnonzero(~good)):
            kind = f"{'a whole number' if name in WHOLE else 'a number'} of at least {least:g}"
            raise UserError(f"{file}: row {bad[0] + 1}: {name}: {found[name].iloc[bad[0]]!r}; accepted: {kind}")
        found[name] = values
    return found


def _csv(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    table = _table(file)
    if missing := [name for name in columns.values() if name not in table]:
        raise UserError(f"{file}: no column {missing[0]!r}; its columns are {', '.join(map(str, table))}")
    own = {name: name for name in FIELDS if name in table} | dict(columns)
    return pd.DataFrame({name: table[column] for name, column in own.items()})


def _wandb(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Read a file with a run in each column but the first, which is the step."""
    table = _table(file)
    step = columns.get("step", table.columns[0])
    names = [str(name) for name in table]
    runs = [(*one.rsplit(" - ", 1), one) for one in names if " - " in one and not one.endswith(("__MIN", "__MAX"))]
    metrics = list({metric: None for _, metric, _ in runs if metric != "_step"})
    metric = columns.get("score", metrics[0] if len(metrics) == 1 else "")
    if metric not in metrics or step not in table:
        found = f"columns {', '.join(names)}"
        raise UserError(f"{file}: {found}; accepted: a step, then RUN - METRIC; --map score=METRIC of several")
    chosen = [{**_run(run), "step": table[step], "score": table[one]} for run, own, one in runs if own == metric]
    whole = pd.concat(map(pd.DataFrame, chosen), ignore_index=True)
    return whole[whole["score"] != ""].reset_index(drop=True)  # runs that log at other steps leave gaps


def _tensorboard(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    if file.is_dir():
        return _events(file, columns)
    table, name = _table(file), FILE.fullmatch(file.stem)
    if not {"Step", "Value"} <= set(table):
        raise UserError(f"{file}: columns {', '.join(map(str, table))}; accepted: Wall time, Step, Value")
    return pd.DataFrame({**_run(name[1] if name else file.stem), "step": table["Step"], "score": table["Value"]})


def _events(folder: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Every run below a folder by TensorBoard's own reader; a run is a folder with event files."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        need = "event files need the package tensorboard; accepted: pip install tensorboard"
        raise UserError(f"{folder}: {need}") from None
    frames = []
    for run in sorted({path.parent for path in folder.rglob("events.out.tfevents.*")}):
        events = EventAccumulator(str(run)).Reload()
        tags = events.Tags()["scalars"]
        tag = columns.get("score", tags[0] if len(tags) == 1 else "")
        if tag not in tags:
            raise UserError(f"{run}: scalars {', '.join(tags) or 'none'}; accepted: --map score=TAG")
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        name = run.name if run == folder else str(run.relative_to(folder))
        frames.append(pd.DataFrame(points, columns=["step", "score"]).assign(**_run(name)))
    if not frames:
        raise UserError(f"{folder}: no events.out.tfevents.* below it")
    return pd.concat(frames, ignore_index=True)


def _corl(file: Path, columns: Mapping[str, str]) -> pd.DataFrame:
    """Seeds in their order; step 0 is the last offline evaluation."""
    try:
        scores: Any = _Plain(io.BytesIO(file.read_bytes())).load()
        lines = [
            (method, task, seed, CORL_STEPS * index, float(score))
            for method, tasks in scores.items()
            for task, seeds in tasks.items()
            for seed, (offline, online, _) in enumerate(seeds)
            for index, score in enumerate([*offline[-1:], *online], 0 if len(offline) else 1)
        ]
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError, IndexError) as error:
        kind = "{algorithm: {task: [(offline scores, online scores, regret), ...]}}"
        raise UserError(f"{file}: {error}; accepted: CORL's finetune_scores.pickle, {kind}") from None
    return pd.DataFrame(lines, columns=[*FIELDS[:5]])


class _Plain(pickle.Unpickler):
    """A pickle could call anything: this reads numbers, texts, lists and what NumPy writes them with."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in ("scalar", "_reconstruct", "ndarray", "dtype", "_frombuffer"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _table(file: Path) -> pd.DataFrame:
    """All cells as texts, without spaces around them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a line longer than the header
        form: Any = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "index_col": False}
        table = pd.read_csv(file, engine="python", **form)
    if table.isna().to_numpy().any():
        raise pd.errors.ParserError("a line is shorter than the header")
    return table.rename(columns=str.strip).apply(lambda column: column.str.strip())


def _run(name: str) -> dict[str, Any]:
    match = RUN.fullmatch(name)
    return {"method": match[1], "seed": match[2]} if match else {"method": name, "seed": 0}


READERS: dict[str, Callable[[Path, Mapping[str, str]], pd.DataFrame]] = {
    "csv": _csv, "wandb": _wandb, "tensorboard": _tensorboard, "corl": _corl,
}  # fmt: skip
