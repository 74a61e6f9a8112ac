"""The README: its examples run from a folder outside the checkout, and what it and its neighbours name is there."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from moore.agents.registry import METHODS
from moore.algorithm.config import marks_of_algorithm
from moore.base.plugins import source_hash
from moore.cli.main import COMMANDS, GROUPS
from moore.run.collect import collect
from moore.run.folders import is_finished, read_manifest
from moore.studies.axes import merge
from moore.studies.identity import identity, plugins, run_id
from moore.studies.study import ABLATIONS_DIR, Study, load_study
from tests.support.core import TINY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("moore", "ablations", "analysis", "slurm", "tests")
PAGES = [ROOT / "README.md", *sorted(page for name in FOLDERS for page in (ROOT / name).rglob("README.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
FENCED = re.compile(r"^```\w+\n(# ([\w.]+)(?::[^\n]*)?\n.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {name: text for text, name in FENCED.findall(README)}
EXAMPLES = {  # variant -> what it takes from outside the repository
    "my_share": "my_share:square_root",
    "my_weights": "my_weights:by_reward",
    "my_penalty": "my_penalty:mean_std",
    "my_method": "my_method:ClippedSAC",
}
ENV = "my_env:hill"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the examples with tiny budgets; README's own command would draw figures for half a minute."""
    folder = tmp_path_factory.mktemp("outside")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    tiny = {key: value for key, value in TINY.items() if key not in ("env", "dataset", "real_ratio")}
    scale = yaml.safe_load(FILES["scale.yaml"])
    scale |= {"seeds": [0], "defaults": merge(merge(scale["defaults"], tiny), {"online": {"epochs": 1}})}
    (folder / "scale.yaml").write_text(yaml.safe_dump(scale), encoding="utf-8")
    _write_hill(folder / "hill.hdf5")
    assert "    moore reproduce --study study.yaml --scale scale.yaml\n" in README
    # like the installed command, which does not look into the working directory for modules
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = "-m moore.cli.main study submit study.yaml --scale scale.yaml --local --workers 1"
    words = [sys.executable, *command.split()]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _write_hill(file: Path) -> None:
    """Write random steps that go nowhere, in the schema of moore/data/README.md."""
    rng, n = np.random.default_rng(0), 120
    with h5py.File(file, "w") as out:
        for key in ("observations", "next_observations"):
            out[key] = rng.normal(size=(n, 2)).astype(np.float32)
        out["actions"] = rng.uniform(-1, 1, size=(n, 1)).astype(np.float32)
        out["rewards"] = rng.normal(size=n).astype(np.float32)
        out["terminals"] = np.zeros(n, dtype=bool)
        out["timeouts"] = np.arange(n) % 40 == 39


