"""Reading finished studies, validated: `rows.parquet` (tidy rows) and `manifest.json` (what produced them).

Columns of a row: study, method, dataset, seed, run, phase ("offline" or "online"), env_steps, updates, wall_seconds,
metric, value. Offline rows have env_steps = 0 and count gradient updates; online rows count real environment steps
since the switch, and the evaluation J_0 is the online row at env_steps = 0.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.io.methods import MOORE, PRIORITIZED
from moore.base.errors import UserError
from moore.base.manifest import read_manifest
from moore.base.rows import COLUMNS, NUMBER_COLUMNS, TEXT_COLUMNS, read_rows

PHASES = ("offline", "online")
SCORE = "eval/score"
MANIFEST = "manifest.json"
OWNER = ["method", "dataset", "seed", "run"]
RESULTS = Path(__file__).resolve().parents[1] / "results"
UNSAID = ("local", "minari")  # sources whose ids do not say the environment, or in words of their own
SHORT = {  # environments in figures and tables
    "halfcheetah": "HC", "hopper": "Hopper", "walker2d": "Walker2d", "pendulum": "Pendulum",
    "inverted_double_pendulum": "IDP", "cartpole_swingup": "Cart-pole",
}  # fmt: skip
_ENVIRONMENTS: dict[str, str] = {}  # dataset id of such a source -> environment, from the manifests that were read


@dataclass(frozen=True, eq=False)  # compared by identity: what is computed from its rows is kept beside it
class Results:
    """One finished study: `rows` as described above, `manifest` as written by the run, with a full config a run."""

    name: str
    rows: pd.DataFrame
    manifest: Mapping[str, Any]

    def __post_init__(self) -> None:
        for config in self.manifest.get("configs", {}).values():
            if source(config.get("dataset") or "none") in UNSAID:
                _ENVIRONMENTS[config["dataset"]] = config["env"].rsplit(":", 1)[-1]

    @cached_property
    def datasets(self) -> list[str]:
        """List the tasks: every dataset id except the `none:` of runs from scratch, unless there is nothing else."""
        names = sorted(self.owners["dataset"].unique())
        return [name for name in names if source(name) != "none"] or names

    @cached_property
    def methods(self) -> list[str]:
        """List the methods that went online; all methods in a study without an online stage."""
        online = self.owners.loc[self.owners["phase"] == "online", "method"].unique()
        return sorted(online if len(online) else self.owners["method"].unique())

    @cached_property
    def owners(self) -> pd.DataFrame:
        """Tell whose rows there are: method, dataset, seed, run and phase, once each; a run has one owner."""
        return self.rows.loc[~self.rows.duplicated(["run", "phase"]), [*OWNER, "phase"]]

    @cached_property
    def configs(self) -> dict[str, list[Any]]:
        """Collect the configs of each method's online runs, as far as the manifest has them."""
        known, found = self.manifest.get("configs", {}), dict[str, list[Any]]()
        online = self.owners[self.owners["phase"] == "online"]
        for method, run in zip(online["method"], online["run"], strict=True):
            if run in known:
                found.setdefault(method, []).append(known[run])
        return found

    @cached_property
    def _places(self) -> dict[Any, Any]:
        return self.rows.groupby(["metric", "phase"], sort=False).indices

    def select(self, metric: str, phase: str = "online") -> pd.DataFrame:
        """Select the rows of one metric in one phase."""
        return self.rows.take(self._places.get((metric, phase), []))

    @property
    def main(self) -> str:
        """Name the reference of every paired difference: the manifest's if it ran, else MOORe's name here."""
        stated = self.manifest.get("reference")
        return stated if stated in self.methods else MOORE if MOORE in self.methods else PRIORITIZED

    @property
    def online_steps(self) -> int:
        """Return a run's online budget in environment steps: the manifest's, or else the last evaluated step."""
        stated = self.manifest.get("online_steps")
        if isinstance(stated, int) and stated > 0:
            return stated
        return int(self.select(SCORE)["env_steps"].max()) if len(self.select(SCORE)) else 0

    @property
    def imported(self) -> bool:
        """Tell whether these are other people's curves, read by `moore import`."""
        return bool(self.manifest.get("imported"))

    @property
    def pure(self) -> bool:
        """Tell whether all runs are our own: no import, and none laid over them."""
        return not self.imported and not self.manifest.get("overlays")


