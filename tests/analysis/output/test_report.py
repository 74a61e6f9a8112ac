"""Tables and figures built into a folder, and the commands' errors."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.claims.tables import main as claims_main
from analysis.io.rows import load_studies
from analysis.output.report import main as report_main
from analysis.output.report import write
from tests.support.studies import LOW, flat, full_study, write_study

ROOT = Path(__file__).resolve().parents[3]


def test_report_writes_every_table_and_figure(tmp_path: Path) -> None:
    """The tables twice, to the same bytes; tests/analysis/plots/test_figures.py does so with figures."""
    studies = load_studies([write_study(tmp_path / "toy", full_study(3))])
    files, again = write(studies, tmp_path / "a"), write(studies, tmp_path / "b", figures=False)
    names = {str(file.relative_to(tmp_path / "a" / "toy")) for file in files}
    kinds = ("main", "transfer", "differences", "claims")
    expected = {f"{kind}.{end}" for kind in kinds for end in ("tex", "csv")} | {"tables.md"}
    drawn = ("curves", "iqm", "profiles", "improvement", "forest", "share", "uncertainty")
    assert names == expected | {f"{name}.{end}" for name in drawn for end in ("pdf", "md")}
    assert {one.name for one in again} == expected
    for one in again:
        assert one.read_bytes() == (tmp_path / "a" / "toy" / one.name).read_bytes(), one.name


def test_sources_get_folders_of_their_own(tmp_path: Path) -> None:
    """Breaks if data of two sources meet, or runs from scratch are not beside both."""
    rows = flat("uniform", "self:hopper-medium", [1.0, 2.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0, 3.0])
    folder = write_study(tmp_path / "results" / "both", rows + flat("sac", "none:hopper", [3.0]))
    write(load_studies([folder]), tmp_path / "out", figures=False)
    texts = {path.name: (path / "main.csv").read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    found = {name: [part in text for part in ("d4rl:", "self:", ",sac,")] for name, text in texts.items()}
    assert found == {"both-d4rl": [True, False, True], "both-self": [False, True, True]}


@pytest.mark.parametrize("module", ["analysis.stats.aggregates", "analysis.output.pages", "analysis.claims.tables"])
def test_nothing_loads_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'IPython', 'moore.run')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_study_that_is_unknown_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "toy", flat("prioritized", LOW, [1.0, 2.0]))
    for command in (claims_main, report_main):
        assert command(["tou", "--results", str(tmp_path)]) == 2
        assert capsys.readouterr().err == f"error: {tmp_path}: no study tou; found toy\n"
