"""The README's block of verdicts, which belongs to no study, and tables of words in every output."""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from analysis.claims.claims import load_claims
from analysis.claims.tables import verdicts_table
from analysis.io.rows import Results
from analysis.output.pages import CLOSING, main, regenerate
from analysis.output.render import to_latex, to_markdown, to_rich
from analysis.output.tables import Cell, Table
from moore.base.errors import UserError
from tests.support.studies import flat, full_study, make_study, write_study

BLOCK = f"<!-- generated:verdicts -->\n{CLOSING}\n"
LOW = "self:pendulum-low"


def studies() -> dict[str, Results]:
    return {"toy": make_study(full_study(3))}


def test_the_block_has_a_line_for_every_claim() -> None:
    text, stale = regenerate(f"# Title\n{BLOCK}end\n", studies(), "README.md")
    assert stale == ["verdicts"]
    assert to_markdown(verdicts_table(studies().values())) in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 + len(load_claims())
    assert text.startswith("# Title\n")
    assert text.endswith(f"{CLOSING}\nend\n")
    assert regenerate(text, studies(), "README.md") == (text, [])


def test_another_study_makes_it_stale_and_one_study_alone_leaves_it() -> None:
    text, _ = regenerate(BLOCK, studies(), "README.md")
    more = studies() | {"more": dataclasses.replace(make_study(flat("half_half", LOW, [1.0, 2.0])), name="more")}
    assert regenerate(text, more, "README.md")[1] == ["verdicts"]
    assert regenerate(text, more, "README.md", only={"more"}) == (text, [])


def test_it_takes_no_study() -> None:
    block = f"<!-- generated:verdicts:toy -->\n{CLOSING}\n"
    with pytest.raises(UserError, match=r"block verdicts:toy: expected KIND:STUDY, .* or behaviours or verdicts"):
        regenerate(block, studies(), "README.md")


def test_the_check_finds_it_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path / "results" / "toy", full_study(2))
    readme = tmp_path / "README.md"
    readme.write_text(BLOCK, encoding="utf-8")
    common = ["--results", str(tmp_path / "results"), "--readme", str(readme)]
    assert main(["--check", *common]) == 1
    assert "block verdicts is stale" in capsys.readouterr().out
    assert readme.read_text(encoding="utf-8") == BLOCK


@pytest.mark.parametrize("width", [60, 100, 180])
def test_a_terminal_shows_every_word_of_a_long_table(width: int) -> None:
    table = verdicts_table(studies().values())
    stream = io.StringIO()
    Console(file=stream, width=width).print(to_rich(table, width))
    shown = stream.getvalue().split("The claims of the paper")[0]
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    words = {word for heads, cells in table.rows for word in (*heads, *(str(p) for c in cells for _, p in c.parts))}
    flat_text = re.sub(r"\s+", "", shown)
    for words_of_cell in words:
        longest = max(words_of_cell.split(), key=len)
        assert longest in flat_text or len(longest) > width // 3


def test_latex_breaks_lines_of_words() -> None:
    cells = tuple(Cell((("word", "some words"),)) for _ in range(2))
    latex = to_latex(Table("t", ("a",), ("b", "c"), ((("one",), cells),), 0, "caption", words=True))
    assert r"\begin{tabular}{p{0.30\linewidth}p{0.30\linewidth}p{0.30\linewidth}}" in latex
    plain = to_latex(Table("t", ("a",), ("b", "c"), ((("one",), cells),), 0, "caption"))
    assert r"\begin{tabular}{lrr}" in plain


def test_a_figure_block_shows_the_figure_with_the_caption_beside_it() -> None:
    """Breaks if a block names another study's figure, drops the caption, or an unknown figure passes silently."""
    name, root = "paper-methods-mini", Path(__file__).parents[2]
    study = {name: dataclasses.replace(make_study(full_study(1)), name=name)}
    text, stale = regenerate(f"<!-- generated:figure/penalty:{name} -->\n{CLOSING}\n", study, "README.md")
    assert stale == [f"figure/penalty:{name}"]
    assert f"(analysis/figures/{name}/penalty.png)" in text
    assert (root / "analysis" / "figures" / name / "penalty.md").read_text(encoding="utf-8").strip() in text
    with pytest.raises(UserError, match=r"pie\.md: no such figure; run `python -m analysis.report paper-methods-mini`"):
        regenerate(f"<!-- generated:figure/pie:{name} -->\n{CLOSING}\n", study, "README.md")
