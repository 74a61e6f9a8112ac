"""One table, four outputs with the same numbers."""

from __future__ import annotations

import csv
import io
import re

from rich.console import Console

from analysis.output.render import MISSING, interval_text, to_csv, to_latex, to_markdown, to_rich
from analysis.output.tables import main_table
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
