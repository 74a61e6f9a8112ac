"""One table, four outputs with the same numbers."""

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from analysis.io.rows import RESULTS, load_study
from analysis.output.render import MISSING, interval_text, to_csv, to_latex, to_markdown, to_rich
from analysis.output.report import tables
from analysis.output.tables import labels, main_table, scores_first
from analysis.stats.intervals import Interval
from tests.support.studies import LOW, flat, full_study, make_study


def test_markdown_latex_csv_and_terminal_carry_the_same_numbers() -> None:
    table = main_table(make_study(full_study(5)))
    latex, markdown = to_latex(table), to_markdown(table).split("\n\n")[0]
    number = r"-?\d+\.\d"
    body = latex[latex.index("toprule") :]
    assert re.findall(number, body) == re.findall(number, markdown)
    for width in (250, 60):  # where cells wrap, none is lost
        stream = io.StringIO()
        Console(file=stream, width=width).print(to_rich(table))
        found = re.findall(number, stream.getvalue().split("Normalised")[0])
        assert sorted(found) == sorted(re.findall(number, markdown))
    parsed = list(csv.DictReader(io.StringIO(to_csv(table))))
    first = [line for line in parsed if line["column"] == "prioritized" and line["dataset"] == LOW]
    assert [line["part"] for line in first] == ["offline", "online"]
    assert all(line["value"] in markdown for line in parsed)


def test_latex_is_escaped_and_booktabs() -> None:
    missing = flat("pure_online", "self:hopper-low", [1.0, 2.0])
    latex = to_latex(main_table(make_study(full_study(5) + missing)))
    assert "& -- &" in latex
    assert latex.count(r"\midrule") == 2
    assert r"half\_half" in latex
    assert not re.search(r"(?<!\\)[%]", latex)
    assert not set(latex) & set("→±≥" + MISSING)


def test_numbers_have_fixed_decimals_and_no_negative_zero() -> None:
    assert interval_text(Interval(-0.04, -0.06, 0.02, 3), 1, brackets=True) == "0.0 [-0.1, 0.0]"
    assert interval_text(Interval(3.14159, float("nan"), float("nan"), 1)) == "3.1"


def test_people_read_names_for_people() -> None:
    study = make_study(full_study(2))
    latex = to_latex(main_table(study), labels(study))
    stream = io.StringIO()
    Console(file=stream, width=250).print(to_rich(main_table(study), labels(study)))
    for text in (latex, stream.getvalue()):
        assert all(name in text for name in ("MOORe", "half-half", "Pendulum-low", "mean over 2 tasks"))
        assert "half_half" not in text


def test_every_table_compiles_and_fits_the_line(tmp_path: Path) -> None:
    """Two columns of a page, a table of more than 40 rows among them; a box wider than the line is an error."""
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("no pdflatex here")
    study = load_study(RESULTS / "paper-methods-mini")
    built = tables(study)
    long = max(built, key=lambda table: len(table.rows))
    built += [scores_first(built[0]), scores_first(built[0], online_only=True), replace(long, rows=long.rows * 3)]
    text = [
        r"\documentclass[10pt]{article}\usepackage[margin=1in]{geometry}",
        r"\usepackage{booktabs,siunitx,graphicx,longtable,array}\hbadness=10000\hfuzz=1pt\begin{document}",
        *(to_latex(table, labels(study)) + r"\clearpage" for table in built),
        r"\end{document}",
    ]
    (tmp_path / "x.tex").write_text("\n".join(text), encoding="utf-8")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "x.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    assert not re.findall(r"Overfull \\hbox.*", said)
    assert r"\begin{longtable}" in text[-2]
