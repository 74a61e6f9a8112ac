"""The report's files, the README's generated blocks and the command line."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from analysis.io.rows import load_study, study_folders
from analysis.output.pages import CLOSING, main, regenerate
from analysis.output.report import print_report, report, tables
from moore.base.errors import UserError
from tests.support.studies import flat, full_study, make_study, write_study

KINDS = ("table", "transfer", "claims", "differences", "curves")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    file = tmp_path / "README.md"
    blocks = "".join(f"<!-- generated:{kind}:toy -->\n{CLOSING}\ntyped\n" for kind in KINDS)
    file.write_text(f"# Title\n{blocks}end\n", encoding="utf-8")
    return file


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what is about text: drawing takes seconds."""
    monkeypatch.setattr("analysis.report._write_figures", lambda study, folder: [])


def call(results: Path, readme: Path, *more: str) -> int:
    return main(["--results", str(results), "--readme", str(readme), "--out", str(results.parent / "out"), *more])


def test_report_writes_every_table_and_figure_the_same_twice(results: Path, tmp_path: Path) -> None:
    files = report([results / "toy"], tmp_path / "a")
    again = report([results / "toy"], tmp_path / "b")
    names = {str(file.relative_to(tmp_path / "a")) for file in files}
    kinds = ("main", "transfer", "differences", "claims")
    expected = {f"tables/toy-{kind}.{end}" for kind in kinds for end in ("tex", "csv")} | {"tables/toy.md"}
    drawn = (
        "curves", "online_share", "penalty", "iqm_curves", "intervals", "profiles", "improvement", "forest",
    )  # fmt: skip
    assert names == expected | {f"figures/toy/{name}.{end}" for name in drawn for end in ("pdf", "png", "md")}
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_sources_get_tables_of_their_own(tmp_path: Path) -> None:
    rows = flat("uniform", "self:hopper-medium", [1.0, 2.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0, 3.0])
    folder = write_study(tmp_path / "results" / "both", rows)
    report([folder], tmp_path)
    assert "d4rl" not in (tmp_path / "tables" / "both-self.md").read_text(encoding="utf-8")
    assert "self:" not in (tmp_path / "tables" / "both-d4rl.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["both-d4rl", "both-self"]


def test_print_report_shows_the_tables(results: Path) -> None:
    """Breaks if a table is missing, or a larger scale's scores are not beside it, or another study of this scale is."""
    write_study(results / "larger", flat("uniform", "self:hopper-medium", [1.0, 2.0]), scale="laptop")
    write_study(results / "alike", flat("uniform", "self:walker2d-medium", [1.0, 2.0]))
    stream = io.StringIO()
    print_report(results / "toy", Console(file=stream, width=200))
    titles = [line.split() for line in stream.getvalue().splitlines() if line.endswith((" larger", " toy", " alike"))]
    assert titles[0] == ["Scores", "larger"]
    assert {name for _, name in titles[1:]} == {"toy"}
    assert all(
        word in stream.getvalue() for word in ("Scores", "Transfer", "Claims", "Differences", "prioritized", "→")
    )


@pytest.mark.usefixtures("no_figures")
def test_blocks_are_filled_then_fresh_then_stale(
    results: Path, readme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(results, readme, "--check") == 1
    assert all(f"block {kind}:toy is stale" in capsys.readouterr().out for kind in KINDS[:1])
    assert "prioritized" not in readme.read_text(encoding="utf-8")  # --check writes nothing
    assert not (results.parent / "out").exists()
    assert call(results, readme) == 0
    text = readme.read_text(encoding="utf-8")
    assert text.count("typed") == len(KINDS)
    assert text.endswith("end\n")
    assert call(results, readme, "--check") == 0
    capsys.readouterr()
    first = next(line for line in text.splitlines() if line.startswith("| self:pendulum-low"))
    readme.write_text(text.replace(first, first.replace("±", "+-"), 1), encoding="utf-8")
    assert call(results, readme, "--check") == 1
    out = capsys.readouterr().out
    assert "table:toy" in out
    assert "claims:toy" not in out


def test_new_rows_make_the_block_stale(results: Path, readme: Path, tmp_path: Path) -> None:
    assert refresh(readme, {"toy": load_study(results / "toy")}) != []
    assert refresh(readme, {"toy": load_study(results / "toy")}) == []
    more = load_study(write_study(tmp_path / "other" / "toy", full_study(4)))
    assert refresh(readme, {"toy": more}, write=False) == [f"{kind}:toy" for kind in KINDS]


def test_a_study_argument_limits_the_check(results: Path, readme: Path) -> None:
    write_study(results / "second", full_study(2))
    assert call(results, readme, "--check", "second") == 0
    assert call(results, readme, "--check", "toy") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated:table:toy -->\n", "has no <!-- /generated -->"),
        (f"<!-- generated:table:toy -->\n<!-- generated:claims:toy -->\n{CLOSING}\n", "inside another block"),
        (f"<!-- generated:chart:toy -->\n{CLOSING}\n", "expected KIND:STUDY"),
        (f"<!-- generated:table:absent -->\n{CLOSING}\n", "no results of study absent; found toy"),
    ],
)
def test_broken_blocks_are_one_line_errors(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        regenerate(text, {"toy": make_study(full_study(1))}, "README.md")


@pytest.mark.usefixtures("no_figures")
def test_command_line_errors_are_one_line_and_exit_2(
    results: Path, readme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(results, readme, "absent") == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {results}: no study absent; found toy"]
    assert call(results, results / "no.md") == 2


def test_folders_are_found_by_their_manifest(results: Path) -> None:
    (results / "unfinished").mkdir()
    assert study_folders(results) == [results / "toy"]
    assert study_folders(results, ["toy"]) == [results / "toy"]


def test_a_study_outside_the_claims_has_no_claims_table() -> None:
    study = make_study(flat("decay 0.5", "self:pendulum-low", [1.0, 2.0]))
    assert [table.name for table in tables(study)] == ["main", "transfer"]


def test_check_needs_no_plotting_library(results: Path, readme: Path) -> None:
    code = (
        "import sys; from analysis.report import main; "
        f"main(['--check', '--results', {str(results)!r}, '--readme', {str(readme)!r}]); "
        "sys.exit(any(name in sys.modules for name in ('seaborn', 'analysis.figures', 'torch')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert done.returncode == 0, done.stderr
    assert "is stale" in done.stdout