def source(dataset: str) -> str:
    """Say where a dataset comes from: `self`, `d4rl`, `minari`, `local`, or `none` for a run from scratch."""
    return dataset.split(":", 1)[0]


def environment(dataset: str) -> str:
    """Find `hopper` in `d4rl:hopper-medium-v2`, `none:hopper` and `minari:mujoco/hopper/medium-v0`.

    The id of a file, `local:data.hdf5`, does not say it: the manifest of a study that was read does.
    """
    if dataset in _ENVIRONMENTS:
        return _ENVIRONMENTS[dataset]
    name = dataset.split(":", 1)[-1]
    folders = name.split("/")
    return folders[-2] if source(dataset) == "minari" and len(folders) > 1 else name.split("-", 1)[0]


def quality(dataset: str) -> str:
    """Find `medium-replay` in `d4rl:hopper-medium-replay-v2`; empty where the id does not say."""
    name = re.sub(r"-v\d+$", "", dataset.split(":", 1)[-1].rsplit("/", 1)[-1])
    return name.removeprefix(environment(dataset)).removeprefix("-")


def task_label(dataset: str) -> str:
    """Write a dataset id as HC-medium-replay: without where it comes from, which captions say."""
    env = environment(dataset)
    return "-".join(filter(None, (SHORT.get(env, env), quality(dataset))))


class Cells(dict[Any, pd.DataFrame]):
    """Rows, or runs, by (dataset, method); runs from scratch stand beside every dataset of their environment."""

    def __init__(self, rows: pd.DataFrame) -> None:
        super().__init__(iter(rows.groupby(["dataset", "method"], sort=False)))
        self.empty = rows[:0]

    def place(self, dataset: str, method: str) -> str:
        """Find the dataset id of `method` in the row of a task: itself, or its environment's runs from scratch."""
        scratch = f"none:{environment(dataset)}"
        return scratch if (dataset, method) not in self and (scratch, method) in self else dataset

    def __missing__(self, cell: tuple[str, str]) -> pd.DataFrame:
        return self.get((self.place(*cell), cell[1]), self.empty)


def study_folders(results: str | Path = RESULTS, names: Sequence[str] = ()) -> list[Path]:
    """Find the folders of the named studies under `results`, or all of them. Raises UserError for an unknown one."""
    results = Path(results)
    folders = sorted(file.parent for file in results.glob("*/manifest.json"))
    if unknown := [name for name in names if name not in {folder.name for folder in folders}]:
        known = ", ".join(folder.name for folder in folders) or "none"
        raise UserError(f"{results}: no study {', '.join(unknown)}; found {known}")
    return [folder for folder in folders if not names or folder.name in names]


def load_study(folder: str | Path) -> Results:
    """Read and validate one results folder; UserError names the file and what is wrong with it."""
    rows_file, manifest_file = Path(folder) / "rows.parquet", Path(folder) / MANIFEST
    for file in (rows_file, manifest_file):
        if not file.is_file():
            raise UserError(f"{file}: no such file; a finished study has rows.parquet and manifest.json")
    manifest = read_manifest(manifest_file)
    try:
        rows = pd.read_parquet(rows_file, read_dictionary=list(TEXT_COLUMNS))
    except (ValueError, OSError) as error:
        raise UserError(f"{rows_file}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
    study = Results(str(manifest.get("study", Path(folder).name)), validate(rows, str(rows_file)), manifest)
    _reject_unknown_runs(study, f"{manifest_file}: offline_runs")
    return study


def load_studies(folders: Iterable[str | Path]) -> list[Results]:
    """Read several results folders, in the order given; two folders of the same study are an error."""
    studies = [load_study(folder) for folder in folders]
    names = [study.name for study in studies]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"study {twice[0]}: given twice; each study is reported once")
    return studies


