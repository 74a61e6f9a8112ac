"""The notebooks run on any results folder; `make notebooks` runs all of them on the rows in git."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from analysis.io.imported import import_curves
from analysis.plots.figures import png
from tests.support.studies import GRID, flat, full_study, write_study

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(SOURCES.glob("*.py"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small studies, one of two sources, and imported curves."""
    root = tmp_path_factory.mktemp("notebooks")
    folder = root / "results"
    write_study(folder / "toy", [row for row in full_study(2) if row["dataset"] != "self:pendulum-medium"])
    write_study(
        folder / "both", flat("awac", "self:pendulum-low", [1.0]) + flat("awac", "d4rl:hopper-medium-v2", [2.0])
    )
    lines = "\n".join(f"iql,self:pendulum-low,0,{x},50" for x in GRID)
    (root / "theirs.csv").write_text(f"method,task,seed,step,score\n{lines}\n", encoding="utf-8")
    import_curves(root / "theirs.csv", folder)
    return folder


def test_there_is_a_tour_and_one_for_each_group_of_figures() -> None:
    assert {file.stem for file in NOTEBOOKS} == {"tour", "learning_curves", "sampling", "aggregates", "model"}
    assert [file.suffix for file in SOURCES.iterdir() if file.is_file()] == [".py"] * len(
        NOTEBOOKS
    )  # no outputs in git


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


def test_a_kernel_executes_a_notebook_and_a_failing_cell_is_reported(results: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("# %%\n1 / 0\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "analysis.run_notebooks",
        "--results",
        str(results),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        [*command, str(SOURCES / "aggregates.py"), str(tmp_path / "broken.py")],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'out' / 'aggregates.ipynb'}: executed",
        f"{tmp_path / 'out' / 'broken.ipynb'}: failed",
    ]
    assert "ZeroDivisionError" in done.stderr
    assert (tmp_path / "out" / "broken.ipynb").is_file()
    notebook = nbformat.read(tmp_path / "out" / "aggregates.ipynb", as_version=4)
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output.data.get("text/markdown", "") for output in shown if output.output_type == "display_data"]
    assert any("Not drawn" in text for text in texts)  # one task each: nothing to aggregate over


def test_studies_of_several_sources_are_split_and_imports_are_apart(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOORE_RESULTS", str(results))
    ours, imported = load()
    assert [study.datasets for study in ours] == [
        ["d4rl:hopper-medium-v2"],
        ["self:pendulum-low"],
        ["self:pendulum-low"],
    ]
    assert [study.name for study in imported] == ["theirs"]


def test_a_figure_that_the_rows_do_not_allow_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    figure(None)
    assert "Markdown" in capsys.readouterr().out


def test_pictures_are_the_same_twice() -> None:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(1, 1))
    assert png(drawn) == png(drawn)
    assert png(drawn).startswith(b"\x89PNG")


def test_the_page_and_the_claims_need_no_notebook_library() -> None:
    code = (
        "import sys, analysis.html, analysis.claims; sys.exit(any(n in sys.modules for n in ('IPython', 'nbclient')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
