"""Studies: a YAML of variants over a scale's tasks and seeds, packed into cohorts."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from moore.agents.registry import METHODS
from moore.algorithm.config import RunConfig, cohort_key, from_mapping, has_key, keys_of, to_mapping
from moore.base.errors import UserError
from moore.base.groups import grouped
from moore.base.strict import FORBID, NonNegativeInt, choose, dotted, load_yaml, nearest, nested, read_yaml, validate
from moore.data.ids import resolve
from moore.studies.axes import expand, merge, multiplied
from moore.studies.identity import dataset_label

ABLATIONS_DIR = Path(__file__).parents[2] / "ablations"
SCALES_DIR = ABLATIONS_DIR / "scales"
ALGORITHM = "moore"  # of a method that names none
MOST_CONFIGURATIONS = 12  # that a method may be tuned over: all get the same effort
# (algorithm, learns from scratch) -> the method whose tuning its relatives share
HEADS = {("moore", False): "moore", ("moore", True): "mbpo", ("sac", False): "rlpd", ("sac", True): "sac"}

Changes = dict[str, Any]  # settings by key, nested


def _name(value: str) -> str:
    """Accept what can be a folder and a label of rows."""
    if not re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*", value):
        raise ValueError("lower-case letters, digits, _, - and .")
    return value


Name = Annotated[str, AfterValidator(_name)]


@dataclass(frozen=True, config=FORBID)
class StudyFile:
    """What a study's YAML holds: `variants`, `axes` whose product they are, or `methods`; or several of these."""

    study: Name
    variants: dict[str, Changes | None] = field(default_factory=dict)
    axes: Changes | None = None
    methods: list[str] = field(default_factory=list)  # names in moore/agents/methods.yaml
    # scale -> datasets; leaves out the scale's other tasks
    tasks: dict[str, Annotated[list[str], Field(min_length=1)]] = field(default_factory=dict)
    # scale -> how many seeds, from 0 on, in place of the scale's; tunings have theirs from 100 on
    num_seeds: dict[str, Annotated[int, Field(ge=1, le=100)]] = field(default_factory=dict)
    tune: str | None = None  # the method whose settings the variants are; for `moore tune`
    seeds: list[NonNegativeInt] = field(default_factory=list)  # of a study that tunes: none of the scale's


@dataclass(frozen=True, config=FORBID)
class ScaleFile:
    """What a scale's YAML holds."""

    scale: Name
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1)]
    defaults: Changes
    tasks: Annotated[list[Changes], Field(min_length=1)]
    methods: dict[str, Changes | None] = field(default_factory=dict)  # adapt single methods to the scale
    tuned: dict[str, Changes] = field(default_factory=dict)  # method -> what `moore tune` chose beyond that


@dataclasses.dataclass(frozen=True)
class Study:
    """The runs of one study at one scale."""

    name: str  # <study>-<scale>: the folder of its rows
    scale: str
    runs: list[RunConfig]
    reference: str | None = None  # the variant that changes nothing: the others are compared with it
    axes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # variant -> axis -> its point
    collapsed: Mapping[str, str] = field(default_factory=dict)  # variant that is left out -> the one it is equal to
    tunes: str | None = None  # the method whose settings the variants are

    def cohorts(self, device: str = "cpu") -> list[list[RunConfig]]:
        """Return runs that are trained together: of the same shape and, so that work spreads over processes, dataset.

        A GPU takes the datasets together: one process with many runs fills it.
        """
        by_dataset = device.startswith("cpu")
        return list(grouped(self.runs, lambda run: (cohort_key(run), run.dataset if by_dataset else None)).values())