def load_progress(folder: Path) -> Results:
    """Read the rows so far of a study that runs or was killed, as runs/sampling-mini; UserError for another folder."""
    files = sorted(folder.glob("runs/*/rows.csv"))
    units = [spec for file in sorted(folder.glob("units/*.json")) if (spec := read_manifest(file)).get("runs")]
    frames = [frame for frame in map(read_rows, files) if len(frame)]
    if not frames or not units:
        expected = "expected the folder of a study in progress, such as runs/sampling-mini"
        raise UserError(f"{folder}: no rows yet; {expected}")
    rows = validate(pd.concat(frames, ignore_index=True), str(folder))
    ended = [read_manifest(path) for file in files if (path := file.with_name("manifest.json")).exists()]
    config = units[0]["runs"][0]
    online = config["online"]
    known = set(rows["run"])
    manifest = {
        "study": folder.name,
        "config": config,
        "online_steps": online["epochs"] * online["epoch_steps"],
        "configs": {m["run"]: m["config"] for m in ended},
        "offline_runs": {m["run"]: m["offline_run"] for m in ended if {m["run"], m.get("offline_run")} <= known},
    }
    return Results(folder.name, rows, manifest)


def validate(rows: pd.DataFrame, file: str) -> pd.DataFrame:
    """Return the rows with plain column types. Raises UserError with `file` and the offending column."""
    if missing := [name for name in COLUMNS if name not in rows.columns]:
        raise UserError(f"{file}: missing column {', '.join(missing)}; a row has {', '.join(COLUMNS)}")
    rows = rows[list(COLUMNS)].reset_index(drop=True)
    for name in TEXT_COLUMNS:
        if rows[name].isna().any():
            raise UserError(f"{file}: column {name}: empty value in row {int(np.argmax(rows[name].isna()))}")
    kinds = {name: pd.api.types.infer_dtype(rows[name]) for name in TEXT_COLUMNS}
    other = [name for name, kind in kinds.items() if kind not in ("string", "categorical")]  # few: str is slow
    try:
        rows = rows.astype(dict.fromkeys(other, str)).astype(dict.fromkeys(NUMBER_COLUMNS, float))
        rows = rows.astype(dict.fromkeys(("seed", "env_steps", "updates"), np.int64))
    except (ValueError, TypeError) as error:  # pandas names the column
        raise UserError(f"{file}: {error}") from None
    if wrong := sorted(set(rows["phase"].unique()) - set(PHASES)):
        raise UserError(f"{file}: column phase: {', '.join(wrong)}; accepted are {', '.join(PHASES)}")
    _reject_ambiguous_runs(rows.astype(dict.fromkeys(TEXT_COLUMNS, "category")), file)  # compares numbers, not texts
    return rows.astype(dict.fromkeys(TEXT_COLUMNS, object))


def _reject_ambiguous_runs(rows: pd.DataFrame, file: str) -> None:
    """Refuse a run that was logged twice: it would count as two seeds.

    Beside online runs, several offline stages of one seed may have the same method name: it is their algorithm's.
    """
    owners = rows[[*OWNER, "phase"]].drop_duplicates()
    online = owners[owners["phase"] == "online"]
    shown, runs = (one[OWNER].drop_duplicates() for one in (online if len(online) else owners, owners))
    for one, key, meaning in ((shown, OWNER[:3], "has several runs"), (runs, ["run"], "has several owners")):
        if len(twice := one[one.duplicated(key)]):
            raise UserError(f"{file}: column run: {' '.join(map(str, twice.iloc[0][key]))} {meaning}")
    for row in rows[rows.duplicated(["run", "phase", "env_steps", "updates", "metric"])].to_dict("records"):
        raise UserError(f"{file}: {row['metric']} twice in run {row['run']} at step {row['env_steps']}")


def _reject_unknown_runs(study: Results, key: str) -> None:
    """Refuse `offline_runs` in a manifest unless it maps online runs of these rows to offline ones."""
    starts = study.manifest.get("offline_runs", {})
    if not isinstance(starts, Mapping):
        raise UserError(f"{key}: expected an object, online run to offline run, found {type(starts).__name__}")
    for phase, names in (("online", starts.keys()), ("offline", starts.values())):
        known = set(study.owners.loc[study.owners["phase"] == phase, "run"])
        if unknown := [name for name in names if name not in known]:
            raise UserError(f"{key}: {unknown[0]} has no {phase} rows in rows.parquet")


def split_by_source(study: Results) -> list[Results]:
    """Split a study by dataset source, since scores of different sources never share a table; each with references."""
    sources = sorted({source(name) for name in study.datasets})
    if len(sources) < 2:
        return [study]
    of_row, rows = study.rows["dataset"].map(source), study.rows
    return [replace(study, rows=rows[of_row.isin([name, "none"])].reset_index(drop=True)) for name in sources]
