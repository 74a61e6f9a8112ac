"""Studies: a YAML of variants over a scale's tasks and seeds, packed into cohorts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from moore.agents.registry import METHODS
from moore.algorithm.config import RunConfig, cohort_key, from_mapping, has_key, keys_of, to_mapping
from moore.base.errors import UserError
from moore.base.strict import FORBID, NonNegativeInt, choose, dotted, load_yaml, nearest, nested, read_yaml
from moore.data.ids import resolve
from moore.studies.axes import expand, merge, multiplied
from moore.studies.identity import dataset_label

ABLATIONS_DIR = Path(__file__).parents[2] / "ablations"
ALGORITHM = "moore"  # of a method that names none

Changes = dict[str, Any]  # settings by key, nested


@dataclass(frozen=True, config=FORBID)
class StudyFile:
    """What a study's YAML holds: `variants`, `axes` whose product they are, or `methods`; or several of these."""

    study: str
    variants: dict[str, Changes | None] = field(default_factory=dict)
    axes: Changes | None = None
    methods: list[str] = field(default_factory=list)  # names in moore/agents/methods.yaml
    references: list[str] = field(default_factory=list)  # methods too, shown beside the others
    tasks: dict[str, Annotated[list[str], Field(min_length=1)]] = field(
        default_factory=dict
    )  # scale -> datasets; leaves out the scale's other tasks


@dataclass(frozen=True, config=FORBID)
class ScaleFile:
    """What a scale's YAML holds."""

    scale: str
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)]
    defaults: Changes
    tasks: Annotated[list[Changes], Field(min_length=1)]
    methods: dict[str, Changes | None] = field(default_factory=dict)  # adapt single methods to the scale


@dataclasses.dataclass(frozen=True)
class Study:
    """The runs of one study at one scale."""

    name: str  # <study>-<scale>: the folder of its rows
    scale: str
    runs: list[RunConfig]
    reference: str | None = None  # the variant that changes nothing: the others are compared with it
    axes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # variant -> axis -> its point
    collapsed: Mapping[str, str] = field(default_factory=dict)  # variant that is left out -> the one it is equal to

    def cohorts(self) -> list[list[RunConfig]]:
        """Return runs that are trained together: same shape and, so that work spreads over processes, same dataset."""
        groups: dict[Any, list[RunConfig]] = {}
        for run in self.runs:
            groups.setdefault((cohort_key(run), run.dataset), []).append(run)
        return list(groups.values())


def load_study(study: Path, scale: Path) -> Study:
    """Read a study and a scale file.

    A variant with the settings of an earlier one is left out, task by task; `collapsed` says which. A change `x0.5` is
    half of what the scale has. A method that sets `dataset: null` learns from scratch: one run for each environment and
    seed. Raises UserError naming the file, the key and what is accepted.
    """
    study_file, scale_file, known = load_yaml(study, StudyFile), load_yaml(scale, ScaleFile), read_yaml(METHODS)
    for path, key, value in ((study, "study", study_file.study), (scale, "scale", scale_file.scale)):
        _check_name(path, key, value)
    variants, axes = _variants(study, study_file, known)
    for name in scale_file.methods:
        if name not in known:
            raise UserError(f"{scale}: methods: {name!r} is not in {METHODS.name}, which has {', '.join(known)}")
    unchanged: dict[str, bool] = {}  # the variants that are the scale as it stands
    runs: dict[RunConfig, None] = {}  # an ordered set: a run from scratch is the same for all datasets of a task
    for index, task in enumerate(scale_file.tasks):
        if not _is_chosen(study, study_file, scale_file, task):
            continue
        where = f"{scale}: tasks[{index}]"
        base = merge(scale_file.defaults, task)
        _check_dataset(base, where)
        for name, changes in variants.items():
            at = f"{where} with {name} of {study}"
            algorithm = changes.get("algorithm", ALGORITHM)
            adapted = scale_file.methods.get(name) or {}
            _check_keys(scale, name, adapted, algorithm)
            changes = merge(changes, adapted)
            under = _base(base, scale_file.defaults, changes, algorithm)
            # with the defaults of what the scale leaves out
            full = merge(_defaults(base, algorithm, at), under)
            changes = multiplied(changes, full, at)
            unchanged[name] = unchanged.get(name, True) and merge(full, changes) == full
            for seed in scale_file.seeds:
                runs[from_mapping(merge(under, changes) | {"method": name, "seed": seed}, at)] = None
    _check_unique(runs, scale)
    kept, collapsed = _without_doubles(runs)
    name = f"{study_file.study}-{scale_file.scale}"
    reference = next((variant for variant, same in unchanged.items() if same), None)
    return Study(name, scale_file.scale, kept, reference, axes, collapsed)


