"""The report as one page: complete, self-contained but for files that are written with it, and its figures exact."""

import re
from collections import Counter
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from analysis.claims.claims import load_claims
from analysis.claims.verdicts import CANNOT, FAILS, HOLDS, UNDECIDED, check, conjunction
from analysis.io.rows import Results, load_study
from analysis.output.html import add_seeds, page, to_svg, write_page
from analysis.output.report import main, tables
from analysis.output.tables import main_table, scores_first
from analysis.plots.figures import draw, drawings
from analysis.plots.view import view
from tests.support.studies import LOW, MEDIUM, flat, full_study, make_study, write_study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    folder = tmp_path_factory.mktemp("results")
    rows = [row for row in full_study(3) if row["dataset"] != MEDIUM]
    first = write_study(folder / "toy", rows, run_cpu_seconds={f"prioritized/{LOW}/0": 12.34})
    second = write_study(folder / "second", flat("<b>&\"'", LOW, [1.0, 2.0]), machine="4 cores")
    return [load_study(first), load_study(second)]


@pytest.fixture(scope="module")
def built(studies: list[Results], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("build")
    return page(studies, out, out), out


def test_links_lead_to_places_of_the_page_or_to_files_that_are_written_with_it(built: tuple[str, Path]) -> None:
    text, out = built
    assert not re.search(
        r"<(iframe|object|embed|link rel=.stylesheet)\b|<script [^>]*src|@import|https?://(?!www.w3)", text
    )
    targets = [unescape(target) for target in re.findall(r'<a [^>]*href="([^"]*)"', text)]
    places, files = ({one for one in targets if (one[0] == "#") is here} for here in (True, False))
    assert {place[1:] for place in places} <= set(map(unescape, re.findall(r' id="([^"]*)"', text)))
    assert {unquote(file) for file in files} <= {str(file.relative_to(out)) for file in out.rglob("*.*")}
    assert {Path(file).suffix for file in files} == {".csv", ".tex", ".pdf"}
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))


def test_every_study_table_figure_and_claim_is_there(built: tuple[str, Path], studies: list[Results]) -> None:
    text, out = built
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;" in text
    for study in studies:
        for fact in ("scale", "date", "git_commit", "command"):
            assert study.manifest[fact] in text
        for table in tables(study):
            assert f"/{table.name}.csv" in text
    assert "12.3" in (out / "toy" / "costs.csv").read_text(encoding="utf-8")
    for claim in load_claims():
        assert unescape(text).count(claim.sentence) == 2
    assert text.count("<svg ") >= sum(1 for study in studies for _ in drawings(study)) > 3


def test_rows_hide_with_their_method(built: tuple[str, Path], studies: list[Results]) -> None:
    (table,) = re.findall(r'id="toy".*?(<table class="numbers">.*?</table>)', built[0], re.DOTALL)
    assert re.findall(r'<tr data-m="([^"]*)"', table) == list(main_table(studies[0]).columns)


def test_the_matrix_has_the_verdict_on_every_claim_in_every_study(
    built: tuple[str, Path], studies: list[Results]
) -> None:
    claims = load_claims()
    kinds = {HOLDS: "holds", FAILS: "fails", UNDECIDED: "undecided", CANNOT: "cannot"}
    (body,) = re.findall(r'class="matrix">.*?<tbody>(.*?)</tbody>', built[0], re.DOTALL)
    shown = [re.findall(r'<td class="([a-z]*)[^"]*" title="(\w+):', row) for row in body.split("</tr>")[:-1]]
    expected = []
    for claim in claims:
        verdicts = {study.name: conjunction(f.verdict for f in check(study, (claim,))) for study in studies}
        expected.append([(kinds.get(verdict, ""), name) for name, verdict in verdicts.items()])
    assert shown == expected
    assert len({kind for row in shown for kind, _ in row}) > 2


def test_scores_have_methods_in_rows_and_aggregates_first() -> None:
    table = main_table(make_study(full_study(3)))
    turned = scores_first(table)
    assert turned.columns[:2] == ("mean over 2 tasks", "IQM over 2 tasks")
    cells = {(row[0][0], name): cell for row in table.rows for name, cell in zip(table.columns, row[1], strict=True)}
    again = {(name, row[0][0]): cell for row in turned.rows for name, cell in zip(turned.columns, row[1], strict=True)}
    assert again == cells
    assert scores_first(turned).rows == turned.rows


def test_curves_in_the_page_are_those_of_the_rows_to_a_tenth_of_a_point() -> None:
    study = make_study(full_study(5))
    shown = view(study)
    figure, _ = draw(study)
    add_seeds(figure, shown)
    text = to_svg(figure, "curves", study.methods, {})
    height = float(re.findall(r'viewBox="0 0 \S+ (\S+)"', text)[0])
    found = re.findall(r'data-m="uniform" data-seed="2"><path d="([^"]*)"', text)
    for axis, points in zip(figure.axes, found, strict=True):
        (line,) = [line for line in axis.get_lines() if line.get_gid() == "uniform seed 2"]
        x, y = np.array(re.findall(r"-?[\d.]+", points), dtype=float).reshape(-1, 2).T
        drawn = axis.transData.transform(line.get_xydata()) * 72 / figure.dpi
        assert np.abs(x - drawn[:, 0]).max() < 0.06
        assert np.abs(height - y - drawn[:, 1]).max() < 0.06
    marked = Counter(re.findall(r'data-m="([^"]*)" data-seed', text))
    assert marked == dict.fromkeys(study.methods, 2 * 5)
    assert all(text.count(f'<g data-m="{name}"><path') >= 2 for name in study.methods)  # the means
    assert len(text) < 100_000


def test_figures_of_a_page_share_no_id_and_styles_become_classes() -> None:
    study = make_study(full_study(5))
    plain: dict[str, str] = {}
    texts = [to_svg(draw(study, "profiles")[0], title, study.methods, plain) for title in ("one", "other")]
    ids = [set(re.findall(r' id="([^"]*)"', text)) for text in texts]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, known in zip(texts, ids, strict=True):
        assert set(re.findall(r'(?:url\(|href=")#([^")]*)', text)) <= known
        assert text.count('style="') == 1  # the width of the figure
        assert set(re.findall(r'class="([^"]*)"', text)) == set(plain.values())


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "results" / "toy", flat("uniform", LOW, [1.0, 2.0]))
    out = tmp_path / "new" / "report.html"
    assert main(["--results", str(tmp_path / "results"), "--page", str(out)]) == 0
    assert "toy" in out.read_text(encoding="utf-8")
    write_page([load_study(tmp_path / "results" / "toy")], out.parent / "toy" / "report.html", out.parent)
    links = set(
        re.findall(r'class="file" href="([^"]*)"', (out.parent / "toy" / "report.html").read_text(encoding="utf-8"))
    )
    assert all((out.parent / "toy" / link).is_file() for link in links)
    assert "./main.csv" in links
    assert main(["--results", str(tmp_path / "results"), "--page", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: --page: cannot write {tmp_path}")
