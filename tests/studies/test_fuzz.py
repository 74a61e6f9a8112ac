"""Any study, scale and profile with one mutation is loaded or refused in one line; never a traceback.

`make test-slow` tries 2000.
"""

import copy
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from moore.base.errors import UserError
from moore.base.strict import load_yaml
from moore.studies.study import SCALES_DIR, load_study
from slurm.profile import PROFILES, Profile

STUDY: dict[str, Any] = {
    "study": "s",
    "methods": ["moore", "sac"],
    "variants": {"a": {"sampling": {"model_batches": "uniform"}}, "b": {"online": {"utd_ratio": "x2"}}},
    "axes": {"penalty.coef": [0.5, 2.0], "kind": {"x": {}, "y": {"dynamics": {"hidden": [8, 8]}}}},
    "tasks": {"quick": ["self:pendulum-medium"]},
}
SCALE: dict[str, Any] = yaml.safe_load((SCALES_DIR / "quick.yaml").read_text())
EXAMPLE = (PROFILES / "cpu.yaml").read_text()
PROFILE: dict[str, Any] = yaml.safe_load(re.sub(r"^# (?=[a-z_]+: )", "", EXAMPLE, flags=re.MULTILINE))  # every key
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


def read_profile(path: Path) -> Profile:
    return load_yaml(path, Profile)


@settings(max_examples=int(os.environ.get("MUTATIONS", "60")), deadline=None)
@given(st.data())
def test_one_mutation(data: st.DataObject) -> None:
    files = {"study": copy.deepcopy(STUDY), "scale": copy.deepcopy(SCALE), "profile": copy.deepcopy(PROFILE)}
    mutated = files[data.draw(st.sampled_from(list(files)))]
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
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, values in files.items():
            Path(folder, f"{name}.yaml").write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        for load, names in ((load_study, ("study", "scale")), (read_profile, ("profile",))):
            try:
                load(*(Path(folder, f"{name}.yaml") for name in names))
            except UserError as error:
                said.append(str(error))
    assert all(len(line.splitlines()) == 1 for line in said)
