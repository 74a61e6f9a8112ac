"""README's block about the behaviour policies follows their provenance files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.output.facts import behaviours_table
from moore.base.errors import UserError
from moore.data.behaviours import BEHAVIOURS_DIR


def test_numbers_are_those_of_the_provenance() -> None:
    """Breaks if a row shows another snapshot, or D4RL's level of another quality (halfcheetah: returns 4770, 10656)."""
    provenance = json.loads((BEHAVIOURS_DIR / "halfcheetah.json").read_text())
    (row,) = [line for line in behaviours_table().splitlines() if line.startswith("| halfcheetah")]
    score = {steps: round(score) for steps, _, score in provenance["curve"]}
    medium = next(steps for steps, _, score in provenance["curve"] if score >= provenance["config"]["medium_score"])
    _, _, of_medium, of_expert, steps, _, command, _ = (cell.strip() for cell in row.split("|"))
    assert of_medium == f"{score[medium]} (41)"
    assert of_expert == f"{max(score.values())} (88)"
    assert int(steps) == max(score)
    assert provenance["command"].endswith(command.strip("`"))


def test_block(tmp_path: Path) -> None:
    """Breaks if a stale block is not noticed, or needs a study of its name."""
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- generated:behaviours -->\nold\n<!-- /generated -->\nb\n")
    assert refresh(page, {}, write=False) == ["behaviours"]
    assert refresh(page, {}) == ["behaviours"]
    assert behaviours_table() in page.read_text()
    assert refresh(page, {}, write=False) == []
    page.write_text("<!-- generated:behaviour -->\n<!-- /generated -->\n")
    with pytest.raises(UserError, match="or behaviours"):
        refresh(page, {})
