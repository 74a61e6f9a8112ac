"""`moore config METHOD`: every setting of a method's run at a scale, where it comes from and what it means."""

import dataclasses
import inspect
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tyro

from moore.cli.options import ScaleName


def config(method: tyro.conf.Positional[str], scale: ScaleName = "mini", explain: str | None = None) -> None:
    """Print every setting of a method's run at a scale, what sets it, and what it means, e.g. `moore config iql`.

    A later layer goes over an earlier one: default, scale, task, a relative's tuning, method, the
    scale's own for it, its tuning.

    Args:
        method: a name in moore/agents/methods.yaml.
        explain: one key, dotted: its value in every layer and on every task, its meaning and the file that says it.
    """
    from moore.agents.registry import METHODS
    from moore.algorithm.config import from_mapping, keys_of, to_mapping
    from moore.base.strict import choose, dotted, load_yaml, read_yaml
    from moore.studies.study import HEADS, SCALES_DIR, ScaleFile, find_yaml, load_study

    known, path = read_yaml(METHODS), find_yaml(scale, SCALES_DIR)
    choose("METHOD", method, known)
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "study.yaml")
        study.write_text(json.dumps({"study": "config", "methods": [method]}))
        runs = list({run.dataset or run.env: run for run in load_study(study, path).runs}.values())
    file, algorithm = load_yaml(path, ScaleFile), runs[0].algorithm
    values = [dotted(to_mapping(run)) for run in runs]
    plain = to_mapping(from_mapping({"env": runs[0].env, "algorithm": algorithm}, "defaults"))
    over = [dotted(task) for task in file.tasks]
    head = HEADS.get((algorithm, runs[0].dataset is None), "")
    layers: dict[str, Mapping[str, Any]] = {
        "default": dotted(plain),
        "scale": dotted(file.defaults),
        "task": {key: [task[key] for task in over if key in task] for key in {key for task in over for key in task}},
        "tuned relative": dotted({} if method in file.tuned else file.tuned.get(head, {})),
        "method": dotted(known[method] or {}),
        f"{method} at {file.scale}": dotted(file.methods.get(method) or {}),
        "tuned": dotted(file.tuned.get(method) or {}),
    }
    meanings = dict(_meanings(type(runs[0])))
    meanings |= {f"agent.{key}": meaning for key, meaning in _meanings(type(runs[0].agent))}
    keys = [key for key in keys_of(algorithm) if key not in ("seed", "method")]
    if explain is not None:
        choose("--explain", explain, keys)
    for key in keys if explain is None else [explain]:
        shown = " or ".join(dict.fromkeys(json.dumps(one.get(key)) for one in values))
        origin = [name for name, layer in layers.items() if key in layer][-1]
        meaning, where = meanings.get(key, ("", ""))
        if explain is None:
            print(f"{key:34} {shown:22} {origin:16} {meaning}".rstrip())
        else:
            print(f"{key} = {shown}: {meaning or 'no word on it'} ({where})")
            print("\n".join(f"  {name:16} {json.dumps(layer[key])}" for name, layer in layers.items() if key in layer))


def _meanings(kind: Any, prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the comment behind every setting of a class, or above it, and its file and line; a child's goes over."""
    for one in reversed(kind.__mro__[:-1]):
        lines, start = inspect.getsourcelines(one)
        file = Path(str(inspect.getsourcefile(one)))
        for number, line in enumerate(lines, start):
            if found := re.match(r"    (\w+): .*?(?:  # (.*))?$", line):
                above = re.match(r"    # (.*)", lines[number - start - 1])
                meaning = found[2] or (above[1] if above else "")
                yield prefix + found[1], (meaning, f"{file.parent.name}/{file.name}:{number}")
    for name, field in kind.__pydantic_fields__.items():
        if dataclasses.is_dataclass(field.annotation):
            yield from _meanings(field.annotation, f"{prefix}{name}.")
