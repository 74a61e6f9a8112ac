"""Studies: a YAML of variants over a scale's tasks and seeds, packed into cohorts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from moore.algorithm.config import RunConfig, cohort_key, from_mapping, to_mapping
from moore.algorithm.switches import dotted_keys, has_switch, without_foreign
from moore.base.errors import UserError
from moore.data.ids import resolve
from moore.studies.axes import expand, merge, multiplied
from moore.studies.identity import dataset_label

ABLATIONS_DIR = Path(__file__).parents[2] / "ablations"
METHODS = Path(__file__).parents[1] / "agents" / "methods.yaml"  # every method once


@dataclass(frozen=True)
class Study:
    """The runs of one study at one scale."""

    name: str  # <study>-<scale>: the folder of its rows
    scale: str
    runs: list[RunConfig]
    reference: str | None = None  # the variant that changes nothing: the others are compared with it
    axes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # variant -> axis -> its point
    collapsed: Mapping[str, str] = field(default_factory=dict)  # variant that is left out -> the one it is equal to

    def cohorts(self) -> list[list[RunConfig]]:
        """Runs that are trained together: same shape and, so that work spreads over processes, same dataset."""
        groups: dict[Any, list[RunConfig]] = {}
        for run in self.runs:
            groups.setdefault((cohort_key(run), run.dataset), []).append(run)
        return list(groups.values())


def load_study(study: Path, scale: Path) -> Study:
    """Read a study and a scale file.

    A study has `variants` (name -> changes), `axes` (whose product they are), or `methods` (names in
    moore/agents/methods.yaml), or several of these. Its `references` are methods too, shown beside the others. Its
    `tasks` (scale -> datasets) leave out the scale's other tasks. The scale's `methods` adapt single methods to it.
    A variant with the settings of an earlier one is left out, task by task; `collapsed` says which.
    A change `x0.5` is half of what the scale has. A method that sets `dataset: null` learns from scratch: one run for
    each environment and seed.
    Raises UserError naming the file, the key and what is accepted.
    """
    study_values = _read(study, required=("study",), optional=("variants", "axes", "methods", "references", "tasks"))
    scale_values = _read(scale, required=("scale", "seeds", "defaults", "tasks"), optional=("methods",))
    known = _read(METHODS, required=(), optional=None)
    for path, key, values in ((study, "study", study_values), (scale, "scale", scale_values)):
        _check_name(path, key, values[key])
    variants, axes = _variants(study, study_values, known)
    budgets = _typed(scale_values.get("methods", {}), dict, scale, "methods")
    for name in budgets:
        if name not in known:
            raise UserError(f"{scale}: methods: {name!r} is not in {METHODS.name}, which has {', '.join(known)}")
    seeds = _typed(scale_values["seeds"], list, scale, "seeds")
    tasks = _chosen_tasks(study, study_values, scale_values, _typed(scale_values["tasks"], list, scale, "tasks"))
    defaults = _typed(scale_values["defaults"], dict, scale, "defaults")
    unchanged: dict[str, bool] = {}  # the variants that are the scale as it stands
    runs: dict[RunConfig, None] = {}  # an ordered set: a run from scratch is the same for all datasets of a task
    for index, task in enumerate(tasks):
        where = f"{scale}: tasks[{index}]"
        base = merge(defaults, _typed(task, dict, scale, f"tasks[{index}]"))
        _check_dataset(base, where)
        for name, changes in variants.items():
            adapted = _typed(budgets.get(name) or {}, dict, scale, f"methods.{name}")
            _check_switches(scale, name, adapted, changes.get("algorithm", "sac"))
            changes = merge(changes, adapted)
            under = _base(base, defaults, changes)
            at = f"{where} with {name} of {study}"
            full = merge(to_mapping(RunConfig("pendulum")), under)  # with the defaults of what the scale leaves out
            changes = multiplied(changes, full, at)
            unchanged[name] = unchanged.get(name, True) and merge(full, changes) == full
            for seed in seeds:
                runs[from_mapping(merge(under, changes) | {"method": name, "seed": seed}, at)] = None
    _check_unique(runs, scale)
    kept, collapsed = _without_doubles(runs)
    name = f"{study_values['study']}-{scale_values['scale']}"
    reference = next((variant for variant, same in unchanged.items() if same), None)
    return Study(name, scale_values["scale"], kept, reference, axes, collapsed)


def _chosen_tasks(
    study: Path, values: Mapping[str, Any], scale_values: Mapping[str, Any], tasks: list[Any]
) -> list[Any]:
    """The scale's tasks, or those of them that the study names for this scale."""
    chosen = _typed(values.get("tasks", {}), dict, study, "tasks").get(scale_values["scale"])
    if chosen is None:
        return tasks
    has = [str(task.get("dataset")) for task in tasks if isinstance(task, dict)]
    for dataset in _typed(chosen, list, study, f"tasks.{scale_values['scale']}"):
        if dataset not in has:
            raise UserError(
                f"{study}: tasks: {dataset!r} is no task of {scale_values['scale']}; it has {', '.join(has)}"
            )
    return [task for task in tasks if not isinstance(task, dict) or task.get("dataset") in chosen]