@pytest.fixture
def study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """The examples' study, read in their folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield load_study(Path("study.yaml"), Path("scale.yaml"))
    for name in set(sys.modules) - before:  # so that nobody else finds them
        if name.startswith("my_"):
            del sys.modules[name]


def _rows(folder: Path, study: Study) -> pd.DataFrame:
    return pd.read_parquet(collect(study, folder / "runs", folder / "results", "a test") / "rows.parquet")


def test_every_example_trains_and_its_rows_are_collected(folder: Path, study: Study) -> None:
    assert {run.method for run in study.runs} == {"moore", *EXAMPLES}
    for run in study.runs:
        assert is_finished(folder / "runs" / study.name / "runs" / run_id(run), run)
    folders = [path.name for path in (folder / "runs" / study.name / "runs").iterdir()]
    assert not [name for name in folders if not re.fullmatch(r"[\w.-]+", name)]  # also where a plugin's name is in it
    rows = _rows(folder, study)
    scores = rows[(rows["metric"] == "eval/return") & (rows["phase"] == "online")]
    assert set(scores["method"]) == {"moore", *EXAMPLES}
    assert np.isfinite(scores["value"]).all()
    assert scores.groupby("method")["env_steps"].max().eq(20).all()


def test_an_example_changes_what_its_run_does(folder: Path, study: Study) -> None:
    rows = _rows(folder, study)
    rows = rows[(rows["phase"] == "online") & (rows["env_steps"] == TINY["online"]["epoch_steps"])]
    first_epoch = rows.set_index(["method", "metric"])["value"]
    share = "sampling/model_batches_online_share"
    assert first_epoch["my_share", share] > first_epoch["moore", share] + 0.1
    assert first_epoch["my_weights", share] != first_epoch["moore", share]
    # a mean is less than the maximum
    assert first_epoch["my_penalty", "penalty/mean"] < first_epoch["moore", "penalty/mean"]
    assert ("my_method", "penalty/mean") not in first_epoch.index  # it has no model


def test_plugins_are_in_the_identity_and_in_the_manifest(folder: Path, study: Study) -> None:
    for run in study.runs:
        named = {ENV, *([EXAMPLES[run.method]] if run.method in EXAMPLES else [])}
        expected = {name: source_hash(name) for name in named}
        assert plugins(run) == identity(run)["plugins"] == expected
        manifest = read_manifest(folder / "runs" / study.name / "runs" / run_id(run))
        assert manifest["plugins"] == expected


@pytest.mark.parametrize("name", [*EXAMPLES.values(), ENV])
def test_a_changed_byte_of_a_plugin_is_another_run(folder: Path, study: Study, name: str) -> None:
    before = {run.method: run_id(run) for run in study.runs}
    file = folder / f"{name.partition(':')[0]}.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "\n", encoding="utf-8")
    try:
        after = {run.method: run_id(run) for run in study.runs}
    finally:
        file.write_text(text, encoding="utf-8")
    changed = {method for method, run in before.items() if after[method] != run}
    assert changed == {"moore", *EXAMPLES} if name == ENV else changed == {file.stem}


def test_readme_and_its_examples_are_short() -> None:
    assert len(README.splitlines()) <= 200
    assert len(README.encode()) <= 14 * 1024
    for name in (name for name in FILES if name.endswith(".py")):
        assert len([line for line in FILES[name].splitlines() if line.strip() and not line.startswith("#")]) <= 12, name


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, target


@every_page
def test_commands_are_there_with_their_options(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    typed = "\n".join([*re.findall(r"^    .+$", text, re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)])
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^\s*make ([a-z][a-z-]*)", typed, re.MULTILINE)) <= targets
    for line in re.findall(r"^\s*moore ([a-z].*)$", typed, re.MULTILINE):
        words = line.split("#")[0].split()
        if "..." in words:
            continue
        commands: dict[str, Any] = {**COMMANDS}
        while words[0] in GROUPS and len(words) > 1:
            commands = {**GROUPS[words.pop(0)]}
        assert words[0] in commands, line
        options = {word.partition("=")[0][2:].replace("-", "_") for word in words if word.startswith("--")}
        options -= {"help"}
        assert options <= set(inspect.signature(commands[words[0]]).parameters), line


def test_settings_that_the_algorithms_page_names_are_keys() -> None:
    sections = r"agent|density_ratio|dynamics|offline|online|penalty|rollout|sampling"
    text = (ROOT / "moore" / "algorithm" / "README.md").read_text("utf-8")
    named = re.findall(rf"`((?:{sections})\.(?!py`)\w+)`", text)
    assert len(named) > 10
    assert set(named) <= set(marks_of_algorithm("moore"))


def test_tables_name_every_method_study_and_scale() -> None:
    first_cells = r"^\| `([^`]+)` \|"
    methods = re.findall(first_cells, (ROOT / "moore" / "agents" / "README.md").read_text("utf-8"), re.MULTILINE)
    assert set(yaml.safe_load(METHODS.read_text("utf-8"))) <= set(methods)
    listed = set(re.findall(first_cells, (ABLATIONS_DIR / "README.md").read_text("utf-8"), re.MULTILINE))
    there = {path.stem for path in (*ABLATIONS_DIR.glob("*.yaml"), *ABLATIONS_DIR.glob("scales/*.yaml"))}
    assert listed == there
