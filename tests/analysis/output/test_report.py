"""Tables and figures built into a folder, and the commands' errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.claims.tables import main as claims_main
from analysis.io.rows import load_studies
from analysis.output.pages import main as pages_main
from analysis.output.report import main as report_main
from analysis.output.report import report, show, tables
from tests.support.studies import LOW, flat, full_study, make_study, run_rows, write_study

ROOT = Path(__file__).resolve().parents[3]
COMMANDS: list[Callable[[list[str]], int]] = [claims_main, pages_main, report_main]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What every command says about the results in `folder`, in one line and with exit code 2."""
    said = set()
    for command in COMMANDS:
        assert command(["--results", str(folder)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        said.add(captured.err)
    assert len(said) == 1
    return said.pop()


def test_report_writes_every_table_and_figure(results: Path, tmp_path: Path) -> None:
    """The tables twice, to the same bytes; tests/analysis/plots/test_figures.py does so with figures."""
    files = report([results / "toy"], tmp_path / "a")
    again = report([results / "toy"], tmp_path / "b", figures=False)
    names = {str(file.relative_to(tmp_path / "a" / "toy")) for file in files}
    kinds = ("main", "transfer", "differences", "claims")
    expected = {f"{kind}.{end}" for kind in kinds for end in ("tex", "csv")} | {"tables.md"}
    drawn = ("curves", "iqm", "profiles", "improvement", "forest", "share", "uncertainty")
    assert names == expected | {f"{name}.{end}" for name in drawn for end in ("pdf", "md")}
    for one in again:
        assert one.read_bytes() == (tmp_path / "a" / "toy" / one.name).read_bytes(), one.name


def test_sources_get_folders_of_their_own(tmp_path: Path) -> None:
    rows = flat("uniform", "self:hopper-medium", [1.0, 2.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0, 3.0])
    folder = write_study(tmp_path / "results" / "both", rows)
    report([folder], tmp_path / "out", figures=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["both-d4rl", "both-self"]
    assert "d4rl:" not in (tmp_path / "out" / "both-self" / "main.csv").read_text(encoding="utf-8")
    assert "self:" not in (tmp_path / "out" / "both-d4rl" / "main.csv").read_text(encoding="utf-8")


def test_show_prints_every_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(load_studies([results / "toy"]))
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("Scores", "Transfer", "Claims", "Differences", "prioritized", "→"))


def test_a_study_outside_the_claims_has_no_claims_table() -> None:
    study = make_study(flat("decay 0.5", LOW, [1.0, 2.0]))
    assert [table.name for table in tables(study)] == ["main", "transfer"]


@pytest.mark.parametrize("module", ["analysis.stats.aggregates", "analysis.output.pages", "analysis.claims.tables"])
def test_nothing_loads_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'IPython', 'moore.run')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_run_that_was_logged_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = flat("prioritized", LOW, [1.0, 2.0])
    again = [{**r, "run": f"{r['run']}-again"} for r in run_rows("prioritized", LOW, 1, [9.0] * 14)]
    folder = write_study(tmp_path / "toy", rows + again)
    assert refused(tmp_path, capsys) == (
        f"error: {folder / 'rows.parquet'}: column run: prioritized {LOW} 1 has several runs\n"
    )


def test_a_half_written_parquet_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0])) / "rows.parquet"
    whole = file.read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert f"{file}: not a readable Parquet file" in refused(tmp_path, capsys)


def test_a_study_that_is_unknown_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0]))
    for command in (claims_main, report_main):
        assert command(["tou", "--results", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"error: {tmp_path}: no study tou; found toy\n"