def _variants(
    study: Path, values: Mapping[str, Any], known: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """What each method of a study changes, only switches that it has; and the points of those that axes make."""
    own = dict(_typed(values.get("variants", {}), dict, study, "variants"))
    made, axes = expand(_typed(values["axes"], dict, study, "axes"), str(study)) if "axes" in values else ({}, {})
    for name, changes in made.items():
        if name in own:
            raise UserError(f"{study}: axes: {name!r} is in `variants` too; expected every variant once")
        own[name] = changes
    named = [
        (key, name)
        for key in ("methods", "references")
        if key in values
        for name in _typed(values[key], list, study, key)
    ]
    if not own and not any(key == "methods" for key, _ in named):
        raise UserError(f"{study}: expected `variants`, `axes` or `methods`")
    for name in own:
        _check_name(study, "variants", name)
    variants = {name: _typed(changes or {}, dict, study, f"variants.{name}") for name, changes in own.items()}
    for key, name in named:
        if name not in known:
            close = difflib.get_close_matches(str(name), list(known), 1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise UserError(f"{study}: {key}: no method {name!r} in {METHODS.name}; {hint}accepted: {', '.join(known)}")
        if name in variants:
            raise UserError(f"{study}: {key}: {name!r} occurs twice; expected every method once")
        variants[name] = _typed(known[name] or {}, dict, METHODS, str(name))
    for name, changes in variants.items():
        _check_switches(study, name, changes, changes.get("algorithm", "sac"))
    return variants, axes


def _check_switches(path: Path, method: str, changes: Mapping[str, Any], algorithm: str) -> None:
    """UserError if a method is asked for a switch that its algorithm does not read."""
    for switch in dotted_keys(changes):
        if not has_switch(algorithm, switch):
            has = [key for key in dotted_keys(to_mapping(RunConfig("pendulum"))) if has_switch(algorithm, key)]
            raise UserError(f"{path}: method {method} (algorithm {algorithm}) has no {switch}; it has {', '.join(has)}")


def _base(task: Mapping[str, Any], defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a method's changes are laid over: the task, or only its environment for a run from scratch."""
    if "dataset" in changes and changes["dataset"] is None:
        task = merge(defaults, {key: task[key] for key in ("env", "physics") if key in task})
        task.pop("dataset_transitions", None)
        task.pop("keep_timeouts", None)
    return without_foreign(task, changes.get("algorithm", "sac"))


def _check_dataset(base: Mapping[str, Any], where: str) -> None:
    if isinstance(base.get("dataset"), str):
        try:
            named = resolve(base["dataset"]).env
        except UserError as error:
            raise UserError(f"{where}.dataset: {error}") from None
        if named not in (None, base.get("env")):
            raise UserError(f"{where}.dataset: {base['dataset']!r} is of {named}, expected one of {base.get('env')}")


def _check_name(path: Path, key: str, name: Any) -> None:
    """Names become folders and labels of rows."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", name):
        raise UserError(f"{path}: {key}: {name!r} is not accepted; expected lower-case letters, digits, _, - and .")


def _check_unique(runs: Iterable[RunConfig], scale: Path) -> None:
    """A cell of the table must hold one run for each seed."""
    seen: set[tuple[str, str, int]] = set()
    for run in runs:
        key = (run.method, dataset_label(run), run.seed)
        if key in seen:
            raise UserError(
                f"{scale}: {key[0]} on {key[1]} with seed {key[2]} occurs twice; expected different tasks and seeds"
            )
        seen.add(key)


def _without_doubles(runs: Iterable[RunConfig]) -> tuple[list[RunConfig], dict[str, str]]:
    """The runs without those that are another variant's under a new name, and which variants these are."""
    first: dict[RunConfig, RunConfig] = {}
    collapsed: dict[str, str] = {}
    for run in runs:
        twin = first.setdefault(replace(run, method=""), run)
        if twin is not run:
            collapsed[run.method] = twin.method
    return list(first.values()), collapsed


def find_yaml(name: str, folder: Path) -> Path:
    """`name` as a path, or as the stem of a file in `folder`."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path
    stems = sorted(p.stem for p in folder.glob("*.yaml"))
    if name not in stems:
        close = difflib.get_close_matches(name, stems, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(
            f"{name!r} is not in {folder.name}/; {hint}accepted: {', '.join(stems)}, or the path of a .yaml file"
        )
    return folder / f"{name}.yaml"


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...] | None) -> dict[str, Any]:
    """A YAML mapping with these keys; optional None: with any others."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with the keys {', '.join(required)}")
    for key in values:
        if optional is not None and key not in required + optional:
            raise UserError(f"{path}: {key}: unknown key; accepted: {', '.join(required + optional)}")
    for key in required:
        if key not in values:
            raise UserError(f"{path}: {key}: missing")
    return values


def _typed(value: Any, kind: type, path: Path, key: str) -> Any:
    if not isinstance(value, kind) or (not value and kind is list):
        raise UserError(f"{path}: {key}: expected a {'mapping' if kind is dict else 'non-empty list'}, got {value!r}")
    return value
