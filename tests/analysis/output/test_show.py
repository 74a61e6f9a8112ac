"""The notebooks in git are whole and small; a stored text that rows do not say is found. `make notebooks` runs all."""

from pathlib import Path

import nbformat
import pytest

from analysis.claims.claims import load_claims
from analysis.output.show import NOTEBOOKS, main

NAMES = ["figure1_curves", "figure2_sampling", "figure3_alpha", "figure4_uncertainty", "your_own_study"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_question_pictures_and_a_verdict_on_a_sentence_of_the_paper(name: str) -> None:
    file = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.read(file, as_version=4)
    assert file.stat().st_size < 130_000
    assert "**Question.**" in notebook.cells[0].source
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    shown = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert sum("image/png" in data for data in shown) > 1
    said = "".join(data.get("text/markdown", "") for data in shown)
    assert any(f"> {claim.sentence}\n\nOn these rows: **" in said for claim in load_claims())


def test_a_stale_text_is_found_and_stored_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Breaks if a notebook whose rows were replaced keeps saying what the old ones said."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)")])
    file = tmp_path / "small.ipynb"
    nbformat.write(made, file)
    assert main([str(file)]) == 1
    assert capsys.readouterr().out == "small.ipynb: is stale; --write stores it\n"
    assert main(["--write", str(file)]) == 0
    assert main([str(file)]) == 0
    file.write_text(file.read_text(encoding="utf-8").replace('"2\\n"', '"3\\n"'), encoding="utf-8")
    assert main([str(file)]) == 1
