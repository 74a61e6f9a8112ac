"""The notebooks run on any results folder; `make notebooks` runs all of them on the rows in git."""

from __future__ import annotations

from pathlib import Path

import jupytext
import pytest

from analysis.io.imported import import_curves
from analysis.output.show import load
from tests.support.studies import GRID, LOW, MEDIUM, flat, full_study, write_study

NOTEBOOKS = sorted((Path(__file__).parents[3] / "analysis" / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small studies, one of two sources, and imported curves."""
    root = tmp_path_factory.mktemp("notebooks")
    folder = root / "results"
    write_study(folder / "toy", [row for row in full_study(2) if row["dataset"] != MEDIUM])
    write_study(folder / "both", flat("awac", LOW, [1.0]) + flat("awac", "d4rl:hopper-medium-v2", [2.0]))
    lines = "\n".join(f"iql,self:pendulum-low,0,{x},50" for x in GRID)
    (root / "theirs.csv").write_text(f"method,task,seed,step,score\n{lines}\n", encoding="utf-8")
    import_curves(root / "theirs.csv", folder)
    return folder


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_every_cell_runs(file: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, which is quicker than a kernel for each."""
    monkeypatch.setenv("MOORE_RESULTS", str(results))
    notebook = jupytext.read(file)
    assert notebook.cells[0].source.startswith("# ")
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, str(file), "exec"), names)


def test_studies_of_several_sources_are_split_and_imports_are_apart(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORE_RESULTS", str(results))
    ours, imported = load()
    assert [study.datasets for study in ours] == [
        ["d4rl:hopper-medium-v2"],
        [LOW],
        [LOW],
    ]
    assert [study.name for study in imported] == ["theirs"]
