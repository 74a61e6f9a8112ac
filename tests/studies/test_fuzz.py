"""Any study and scale with one mutation is loaded or refused in one line; never a traceback.

`make test-slow` tries 2000.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.studies.study import SCALES_DIR, load_study

STUDY: dict[str, Any] = {
    "study": "s",
    "methods": ["moore", "sac"],
    "variants": {"a": {"sampling": {"model_batches": "uniform"}}, "b": {"online": {"utd_ratio": "x2"}}},
    "axes": {"penalty.coef": [0.5, 2.0], "kind": {"x": {}, "y": {"dynamics": {"hidden": [8, 8]}}}},
    "tasks": {"quick": ["self:pendulum-medium"]},
}
SCALE: dict[str, Any] = yaml.safe_load((SCALES_DIR / "quick.yaml").read_text())
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1, 10**20, 0.5, 1e-320, float("nan"), float("inf"), "", "x0.5", "x0", "moore", "a/b"]
    ),
    st.sampled_from(
        [[], [[]], {}, [None], {"": 1}, {"a": {}}, "local:", "local:~nobody/x", "none:pendulum", "minari:a", ":"]
    ),
    st.text(max_size=5),
    st.integers(),
    st.floats(),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, one in inside for place in places(one, (*path, key)))]


@settings(max_examples=int(os.environ.get("MUTATIONS", "60")), deadline=None)
@given(st.data())
def test_one_mutation(data: st.DataObject) -> None:
    study, scale = copy.deepcopy(STUDY), copy.deepcopy(SCALE)
    mutated = data.draw(st.sampled_from([study, scale]))
    *parents, last = data.draw(st.sampled_from(places(mutated)))
    inside: Any = mutated
    for key in parents:
        inside = inside[key]
    how = data.draw(st.sampled_from(["change", "remove", "rename"]))
    if how == "rename" and isinstance(inside, dict):
        inside[data.draw(VALUES.filter(lambda key: not isinstance(key, list | dict)))] = inside.pop(last)
    elif how == "remove":
        del inside[last]
    else:
        inside[last] = data.draw(VALUES)
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, values in (("study", study), ("scale", scale)):
            paths.append(Path(folder, f"{name}.yaml"))
            paths[-1].write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        try:
            load_study(*paths)
        except UserError as error:
            said = str(error)
    assert len(said.splitlines()) <= 1
