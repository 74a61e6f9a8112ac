"""Tables and figures built into a folder, the generated pages, and their commands."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from analysis.io.rows import load_study, study_folders
from analysis.output import pages
from analysis.output.pages import CLOSING, SHOWN, draw_pictures, regenerate, results_page
from analysis.output.report import main, print_report, report, tables
from moore.base.errors import UserError
from tests.support.studies import flat, full_study, make_study, write_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path / "results" / "toy", full_study(3))
    return tmp_path / "results"


def test_report_writes_every_table_and_figure_the_same_twice(results: Path, tmp_path: Path) -> None:
    files = report([results / "toy"], tmp_path / "a")
    again = report([results / "toy"], tmp_path / "b")
    names = {str(file.relative_to(tmp_path / "a" / "toy")) for file in files}
    kinds = ("main", "transfer", "differences", "claims")
    expected = {f"{kind}.{end}" for kind in kinds for end in ("tex", "csv")} | {"tables.md"}
    drawn = (
        "curves", "online_share", "penalty", "iqm_curves", "intervals", "profiles", "improvement", "forest",
    )  # fmt: skip
    assert names == expected | {f"{name}.{end}" for name in drawn for end in ("pdf", "png", "md")}
    for one, other in zip(files, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_sources_get_folders_of_their_own(tmp_path: Path) -> None:
    rows = flat("uniform", "self:hopper-medium", [1.0, 2.0]) + flat("uniform", "d4rl:hopper-medium-v2", [2.0, 3.0])
    folder = write_study(tmp_path / "results" / "both", rows)
    report([folder], tmp_path / "out", figures=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["both-d4rl", "both-self"]
    assert "d4rl:" not in (tmp_path / "out" / "both-self" / "main.csv").read_text(encoding="utf-8")
    assert "self:" not in (tmp_path / "out" / "both-d4rl" / "main.csv").read_text(encoding="utf-8")


def test_print_report_shows_the_tables(results: Path) -> None:
    """Breaks if a table is missing, or a larger scale's scores are not beside it, or another study of this scale is."""
    write_study(results / "larger", flat("uniform", "self:hopper-medium", [1.0, 2.0]), scale="laptop")
    write_study(results / "alike", flat("uniform", "self:walker2d-medium", [1.0, 2.0]))
    stream = io.StringIO()
    print_report(results / "toy", Console(file=stream, width=200), beside=results)
    titles = [line.split() for line in stream.getvalue().splitlines() if line.endswith((" larger", " toy", " alike"))]
    assert titles[0] == ["Scores", "larger"]
    assert {name for _, name in titles[1:]} == {"toy"}
    assert all(word in stream.getvalue() for word in ("Transfer", "Claims", "Differences", "prioritized", "→"))


def test_blocks_are_filled_and_the_rest_stays(results: Path, tmp_path: Path) -> None:
    file, studies = tmp_path / "README.md", {"toy": load_study(results / "toy")}
    text = f"# Title\n<!-- generated:table:toy -->\nSTALE\n{CLOSING}\ntyped\n"
    fresh = regenerate(text, studies, file)
    assert fresh.startswith("# Title\n<!-- generated:table:toy -->\n| dataset |")
    assert fresh.endswith(f"{CLOSING}\ntyped\n")
    assert "STALE" not in fresh
    assert regenerate(fresh, studies, file) == fresh
    more = load_study(write_study(tmp_path / "other" / "toy", full_study(4)))
    assert regenerate(fresh, {"toy": more}, file) != fresh


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- generated:table:toy -->\n", "is missing"),
        (f"<!-- generated:table:toy -->\n<!-- generated:table:toy -->\n{CLOSING}\n", "is missing"),
        (f"<!-- generated:chart:toy -->\n{CLOSING}\n", "expected KIND:STUDY"),
        (f"<!-- generated:table:absent -->\n{CLOSING}\n", "STUDY one of toy"),
        (f"<!-- generated:curves:toy -->\n{CLOSING}\n", "toy: no picture"),
    ],
)
def test_broken_blocks_are_one_line_errors(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        regenerate(text, {"toy": make_study(full_study(1))}, Path("README.md"))


def test_the_pictures_in_git_are_few_and_small() -> None:
    pictures = sorted(pages.PICTURES.iterdir())
    assert [file.stem for file in pictures] == sorted(SHOWN)
    assert all(file.stat().st_size <= 60_000 for file in pictures)


def test_a_stale_page_is_named_and_rewritten(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ROOT", "PICTURES"):
        monkeypatch.setattr(pages, name, tmp_path)
    for name in ("README", "PAGE"):
        monkeypatch.setattr(pages, name, tmp_path / f"{name}.md")
        (tmp_path / f"{name}.md").write_text("typed\n", encoding="utf-8")
    arguments = ["--results", str(results)]
    assert pages.main([*arguments, "--check"]) == 1
    assert capsys.readouterr().out == "PAGE.md: is stale; run `make pages`\n"
    assert (tmp_path / "PAGE.md").read_text(encoding="utf-8") == "typed\n"
    assert pages.main(arguments) == 0
    assert pages.main([*arguments, "--check"]) == 0
    assert "prioritized" in (tmp_path / "PAGE.md").read_text(encoding="utf-8")


def test_a_missing_picture_is_drawn_and_a_present_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PICTURES", tmp_path / "pictures")
    studies = {"sampling-mini": make_study(flat("uniform", "self:pendulum-low", [1.0, 2.0]))}
    (drawn,) = draw_pictures(studies, again=False)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert draw_pictures(studies, again=False) == []
    assert draw_pictures(studies, again=True) == [drawn]


def test_captions_are_short(results: Path) -> None:
    """Two lines of a page: what is longer is a note."""
    from analysis.plots.figures import drawings

    study = load_study(results / "toy")
    texts = [table.caption for table in tables(study)] + [caption for _, _, caption in drawings(study)]
    assert [text for text in texts if len(text) > 280] == []


def test_the_page_has_a_section_and_the_provenance_of_every_study(results: Path) -> None:
    study = load_study(results / "toy")
    page = results_page({"toy": study})
    assert page.count("## toy\n") == 1
    assert page.count("command `make it_all`") == 1


def test_command_line_errors_are_one_line_and_exit_2(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["absent", "--results", str(results)]) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {results}: no study absent; found toy"]


def test_folders_are_found_by_their_manifest(results: Path) -> None:
    (results / "unfinished").mkdir()
    assert study_folders(results) == [results / "toy"]
    assert study_folders(results, ["toy"]) == [results / "toy"]


def test_a_study_outside_the_claims_has_no_claims_table() -> None:
    study = make_study(flat("decay 0.5", "self:pendulum-low", [1.0, 2.0]))
    assert [table.name for table in tables(study)] == ["main", "transfer"]


@pytest.mark.parametrize("module", ["analysis.stats.aggregates", "analysis.output.pages", "analysis.claims.tables"])
def test_nothing_loads_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'IPython', 'moore.run')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