def _is_chosen(study: Path, study_file: StudyFile, scale_file: ScaleFile, task: Mapping[str, Any]) -> bool:
    """Tell whether a task of the scale is one of those that the study names for it; without names, all are."""
    chosen = study_file.tasks.get(scale_file.scale)
    if chosen is None:
        return True
    has = [str(one.get("dataset")) for one in scale_file.tasks]
    for dataset in chosen:
        if dataset not in has:
            raise UserError(f"{study}: tasks: {dataset!r} is no task of {scale_file.scale}; it has {', '.join(has)}")
    return task.get("dataset") in chosen


def _variants(
    study: Path, file: StudyFile, known: Mapping[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return what each method of a study changes, and the points of those that axes make."""
    variants = {name: changes or {} for name, changes in file.variants.items()}
    made, axes = expand(file.axes, str(study)) if file.axes is not None else ({}, {})
    for name, changes in made.items():
        if name in variants:
            raise UserError(f"{study}: axes: {name!r} is in `variants` too; expected every variant once")
        variants[name] = changes
    if not variants and not file.methods:
        raise UserError(f"{study}: expected `variants`, `axes` or `methods`")
    for name in variants:
        _check_name(study, "variants", name)
    for key, names in (("methods", file.methods), ("references", file.references)):
        for name in names:
            choose(f"{study}: {key}", name, known)
            if name in variants:
                raise UserError(f"{study}: {key}: {name!r} occurs twice; expected every method once")
            variants[name] = known[name] or {}
    for name, changes in variants.items():
        _check_keys(study, name, changes, changes.get("algorithm", ALGORITHM))
    return variants, axes


def _check_keys(path: Path, method: str, changes: Mapping[str, Any], algorithm: str) -> None:
    """Raise UserError if a method is asked for a setting that its algorithm does not read."""
    try:
        has = keys_of(algorithm)
    except UserError as error:
        raise UserError(f"{path}: {method}: {error}") from None
    for key in dotted(changes):
        if not has_key(algorithm, key):
            hint = nearest(key, has)
            raise UserError(
                f"{path}: method {method} (algorithm {algorithm}) has no {key}; {hint}accepted: {', '.join(has)}"
            )


def _defaults(base: Mapping[str, Any], algorithm: str, at: str) -> dict[str, Any]:
    """Return every setting of an algorithm with its default."""
    named = {key: base[key] for key in ("env", "physics") if key in base} | {"algorithm": algorithm}
    return to_mapping(from_mapping(named, at))


def _without_foreign(values: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """Return a nested mapping without the keys that an algorithm does not read, such as a scale's for other methods."""
    return nested({key: value for key, value in dotted(values).items() if has_key(algorithm, key)})


def _base(
    task: Mapping[str, Any], defaults: Mapping[str, Any], changes: Mapping[str, Any], algorithm: str
) -> dict[str, Any]:
    """Return what a method's changes are laid over: the task, or only its environment for a run from scratch."""
    if "dataset" in changes and changes["dataset"] is None:
        task = merge(defaults, {key: task[key] for key in ("env", "physics") if key in task})
        task.pop("dataset_transitions", None)
        task.pop("keep_timeouts", None)
    return _without_foreign(task, algorithm)


def _check_dataset(base: Mapping[str, Any], where: str) -> None:
    if isinstance(base.get("dataset"), str):
        try:
            named = resolve(base["dataset"]).env
        except UserError as error:
            raise UserError(f"{where}.dataset: {error}") from None
        if named not in (None, base.get("env")):
            raise UserError(f"{where}.dataset: {base['dataset']!r} is of {named}, expected one of {base.get('env')}")


def _check_name(path: Path, key: str, name: Any) -> None:
    """Raise UserError for a name that cannot be a folder and a label of rows."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", name):
        raise UserError(f"{path}: {key}: {name!r} is not accepted; expected lower-case letters, digits, _, - and .")


def _check_unique(runs: Iterable[RunConfig], scale: Path) -> None:
    """Raise UserError if a cell of the table would hold two runs with one seed."""
    seen: set[tuple[str, str, int]] = set()
    for run in runs:
        key = (run.method, dataset_label(run), run.seed)
        if key in seen:
            raise UserError(
                f"{scale}: {key[0]} on {key[1]} with seed {key[2]} occurs twice; expected different tasks and seeds"
            )
        seen.add(key)


def _without_doubles(runs: Iterable[RunConfig]) -> tuple[list[RunConfig], dict[str, str]]:
    """Return the runs without those that are another variant's under a new name, and which variants these are."""
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
        raise UserError(
            f"{name!r} is not in {folder.name}/; {nearest(name, stems)}accepted: {', '.join(stems)}, or the path of a"
            " .yaml file"
        )
    return folder / f"{name}.yaml"
