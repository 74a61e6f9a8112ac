"""`moore reproduce` from nothing to table and curves, at a size of seconds."""

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pandas as pd
import pytest
import yaml

from moore.cli.main import main
from moore.run.local import use_all
from moore.run.units import UnitProcess
from moore.studies.axes import merge
from moore.studies.identity import offline_run_id, run_id
from tests.support.core import tiny
from tests.support.resume_units import RUN

SCALE = {
    "scale": "tiny",
    "seeds": [0, 1],
    "defaults": merge({k: v for k, v in RUN.items() if k not in ("env", "dataset")}, {"online": {"epochs": 5}}),
    "tasks": [{"env": "pendulum", "dataset": "self:pendulum-low"}],
    "methods": {name: {"online": {"exploration_steps": 20}} for name in ("sac", "mbpo")},
}
WIDE = {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


class Done(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


def moore(folder: Path, *words: str) -> Done:
    """Run `moore` in a folder of its own; in this process, which has torch already."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), patch.dict(os.environ, WIDE), redirect_stdout(out), redirect_stderr(err):
        code = main(list(words))
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder where the command has run once, as a user would run it, and what it printed."""
    folder = tmp_path_factory.mktemp("reproduce")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SCALE))
    command = [sys.executable, "-m", "moore.cli.main", "reproduce", "sampling", "--scale", "tiny.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | WIDE)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_table_rows_and_curves(finished: tuple[Path, str]) -> None:
    """Breaks if a method, seed or evaluation is lost between training and table."""
    folder, printed = finished
    methods = ("prioritized", "uniform", "half_half", "pure_online", "sac", "mbpo")
    assert [method for method in methods if method not in printed] == []
    rows = pd.read_parquet(folder / "build" / "results" / "sampling-tiny" / "rows.parquet")
    online = rows[(rows["phase"] == "online") & (rows["metric"] == "eval/score")]
    # J_0, S/4 and S/2 in the first tenth (10 of 100 steps), then every S = 20
    steps = [0, 5, 10, 20, 40, 60, 80, 100]
    assert online.groupby(["method", "seed"])["env_steps"].apply(list).map(lambda got: got == steps).all()
    assert online.groupby("method").size().to_dict() == dict.fromkeys(methods, 2 * len(steps))
    offline = rows[(rows["phase"] == "offline") & (rows["metric"] == "eval/score")]
    assert set(offline["method"]) == {"mopo"}
    assert sorted(offline["updates"].unique()) == [0, 20, 40]
    (curves,) = (folder / "build").rglob("curves.pdf")
    assert curves.stat().st_size > 1000
    manifest = json.loads((folder / "build" / "results" / "sampling-tiny" / "manifest.json").read_text())
    assert manifest["online_steps"] == 100
    assert manifest["cpu_seconds"] > 0


def test_nothing_is_written_elsewhere_until_it_is_published(finished: tuple[Path, str]) -> None:
    """Breaks if a user's own run changes a file that git tracks, or publishing copies other rows, or says nothing."""
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {"tiny.yaml", "runs", "build"}
    words = ("study", "publish", "sampling", "--scale", "tiny.yaml")
    assert moore(folder, *words).code == 2  # no checkout
    (folder / "analysis" / "results").mkdir(parents=True)
    done = moore(folder, *words)
    assert done.code == 0, done.err
    for name in ("rows.parquet", "manifest.json"):
        path = Path("analysis", "results", "sampling-tiny", name)
        assert (folder / path).read_bytes() == (folder / "build" / "results" / "sampling-tiny" / name).read_bytes()
        assert f"{path}: " in done.out
    lost = next((folder / "runs" / "sampling-tiny" / "runs").glob("sac-*-s1-*")) / "manifest.json"
    content = lost.read_bytes()
    lost.unlink()
    assert moore(folder, *words).code == 2  # a run is missing
    lost.write_bytes(content)
    shutil.rmtree(folder / "analysis")


def test_what_is_lost_is_made_again_and_nothing_else(finished: tuple[Path, str]) -> None:
    """Breaks if finished runs are trained again, a lost figure counts as drawn, or a repeated cohort has other rows."""
    folder, printed = finished
    (curves,) = (folder / "build").rglob("curves.pdf")
    rows, runs = folder / "build/results/sampling-tiny/rows.parquet", folder / "runs" / "sampling-tiny" / "runs"
    made = [curves, *(folder / "build").rglob("table.md")]
    files = {path: path.read_bytes() for path in made}
    before, stamps = pd.read_parquet(rows), {path: path.stat().st_mtime_ns for path in runs.rglob("*.csv")}
    (folder / "build" / "results" / "another").mkdir()
    (folder / "build" / "results" / "another" / "rows.parquet").write_text("of no concern here")
    curves.unlink()
    (next(runs.glob("sac-*-s1-*")) / "manifest.json").unlink()
    done = moore(folder, "reproduce", "sampling", "--scale", "tiny.yaml")
    assert done.code == 0, done.err
    drop = lambda text: [line for line in text.splitlines() if not line.startswith(("Cost", "study"))]  # noqa: E731
    assert drop(done.out) == drop(printed)
    again = {path.parent.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert {name.partition("-")[0] for name in again} == {"sac"}
    pd.testing.assert_frame_equal(
        before.drop(columns="wall_seconds"), pd.read_parquet(rows).drop(columns="wall_seconds")
    )
    assert {path: path.read_bytes() for path in files} == files
    done = moore(
        folder, "reproduce", "sampling", "--scale", "tiny.yaml", "--out", "tiny.yaml"
    )  # a file where the folder should be
    assert done.code == 2
    assert done.err.strip().splitlines()[-1].startswith("moore: --out: cannot write in tiny.yaml")


def units(root: Path, seeds: int, variants: int) -> list[UnitProcess]:
    """One unit of so many variants with so many seeds."""
    rates = [{"decay_rate": float(1 + variant)} for variant in range(variants)]
    runs = [tiny(dataset="self:pendulum-medium", seed=seed, sampling=rate) for rate in rates for seed in range(seeds)]
    return [UnitProcess("toy", runs, root, "cpu")]


@pytest.mark.parametrize(("seeds", "slots", "expected"), [(5, 1, 1), (5, 2, 2), (5, 4, 4), (5, 32, 5), (1, 8, 1)])
def test_a_sweep_of_one_task_uses_all_places(tmp_path: Path, seeds: int, slots: int, expected: int) -> None:
    """Breaks if places stay empty, a run is lost or doubled, or two units wait for the offline stage of one seed."""
    whole = units(tmp_path, seeds, 3)
    runs = whole[0].runs
    found = use_all(whole, slots)
    assert len(found) == expected
    assert sorted(run_id(run) for unit in found for run in unit.runs) == sorted(map(run_id, runs))
    stages = [{offline_run_id(run) for run in unit.runs} for unit in found]
    assert sum(map(len, stages)) == len(set.union(*stages))


def test_what_has_begun_stays_whole(tmp_path: Path) -> None:
    """Breaks if a checkpoint is thrown away because more cores are there than when it was written."""
    (whole,) = units(tmp_path, 4, 2)
    whole.checkpoint_folder("offline").mkdir(parents=True)
    assert use_all([whole], 2) == [whole]
