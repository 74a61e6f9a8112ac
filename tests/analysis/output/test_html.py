"""The report as one page: complete, and self-contained."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from analysis.claims.claims import load_claims
from analysis.io.rows import Results, load_study
from analysis.output.html import page
from analysis.output.report import main, tables
from analysis.plots.figures import drawings
from tests.support.studies import LOW, MEDIUM, flat, full_study, write_study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("results")
    rows = [row for row in full_study(3) if row["dataset"] != MEDIUM]
    first = write_study(folder / "toy", rows, run_cpu_seconds={f"prioritized/{LOW}/0": 12.34})
    second = write_study(folder / "second", flat("<b>&\"'", LOW, [1.0, 2.0]), machine="4 cores")
    return [load_study(first), load_study(second)]


@pytest.fixture(scope="module")
def text(studies: list[Results]) -> str:
    return page(studies)


def test_nothing_outside_of_the_file_is_referred_to(text: str) -> None:
    assert not re.search(r"<(script|iframe|object|embed)\b", text)
    assert not re.search(r"url\(|@import", text)
    targets = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(target.startswith(("data:", "#")) for target in targets)
    assert {target[1:] for target in targets if target.startswith("#")} == set(re.findall(r' id="([^"]*)"', text))


def test_every_study_table_figure_claim_and_cost_is_there(text: str, studies: list[Results]) -> None:
    for study in studies:
        for fact in ("scale", "date", "git_commit", "command"):
            assert study.manifest[fact] in text
        assert text.count("<table>") > len(tables(study))
        assert f"{study.name}</h2>" in text
    for fact in ("1800 s (0.50 h)", "12.3", *(claim.sentence for claim in load_claims())):
        assert fact.replace("'", "&#x27;") in text or fact in text
    images = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="[^"]', text)
    assert len(images) == sum(1 for study in studies for _ in drawings(study)) > 3
    assert all(base64.b64decode(image, validate=True).startswith(b"\x89PNG") for image in images)


def test_names_are_escaped(text: str) -> None:
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "results" / "toy", flat("uniform", LOW, [1.0, 2.0]))
    out = tmp_path / "new" / "report.html"
    assert main(["--results", str(tmp_path / "results"), "--page", str(out)]) == 0
    assert "toy" in out.read_text(encoding="utf-8")
    assert main(["--results", str(tmp_path / "results"), "--page", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --page: cannot write {tmp_path}")