def load_study(study: Path, scale: Path) -> Study:
    """Read a study and a scale file.

    A variant with the settings of an earlier one is left out, task by task; `collapsed` says which. A change `x0.5` is
    half of what the scale has. A method that sets `dataset: null` learns from scratch: one run for each environment and
    seed. Raises UserError naming the file, the key and what is accepted.
    """
    study_file, scale_file, known = load_yaml(study, StudyFile), load_yaml(scale, ScaleFile), read_yaml(METHODS)
    here, there = study.parent, scale.parent
    defaults, tasks = _beside(scale_file.defaults, there), [_beside(task, there) for task in scale_file.tasks]
    scale_file = replace(scale_file, defaults=defaults, tasks=tasks)
    study_file = replace(study_file, variants={k: _beside(v or {}, here) for k, v in study_file.variants.items()})
    _check_tuning(study, study_file, scale_file, known)
    variants, axes = _variants(study, study_file, known)
    for key, of_scales in (("tasks", study_file.tasks), ("num_seeds", study_file.num_seeds)):
        for name in of_scales:
            choose(f"{study}: {key}", name, [scale_file.scale, *(path.stem for path in SCALES_DIR.glob("*.yaml"))])
    seeds = study_file.seeds or list(range(study_file.num_seeds.get(scale_file.scale, 0))) or scale_file.seeds
    for key, adapted in (("methods", scale_file.methods), ("tuned", scale_file.tuned)):
        for name, changes in adapted.items():
            choose(f"{scale}: {key}", name, known)
            _check_keys(scale, name, changes or {}, _algorithm(known[name] or {}))
    changed: dict[str, bool] = {}  # whether a variant is another run than the scale as it stands
    cells: dict[tuple[str, str, int], RunConfig] = {}  # a run from scratch is the same for all datasets of a task
    for index, task in _chosen(study, study_file, scale_file):
        where = f"{scale}: tasks[{index}]"
        base = merge(scale_file.defaults, task)
        _check_dataset(base, where)
        for name, changes in variants.items():
            at = f"{where} with {name} of {study}"
            layers = _layers(name, changes, study_file, scale_file, known)
            changes = functools.reduce(merge, layers)
            algorithm = _algorithm(changes)
            # what the scale leaves out has its default; the name of the environment's key may be misspelt
            who = (_who(base) if "env" in base else base) | {"algorithm": algorithm}
            full = to_mapping(from_mapping(who, at))
            full = merge(full, _base(base, scale_file.defaults, changes, algorithm))
            for layer, own in zip(layers, (False, True, False), strict=True):
                layer = multiplied(layer, full, at)  # factors are of what lies below
                changed[name] = changed.get(name, False) or (own and merge(full, layer) != full)
                full = merge(full, layer)
            for seed in seeds:
                run = from_mapping(full | {"method": name, "seed": seed}, at)
                label = dataset_label(run)
                if cells.setdefault((name, label, seed), run) != run:
                    twice = f"{name} on {label} with seed {seed} occurs twice"
                    raise UserError(f"{where}: {twice}; expected different tasks and seeds")
    kept, collapsed = _without_doubles(cells.values())
    _check_budget(study, kept)
    reference = next((variant for variant, other in changed.items() if not other), None)
    name = f"{study_file.study}-{scale_file.scale}"
    return Study(name, scale_file.scale, kept, reference, axes, collapsed, study_file.tune)


def _beside(changes: Changes, folder: Path) -> Changes:
    """Read the path of a `local:` dataset as relative to its YAML's folder; written as seen from the current one."""
    dataset = changes.get("dataset")
    if not isinstance(dataset, str) or not dataset.startswith("local:"):
        return changes
    with suppress(UserError):  # a wrong id is refused where all are
        path = resolve(dataset).path
        if path is not None and not path.is_absolute() and not dataset.endswith(":" + str(folder / path)):
            seen = (Path.cwd() / folder / path).resolve()
            shown = seen.relative_to(Path.cwd()) if seen.is_relative_to(Path.cwd()) else seen
            return {**changes, "dataset": dataset.removesuffix(str(path)) + str(shown)}
    return changes


def _check_budget(study: Path, runs: Iterable[RunConfig]) -> None:
    """Raise UserError for runs whose scores could share no axis: of other online steps or episodes."""
    for key in ("online_steps", "eval_episodes"):
        found = {getattr(run, key): f"{run.method} on {dataset_label(run)}" for run in runs}
        if len(found) > 1:
            (one, first), (other, second), *_ = found.items()
            words = f"{one} in {first}, {other} in {second}"
            raise UserError(f"{study}: {key.replace('_', ' ')}: {words}; expected the same in all runs of a study")


def _algorithm(changes: Changes) -> str:
    return str(changes.get("algorithm", ALGORITHM))


def _layers(
    name: str, changes: Changes, study: StudyFile, scale: ScaleFile, known: Mapping[str, Any]
) -> tuple[Changes, Changes, Changes]:
    """Return what a variant is laid over, tuned for the head of its family; its changes; what was tuned for itself."""
    if study.tune is not None:
        return merge(known[study.tune] or {}, scale.methods.get(study.tune) or {}), changes, {}
    if name in known:
        changes = merge(changes, scale.methods.get(name) or {})
    head = HEADS.get((_algorithm(changes), changes.get("dataset", "") is None))
    below = {} if head is None or name in scale.tuned else scale.tuned.get(head, {})
    return below, changes, scale.tuned.get(name, {})


