"""The report as one page: complete, and self-contained."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import pytest

from analysis.claims.claims import load_claims
from analysis.claims.tables import verdicts_table
from analysis.io.rows import Results, load_study
from analysis.output.facts import costs_table, provenance_table
from analysis.output.html import main, page
from analysis.output.render import html_code, to_csv, to_html, to_markdown
from analysis.output.report import tables
from analysis.output.tables import Cell, Table
from analysis.plots.figures import drawings
from tests.support.studies import flat, full_study, make_study, write_study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("results")
    rows = [row for row in full_study(3) if row["dataset"] != "self:pendulum-medium"]
    first = write_study(folder / "toy", rows, run_cpu_seconds={"prioritized/self:pendulum-low/0": 12.34})
    second = write_study(folder / "second", flat("<b>&\"'", "self:pendulum-low", [1.0, 2.0]), machine="4 cores")
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
        assert f'<section id="{study.name}">' in text
        for fact in ("scale", "date", "git_commit", "command"):
            assert study.manifest[fact] in text
        for table in tables(study):
            assert to_html(table) in text
    assert "1800 s (0.50 h)" in text
    assert "12.3" in text
    for claim in load_claims():
        assert html.escape(claim.sentence) in text
    images = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="[^"]', text)
    captions = [caption for study in studies for _, _, caption in drawings(study)]
    assert len(images) == len(captions) > 3
    assert all(base64.b64decode(image, validate=True).startswith(b"\x89PNG") for image in images)
    assert all(html_code(caption) in text for caption in captions)


def test_the_page_is_the_same_twice(studies: list[Results]) -> None:
    assert page(studies[1:]) == page(studies[1:])


def test_names_and_numbers_are_escaped(studies: list[Results], text: str) -> None:
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;&quot;&#x27;" in text
    shown = to_html(Table("x", ("a",), ("b",), ((("r`c`",), (Cell((("p", "`d` & <"),), bold=True),)),), 0, "`e`"))
    assert '<th scope="row">r<code>c</code></th><td><strong><code>d</code> &amp; &lt;</strong></td>' in shown
    assert "<figcaption><code>e</code></figcaption>" in shown


def test_origin_and_cost_say_what_the_manifest_has(studies: list[Results]) -> None:
    bare = make_study(full_study(1), **dict.fromkeys(("scale", "date", "cpu_seconds", "git_commit", "command")))
    assert [heads[0] for heads, _ in provenance_table(bare).rows] == ["wall time"]
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(studies[1]).rows}
    assert facts["machine"] == "4 cores"
    packages = make_study(full_study(1), packages={"torch": "2", "numpy": "3"}, peak_memory_mb=7)
    facts = {heads[0]: cells[0].parts[0][1] for heads, cells in provenance_table(packages).rows}
    assert (facts["packages"], facts["peak memory"]) == ("torch 2, numpy 3", "7 MB")
    rows = {heads: cells for heads, cells in costs_table(studies[0]).rows}
    assert len(rows) == len(studies[0].owners)
    low = "self:pendulum-low"
    assert [c.parts[0][1] for c in rows["prioritized", low, "0", "online"]] == ["12.3", "1000", "2000"]
    assert [bool(c.parts) for c in rows["prioritized", low, "1", "online"]] == [False, True, True]
    assert [c.parts[0][1] for c in rows["mopo", low, "0", "offline"][1:]] == ["0", "3000"]


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "results" / "toy", flat("uniform", "self:pendulum-low", [1.0, 2.0]))
    out = tmp_path / "new" / "report.html"
    assert main(["--results", str(tmp_path / "results"), "--out", str(out)]) == 0
    assert "toy" in out.read_text(encoding="utf-8")
    assert main(["absent", "--results", str(tmp_path / "results")]) == 2
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2
    assert err[1].startswith(f"error: --out: cannot write {tmp_path}")


def test_words_start_at_the_left_in_every_output() -> None:
    table = verdicts_table([make_study(full_study(2))])
    assert '<td class="words">' in to_html(table)
    assert to_markdown(table).splitlines()[1] == "| --- | --- | --- | --- |"
    assert "toy: holds on 2 of 2 tasks" in to_csv(table)
