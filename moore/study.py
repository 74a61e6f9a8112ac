"""Studies: a YAML of variants over a scale's tasks and seeds, packed into cohorts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from moore.config import RunConfig, cohort_key, from_mapping
from moore.data.ids import resolve
from moore.errors import UserError
from moore.results import OFFLINE_METHOD, dataset_label

ABLATIONS_DIR = Path(__file__).parent.parent / "ablations"


@dataclass(frozen=True)
class Study:
    """The runs of one study at one scale."""

    name: str  # <study>-<scale>: the folder of its rows
    scale: str
    runs: list[RunConfig]

    def cohorts(self) -> list[list[RunConfig]]:
        """Runs that are trained together: same shape and, so that work spreads over processes, same dataset."""
        groups: dict[Any, list[RunConfig]] = {}
        for run in self.runs:
            groups.setdefault((cohort_key(run), run.dataset), []).append(run)
        return list(groups.values())


def load_study(study: Path, scale: Path) -> Study:
    """Read a study and a scale file; a scale without `references` runs the study without them.

    Raises UserError naming the file, the key and what is accepted.
    """
    study_values = _read(study, required=("study", "variants"), optional=("references",))
    scale_values = _read(scale, required=("scale", "seeds", "defaults", "tasks"), optional=("references",))
    seeds = _typed(scale_values["seeds"], list, scale, "seeds")
    tasks = _typed(scale_values["tasks"], list, scale, "tasks")
    variants = _typed(study_values["variants"], dict, study, "variants")
    references = _typed(scale_values.get("references", {}), dict, scale, "references")
    defaults = _typed(scale_values["defaults"], dict, scale, "defaults")
    wanted = _typed(study_values["references"], list, study, "references") if "references" in study_values else []
    for path, key in ((study, "study"), (scale, "scale")):
        _check_name(path, key, {"study": study_values, "scale": scale_values}[key][key])
    for path, names in ((study, [*variants]), (study, wanted)):
        for name in names:
            _check_name(path, "variants" if names is not wanted else "references", name)
    if set(variants) & set(wanted):
        raise UserError(
            f"{study}: {sorted(set(variants) & set(wanted))[0]!r} is a variant and a reference; expected one"
        )
    runs: dict[RunConfig, None] = {}  # an ordered set: references are the same for all datasets of an environment
    for index, task in enumerate(tasks):
        where = f"{scale}: tasks[{index}]"
        base = merge(defaults, _typed(task, dict, scale, f"tasks[{index}]"))
        if isinstance(base.get("dataset"), str):
            try:
                named = resolve(base["dataset"]).env
            except UserError as error:
                raise UserError(f"{where}.dataset: {error}") from None
            if named not in (None, base.get("env")):
                raise UserError(
                    f"{where}.dataset: {base['dataset']!r} is of {named}, expected one of {base.get('env')}"
                )
        for name, changes in variants.items():
            for seed in seeds:
                values = merge(base, _typed(changes or {}, dict, study, f"variants.{name}")) | {
                    "method": name,
                    "seed": seed,
                }
                runs[from_mapping(values, f"{where} with variant {name} of {study}")] = None
        for name in wanted if references else []:
            if name not in references:
                raise UserError(
                    f"{study}: references: {name!r} is not in {scale}, which has {', '.join(references) or 'none'}"
                )
            # nothing of the task but its environment: the reference is one, whatever the datasets' settings are
            scratch = merge(defaults, {key: base[key] for key in ("env", "physics") if key in base})
            scratch.pop("dataset_transitions", None)
            for seed in seeds:
                values = merge(scratch, _typed(references[name] or {}, dict, scale, f"references.{name}")) | {
                    "method": name,
                    "seed": seed,
                }
                runs[from_mapping(values, f"{scale}: references.{name}")] = None
    _check_unique(runs, scale)
    return Study(f"{study_values['study']}-{scale_values['scale']}", scale_values["scale"], list(runs))


def _check_name(path: Path, key: str, name: Any) -> None:
    """Names become folders and labels of rows."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_-]+", name) or name == OFFLINE_METHOD:
        raise UserError(
            f"{path}: {key}: {name!r} is not accepted; expected lower-case letters, digits, _ and -, "
            f"and not {OFFLINE_METHOD!r}, which labels the shared offline stage"
        )


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


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` laid over `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _read(path: Path, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with the keys {', '.join(required)}")
    for key in values:
        if key not in required + optional:
            raise UserError(f"{path}: {key}: unknown key; accepted: {', '.join(required + optional)}")
    for key in required:
        if key not in values:
            raise UserError(f"{path}: {key}: missing")
    return values


def _typed(value: Any, kind: type, path: Path, key: str) -> Any:
    if not isinstance(value, kind) or (not value and kind is list):
        raise UserError(f"{path}: {key}: expected a {'mapping' if kind is dict else 'non-empty list'}, got {value!r}")
    return value