def _check_tuning(study: Path, file: StudyFile, scale: ScaleFile, known: Mapping[str, Any]) -> None:
    """Raise UserError where methods would not be tuned alike, or on seeds that tables report."""
    if file.tune is None:
        if file.seeds:
            raise UserError(f"{study}: seeds: only of a study with `tune`; the others have the scale's")
        return
    choose(f"{study}: tune", file.tune, known)
    if file.num_seeds:
        raise UserError(f"{study}: num_seeds: is not accepted; a study with `tune` lists its `seeds`")
    if file.axes or file.methods or not 1 < len(file.variants) <= MOST_CONFIGURATIONS:
        raise UserError(f"{study}: expected 2 to {MOST_CONFIGURATIONS} configurations, all of them in `variants`")
    if not file.seeds or set(file.seeds) & set(scale.seeds):
        expected = f"expected others than {scale.seeds} of the scale"
        raise UserError(f"{study}: seeds: {file.seeds} is not accepted; {expected}")


def _chosen(study: Path, study_file: StudyFile, scale_file: ScaleFile) -> list[tuple[int, Changes]]:
    """Return the scale's tasks, by number, that the study names for it; without names, all."""
    tasks = list(enumerate(scale_file.tasks))
    if scale_file.scale not in study_file.tasks:
        return tasks
    named, has = study_file.tasks[scale_file.scale], [str(task.get("dataset")) for _, task in tasks]
    for dataset in named:
        choose(f"{study}: tasks.{scale_file.scale}", dataset, has)
    return [(index, task) for index, task in tasks if task.get("dataset") in named]


def _variants(
    study: Path, file: StudyFile, known: Mapping[str, Any]
) -> tuple[dict[str, Changes], dict[str, dict[str, Any]]]:
    """Return what each method of a study changes, and the points of those that axes make."""
    made, axes = expand(file.axes, str(study)) if file.axes is not None else ({}, {})
    for name in file.methods:
        choose(f"{study}: methods", name, known)
    names = [*file.variants, *made, *file.methods]
    if not names:
        raise UserError(f"{study}: expected `variants`, `axes` or `methods`")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{study}: {name!r} occurs twice in variants, axes and methods; expected once")
    validate(names, list[Name], str(study), "variants")
    all_changes = {**known, **file.variants, **made}
    variants = {name: all_changes[name] or {} for name in names}
    tuned = {} if file.tune is None else known[file.tune] or {}
    for name, changes in variants.items():
        _check_keys(study, name, changes, _algorithm(merge(tuned, changes)))
    return variants, axes


def _check_keys(path: Path, method: str, changes: Mapping[str, Any], algorithm: str) -> None:
    """Raise UserError if a method is asked for a setting that its algorithm does not read."""
    try:
        has = keys_of(algorithm)
    except UserError as error:
        raise UserError(f"{path}: {method}: {error}") from None
    for key in dotted(changes):
        if key in ("seed", "method"):
            raise UserError(f"{path}: {method}: {key} is not accepted; a scale has the seeds, a variant's name is it")
        if not has_key(algorithm, key):
            accepted = f"{nearest(key, has)}accepted: {', '.join(has)}"
            raise UserError(f"{path}: method {method} (algorithm {algorithm}) has no {key}; {accepted}")


def _base(task: Changes, defaults: Changes, changes: Changes, algorithm: str) -> Changes:
    """Return the task, or for a run from scratch its environment, without keys that the algorithm does not read."""
    if "dataset" in changes and changes["dataset"] is None:
        task = merge(defaults, _who(task) | {"dataset_transitions": None, "keep_timeouts": False})
    return nested({key: value for key, value in dotted(task).items() if has_key(algorithm, key)})


def _who(task: Changes) -> Changes:
    """Return the environment of a task."""
    return {key: task[key] for key in ("env", "physics") if key in task}


def _check_dataset(base: Changes, where: str) -> None:
    env, dataset = base.get("env"), base.get("dataset")
    if isinstance(env, str) and isinstance(dataset, str):  # other types are refused with the rest
        try:
            named = resolve(dataset).env
        except UserError as error:
            raise UserError(f"{where}.dataset: {error}") from None
        if named not in (None, env):
            raise UserError(f"{where}.dataset: {dataset!r} is of {named}; accepted: a dataset of {env}")


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
    """Return `name` as a path, or the file in `folder` with this stem. Raises UserError listing what is there."""
    path, stems = Path(name), sorted(p.stem for p in folder.glob("*.yaml"))
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    name = stem if (stem := name.removesuffix(".yaml")) in stems else name
    if name not in stems:
        accepted = f"{nearest(name, stems)}accepted: {', '.join(stems)} (in {folder.name}/), or a .yaml file's path"
        raise UserError(f"{name}: no such file; {accepted}")
    return folder / f"{name}.yaml"
